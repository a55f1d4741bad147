"""When an HTTP/1.1 answer is complete, and which status it has: just enough for a client that wants no more."""

from typing import Final

_END_OF_HEAD: Final = b"\r\n\r\n"
_NO_CONTENT: Final = b"HTTP/1.1 204"
_LAST_CHUNK: Final = b"\r\n0\r\n\r\n"


class AnswerReader:
    """Reads the answers of one connection, one after the other.

    Chunks are not walked: the last one is known by its end, which the JSON in them cannot contain.
    """

    __slots__ = ("_chunked", "_head", "_missing", "_status", "_tail")

    def __init__(self) -> None:
        self._begin()

    def feed(self, data: bytes) -> int:
        """Take what has arrived; give the status once the answer is complete, else 0.

        Raises:
            ValueError: this is no answer that can be read.

        """
        if self._status:
            return self._feed_body(data)
        if not self._head and data.startswith(_NO_CONTENT) and data.endswith(_END_OF_HEAD):
            return 204
        self._head += data
        head, found, body = self._head.partition(_END_OF_HEAD)
        if not found:
            return 0
        self._read_head(head)
        return self._feed_body(body)

    def _begin(self) -> None:
        self._head, self._tail = b"", b"\r\n"
        self._status, self._missing, self._chunked = 0, 0, False

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        self._status = int(first.split(b" ", 2)[1])
        headers = {name.lower(): value.strip().lower() for name, _, value in (line.partition(b":") for line in lines)}
        self._chunked = headers.get(b"transfer-encoding") == b"chunked"
        self._missing = int(headers.get(b"content-length", b"0"))

    def _feed_body(self, data: bytes) -> int:
        if self._chunked:
            self._tail = (self._tail + data[-len(_LAST_CHUNK) :])[-len(_LAST_CHUNK) :]
            complete = self._tail == _LAST_CHUNK
        else:
            self._missing -= len(data)
            complete = self._missing <= 0
        if not complete:
            return 0
        status = self._status
        self._begin()
        return status
