"""How much one request may bring or ask for; part of the published contract."""

from typing import Final

# A page keeps its backlog in localStorage: 5 * 2^20 UTF-16 units, each at most 3 bytes of UTF-8, is 15 MiB; the rest is
# for escapes. What is refused would be sent again for ever.
MAX_BODY_BYTES: Final = 16 * 2**20
# Browsers send beacons of at most 64 KiB, and only who sends one cannot put the token into a header.
MAX_BODY_WITH_TOKEN_BYTES: Final = 64 * 2**10
# A page that captures one event a second, without a pause and without ever reaching us, has this many after 13 hours.
MAX_ELEMENTS: Final = 50_000
DEFAULT_PER_PAGE: Final = 100
MAX_PER_PAGE: Final = 10_000
