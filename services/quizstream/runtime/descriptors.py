"""Whether the system lets this process open as many descriptors as its settings may ask for."""

import resource
from typing import Final

from quizstream.runtime.lifecycle import StartRefused

# Log files, Kafka, PostgreSQL, the admin port and the event loop take fewer than 256; 1,024 is the backlog of a socket,
# which is accepted in one go before the first of it is counted.
SPARE_DESCRIPTORS: Final = 256 + 1_024


def ensure_descriptors(connections: int) -> None:
    """Raise the soft limit of descriptors to the hard one where that is needed for so many connections.

    Raises:
        StartRefused: the hard limit is too low.

    """
    needed = connections + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _is_enough(soft, needed):
        return
    if not _is_enough(hard, needed):
        raise StartRefused(
            f"QUIZSTREAM_MAX_CONNECTIONS: {connections} connections need {needed} descriptors, and the limit is {hard}:"
            " raise it (ulimit -Hn) or lower the setting"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed if hard == resource.RLIM_INFINITY else hard, hard))


def _is_enough(limit: int, needed: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= needed
