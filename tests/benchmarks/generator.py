"""The load, in a process of its own: blocking sockets, requests made beforehand, one loop, nothing parsed twice.

python -m tests.benchmarks.generator < order.json > report.json
"""

import gc
import math
import os
import select
import socket
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import cycle

import msgspec
from tests.benchmarks.answers import AnswerReader
from tests.benchmarks.consumption import Consumed, Watch
from tests.benchmarks.orders import Order, Report
from tests.benchmarks.payload import Clock
from tests.benchmarks.summary import percentiles

_RECEIVED_BYTES = 256 * 1024
_SOCKET_BYTES = 1024 * 1024  # so that sending a request never waits for the server to read the one before
_LAST_ANSWERS_SECONDS = 30.0
_LOOK_AGAIN_SECONDS = 0.1
_now = time.perf_counter


class Connection:
    """One client: a submission at a time, one request in flight."""

    __slots__ = ("_answer", "_heads", "_socket", "descriptor", "planned_at")

    def __init__(self, port: int, heads: Sequence[bytes]) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
        self.descriptor = self._socket.fileno()
        self._heads: Iterator[bytes] = cycle(heads)
        self._answer = AnswerReader()
        self.planned_at = 0.0

    def send(self, stamp: bytes, pieces: Sequence[bytes], planned_at: float) -> None:
        """Send the next request."""
        self.planned_at = planned_at
        self._socket.sendall(next(self._heads) + stamp.join(pieces))

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def receive(self) -> tuple[int, int]:
        """Give the status of the answer, 0 as long as it is not complete, and how many bytes have come."""
        data = self._socket.recv(_RECEIVED_BYTES)
        if not data:
            raise ConnectionError("the server has closed a connection")
        return self._answer.feed(data), len(data)


class Load:
    """Sends and receives until the time is over, then waits for the last answers."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._pieces = [piece.encode("utf-8") for piece in order.body]
        self._clock = Clock()
        self._connections = {one.descriptor: one for one in _connect(order)}
        self._poll = select.epoll()
        for descriptor in self._connections:
            self._poll.register(descriptor, select.EPOLLIN)
        self._free = deque(self._connections.values())
        self._sent = self._answered = self._acknowledged = self._bytes = 0
        self._unexpected: Counter[str] = Counter()
        self._latencies, self._late = array("d"), array("d")
        self._watch = Watch({**order.watched, "load": [os.getpid()]})
        self._first_request_at = 0.0
        self._rate: float | None = None
        self._short = False  # of free connections: what is late then is the server's doing
        self._began_at = self._ends_at = math.inf

    def run(self) -> Report:
        """Warm up, measure, and report."""
        self._warm_up()
        self._answered = self._bytes = self._sent = 0
        self._rate = self._order.rate
        self._watch.begin()
        self._began_at = _now()
        self._ends_at = self._began_at + self._order.seconds
        self._exchange_until(self._ends_at)
        consumed = self._watch.end()
        answered, size = self._answered, self._bytes
        self._receive_the_rest()
        return self._report(consumed, answered, size)

    def close(self) -> None:
        """Close the connections."""
        self._poll.close()
        for connection in self._connections.values():
            connection.close()

    def _warm_up(self) -> None:
        """Send without a plan until the time is over and every submission was there: its token is known then."""
        self._first_request_at = time.monotonic()
        enough_at = _now() + self._order.warm_up_seconds
        while _now() < enough_at or self._sent < len(self._order.heads):
            self._exchange_until(_now() + _LOOK_AGAIN_SECONDS)
        if self._order.rate is not None:
            self._receive_the_rest()  # a plan begins with free connections

    def _exchange_until(self, moment: float) -> None:
        while (now := _now()) < moment:
            due = self._send_what_is_due(now)
            self._wait(max(0.0, min(due, moment) - _now()))
            self._receive()

    def _send_what_is_due(self, now: float) -> float:
        """Send on free connections; give the moment when there is more to do than to receive."""
        rate = self._rate
        if rate is None:
            while self._free:
                self._send(_now())
            return now + _LOOK_AGAIN_SECONDS
        while (planned_at := self._began_at + self._sent / rate) <= now and planned_at < self._ends_at:
            if not self._free:
                self._short = True
                return now + _LOOK_AGAIN_SECONDS  # an answer sets one free; what is due then counts from its plan
            self._send(planned_at)
        self._short = False
        return planned_at

    def _send(self, planned_at: float) -> None:
        connection = self._free.popleft()
        self._sent += 1
        connection.send(self._clock.next(), self._pieces, planned_at)
        if self._rate is not None and not self._short:
            self._late.append(_now() - planned_at)

    def _wait(self, seconds: float) -> None:
        """Wait for an answer; with a plan to keep by `select`, as `epoll` rounds its time up to milliseconds."""
        if self._rate is not None:
            select.select([self._poll], [], [], seconds)

    def _receive(self) -> None:
        patience = 0.0 if self._rate is not None else _LOOK_AGAIN_SECONDS
        for descriptor, _ in self._poll.poll(patience):
            connection = self._connections[descriptor]
            status, size = connection.receive()
            self._bytes += size
            if status:
                self._take(connection, status)

    def _take(self, connection: Connection, status: int) -> None:
        self._answered += 1
        if status == self._order.expected_status:
            self._acknowledged += 1
        else:
            self._unexpected[str(status)] += 1
        if self._began_at <= connection.planned_at < self._ends_at:
            self._latencies.append(_now() - connection.planned_at)
        self._free.append(connection)

    def _receive_the_rest(self) -> None:
        """Send what was planned and wait for what is under way: the latest must not be missing from the latencies."""
        give_up_at = _now() + _LAST_ANSWERS_SECONDS
        while _now() < give_up_at and (self._is_due() or len(self._free) < len(self._connections)):
            if self._is_due():
                self._send_what_is_due(self._ends_at)
            self._wait(_LOOK_AGAIN_SECONDS)
            self._receive()

    def _is_due(self) -> bool:
        return self._rate is not None and self._began_at + self._sent / self._rate < self._ends_at

    def _unsent(self) -> int:
        planned = 0 if self._rate is None else math.ceil(self._rate * self._order.seconds)
        return max(0, planned - self._sent)

    def _report(self, consumed: Consumed, answered: int, size: int) -> Report:
        return Report(
            first_request_at=self._first_request_at,
            answered=answered,
            acknowledged=self._acknowledged,
            unexpected=dict(self._unexpected),
            unanswered=len(self._connections) - len(self._free) + self._unsent(),
            answer_bytes=size,
            wall_seconds=consumed.wall_seconds,
            latency_seconds=percentiles(self._latencies),
            late_seconds=percentiles(self._late),
            cpu_seconds=consumed.cpu_seconds,
            peak_rss_bytes=consumed.peak_rss_bytes,
        )


def _connect(order: Order) -> Iterator[Connection]:
    """Open the connections, spread over the ports; no submission has two, while there are enough."""
    heads = [head.encode("latin-1") for head in order.heads]
    for number in range(order.connections):
        own = heads[number :: order.connections] or [heads[number % len(heads)]]
        yield Connection(order.ports[number % len(order.ports)], own)


def main() -> None:
    """Do what stdin orders."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    gc.disable()  # it makes no cycles, and a collection would count as latency
    with closing(Load(order)) as load:
        sys.stdout.buffer.write(msgspec.json.encode(load.run()))


if __name__ == "__main__":
    main()
