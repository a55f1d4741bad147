"""Which partition holds the events of a submission."""

from functools import lru_cache
from typing import Final

_MULTIPLIER: Final = 0x5BD1E995
_SEED: Final = 0x9747B28C
_WORD: Final = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Hash as Kafka's Java client does (MurmurHash2, 32 bits, seed 0x9747b28c), so that all producers agree."""
    length = len(data)
    state = _SEED ^ length
    whole = length - length % 4
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * _MULTIPLIER & _WORD
        word = (word ^ word >> 24) * _MULTIPLIER & _WORD
        state = state * _MULTIPLIER & _WORD ^ word
    if whole < length:
        state = (state ^ int.from_bytes(data[whole:], "little")) * _MULTIPLIER & _WORD
    state = (state ^ state >> 13) * _MULTIPLIER & _WORD
    return state ^ state >> 15


def submission_key(submission_id: int) -> bytes:
    """Give the record key of a submission: its id in ASCII digits."""
    return b"%d" % submission_id


@lru_cache(maxsize=65_536)
def partition_of(submission_id: int, partitions: int) -> int:
    """Give the partition, 0..`partitions` - 1, by the default rule of Kafka's clients for keyed records."""
    return (murmur2(submission_key(submission_id)) & 0x7FFFFFFF) % partitions
