"""The generator knows when an answer is complete, however it arrives."""

import pytest
from tests.benchmarks.answers import AnswerReader

NO_CONTENT = b"HTTP/1.1 204 No Content\r\nDate: Sun, 22 Nov 2026 00:00:00 GMT\r\nServer: x\r\n\r\n"
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n[1,\r\n2]"
CHUNKED = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{"events":["0"],\r\n8\r\n"a":10}\n\r\n0\r\n\r\n'
REFUSED = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}"


@pytest.mark.parametrize(
    ("answer", "status"),
    [(NO_CONTENT, 204), (SIZED, 200), (CHUNKED, 200), (REFUSED, 503)],
    ids=["204", "200", "chunked", "503"],
)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000])
def test_an_answer_is_complete_at_its_last_byte_and_not_before(answer: bytes, status: int, size: int) -> None:
    reader = AnswerReader()
    for _ in range(2):  # on the same connection
        *others, last = [reader.feed(answer[start : start + size]) for start in range(0, len(answer), size)]
        assert not any(others)
        assert last == status
