"""Ports of the loopback address."""

import socket

LOOPBACK = "127.0.0.1"

_given: set[int] = set()


def is_free(port: int) -> bool:
    """Tell whether nobody listens on `port` of the loopback address or of all addresses."""
    with socket.socket() as probe:
        # Without it a port whose last connections are in TIME_WAIT counts as taken for a minute after a restart.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def choose(preferred: int) -> int:
    """Return the preferred port, or one that is free when that one is taken."""
    return preferred if is_free(preferred) else any_free()


def any_free() -> int:
    """Return a port that nobody listens on, another one at each call of this process.

    The kernel gives a port that was closed again soon after to the next who asks.
    """
    while True:
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port: int = probe.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port
