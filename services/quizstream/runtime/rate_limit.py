"""At most so many requests a minute for each key, counted in this process."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

from quizstream.runtime.settings import HttpSettings

WINDOW_SECONDS: Final = 60.0
MAX_KEYS: Final = 100_000  # about 20 MB; the key that was quiet longest is forgotten first

_ROUNDING_SECONDS: Final = 1e-6


class RateLimit:
    """The generic cell rate algorithm (ITU-T I.371): a whole minute's requests may come at once, then they come evenly.

    `requests_per_minute` 0 lets everything pass.
    """

    def __init__(
        self, requests_per_minute: int, *, clock: Callable[[], float] = time.monotonic, max_keys: int = MAX_KEYS
    ) -> None:
        self._interval_seconds = WINDOW_SECONDS / requests_per_minute if requests_per_minute else 0.0
        self._clock = clock
        self._max_keys = max_keys
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()

    def excess_seconds(self, key: Hashable) -> float:
        """Take note of a request; 0 lets it pass, else so many seconds are missing and it is not counted."""
        if not self._interval_seconds:
            return 0.0
        now = self._clock()
        full_at = max(self._full_at.get(key, now), now) + self._interval_seconds
        if full_at > now + WINDOW_SECONDS + _ROUNDING_SECONDS:
            return full_at - now - WINDOW_SECONDS
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._max_keys:
            self._full_at.popitem(last=False)
        return 0.0


class RateLimits:
    """The bound of each token and that of each submission or other resource; `refuse` makes what is raised."""

    def __init__(self, settings: HttpSettings, refuse: Callable[[float], Exception]) -> None:
        self._of_token = RateLimit(settings.requests_per_minute_per_token)
        self._of_resource = RateLimit(settings.requests_per_minute_per_submission)
        self._refuse = refuse

    def check(self, token: str, resource: Hashable) -> None:
        """Take note of a request.

        Raises:
            Exception: there were too many; what `refuse` makes of the seconds that are missing.

        """
        # A hash of the token, which is long and secret.
        excess_seconds = self._of_token.excess_seconds(hash(token)) or self._of_resource.excess_seconds(resource)
        if excess_seconds:
            raise self._refuse(excess_seconds)
