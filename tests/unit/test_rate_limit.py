import pytest
from hypothesis import given
from hypothesis import strategies as st

from quizstream.contracts.errors import RateLimited
from quizstream.runtime.rate_limit import RateLimit, RateLimits
from quizstream.runtime.settings import HttpSettings, SettingsError, load


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


def test_a_whole_minute_of_requests_may_come_at_once_and_the_next_must_wait() -> None:
    clock = Clock()
    limit = RateLimit(12, clock=clock)
    assert [limit.excess_seconds("a") for _ in range(12)] == [0.0] * 12
    missing = limit.excess_seconds("a")
    assert missing == pytest.approx(5)
    assert limit.excess_seconds("b") == 0.0
    clock.seconds += missing
    assert limit.excess_seconds("a") == 0.0


@given(st.integers(12, 600), st.lists(st.floats(0, 30), max_size=300))
def test_no_minute_ever_passes_more_than_twice_its_requests(per_minute: int, pauses: list[float]) -> None:
    clock = Clock()
    limit = RateLimit(per_minute, clock=clock)
    passed = []
    for pause in pauses:
        clock.seconds += pause
        if not limit.excess_seconds("a"):
            passed.append(clock.seconds)
    for at in passed:
        assert sum(at <= other < at + 60 for other in passed) <= 2 * per_minute


@given(st.integers(12, 600))
def test_a_page_that_flushes_every_fifteen_seconds_never_meets_it(per_minute: int) -> None:
    clock = Clock()
    limit = RateLimit(per_minute, clock=clock)
    for _ in range(100):
        assert limit.excess_seconds("a") == 0.0
        clock.seconds += 15


def test_the_memory_of_keys_is_bounded() -> None:
    limit = RateLimit(12, clock=Clock(), max_keys=10)
    for key in range(100):
        limit.excess_seconds(key)
    assert len(limit._full_at) == 10


def test_off_by_default() -> None:
    limits = RateLimits(HttpSettings(), RateLimited)
    for _ in range(1_000):
        limits.check("token", 7)


@pytest.mark.parametrize("setting", ["requests_per_minute_per_token", "requests_per_minute_per_submission"])
def test_either_bound_refuses_with_429_and_at_least_fifteen_seconds(setting: str) -> None:
    limits = RateLimits(HttpSettings.model_validate({setting: 12}), RateLimited)
    for _ in range(12):
        limits.check("token", 7)
    with pytest.raises(RateLimited) as refused:
        limits.check("token", 7)
    assert refused.value.status == 429
    assert int(refused.value.headers["Retry-After"]) >= 15


def test_a_bound_that_a_page_could_meet_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUIZSTREAM_REQUESTS_PER_MINUTE_PER_TOKEN", "5")
    with pytest.raises(SettingsError, match="at least 12"):
        load(HttpSettings)
