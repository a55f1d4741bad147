"""Named points at which a process ends, or stops, as if the machine had: for tests of what a crash there does.

QUIZSTREAM_CRASH_AT is `<point>`, or `<point>:<signal>:<n>` for another signal than SIGKILL when the point is reached
for the n-th time. It is no setting: a process without it, that is every process outside of tests, does nothing here.
"""

import os
import signal
from itertools import count
from typing import Final

_POINT, _, _HOW = os.environ.get("QUIZSTREAM_CRASH_AT", "").partition(":")
_SIGNAL, _, _TIMES = _HOW.partition(":")
_reached: Final = count(1)


def reached(point: str) -> None:
    """End here, if this is the point where the process is to end."""
    if point == _POINT and next(_reached) == int(_TIMES or 1):
        os.kill(os.getpid(), signal.Signals[_SIGNAL or "SIGKILL"])
