"""How deeply JSON may be nested: one limit and one way to count, the same in all services.

Parsers differ in the depth at which they give up, and some count their caller's stack. What passes here is far from
all their limits (msgspec and Python about 990, orjson 1,024, PostgreSQL 10,000).
"""

from itertools import accumulate
from typing import Final

MAX_DEPTH: Final = 500

_OPEN: Final = b"["
_BRACKETS: Final = b"[]{}"
_AS_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_OTHERS: Final = bytes(byte for byte in range(256) if byte not in _BRACKETS)
_STEPS: Final = tuple(1 if byte == _OPEN[0] else -1 for byte in range(256))

# A block can reach MAX_DEPTH only from a depth of 372, so that ordinary documents are never walked bracket by bracket.
_BLOCK: Final = 128


class DepthScan:
    """Follows the nesting of a JSON text that is fed slice by slice, cut anywhere.

    Arrays and objects count, brackets inside strings do not. Of text that is no JSON it promises only that it never
    raises, and that what stands before the first fault is counted as a parser counts it.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escape = b""

    def feed(self, piece: bytes) -> bool:
        """Take the next slice; True while the text stays within `MAX_DEPTH` levels."""
        brackets = b"".join(self._outside_strings(piece)).translate(_AS_SQUARE, _OTHERS)
        for start in range(0, len(brackets), _BLOCK):
            block = brackets[start : start + _BLOCK]
            opened = block.count(_OPEN)
            if self._depth + opened > MAX_DEPTH and self._depth + _peak(block) > MAX_DEPTH:
                return False
            self._depth += 2 * opened - len(block)
        return True

    def _outside_strings(self, piece: bytes) -> list[bytes]:
        piece = self._escape + piece
        cut = (len(piece) - len(piece.rstrip(b"\\"))) % 2
        self._escape = b"\\" * cut
        if cut:
            piece = piece[:-1]
        if b"\\" in piece:
            piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = piece.split(b'"')
        outside = parts[1::2] if self._in_string else parts[::2]
        self._in_string ^= len(parts) % 2 == 0
        return outside


def _peak(block: bytes) -> int:
    return max(accumulate(map(_STEPS.__getitem__, block)))


def may_be_too_deep(text: bytes) -> bool:
    """Tell, in one pass, whether `text` has so many brackets that its depth must be looked at."""
    return len(text) > MAX_DEPTH and text.count(b"[") + text.count(b"{") > MAX_DEPTH


def is_too_deep(text: bytes) -> bool:
    """Tell whether a JSON text is nested deeper than `MAX_DEPTH` levels, the outermost value being level 1."""
    return may_be_too_deep(text) and not DepthScan().feed(text)
