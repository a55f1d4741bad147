"""Client timestamps: what names an instant is read, whatever is sent is survived."""

import re
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quizstream.contracts.timestamps import occurred_at, parse_client_timestamp

NOW = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)
INSTANT = datetime(2026, 11, 21, 19, 24, 17, 393_000, tzinfo=UTC)
WHOLE = INSTANT.replace(microsecond=0)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T19:24:17.393Z",
        "2026-11-21t19:24:17.393z",
        "2026-11-21 19:24:17.393Z",
        "2026-11-21 19:24:17.393 UTC",
        "2026-11-21T19:24:17.393",
        "2026-11-21T19:24:17,393Z",
        "2026-11-21T19:24:17.3930000Z",
        "2026-11-21T19:24:17.393000999999999999999999999999Z",
        "2026-11-21T20:24:17.393+01:00",
        "2026-11-21T20:24:17.393+0100",
        "2026-11-21 20:24:17.393+01",
        "2026-11-21 20:24:17.393 +0100",
        "2026-11-21T20:24:17.393 01:00",
        "2026-11-21T13:54:17.393-05:30",
        "2026-11-21T19:24:17.393-00:00",
        "1795289057.393",
        "1795289057393",
        "1795289057393.000999",
    ],
)
def test_every_way_to_write_an_instant_gives_it(text: str) -> None:
    assert parse_client_timestamp(text) == INSTANT


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-21T19:24Z", WHOLE.replace(second=0)),
        ("1795289057", WHOLE),
        ("-1", datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.9999999Z", datetime.max.replace(tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("2016-12-31T23:59:60.500Z", datetime(2016, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("9999-12-31T23:59:60.000Z", datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_the_edges_of_the_calendar_are_read(text: str, instant: datetime) -> None:
    assert parse_client_timestamp(text) == instant


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "now",
        "null",
        "2026-11-21",
        "20261121T192417Z",
        "2026-W47-6T19:24:17Z",
        "2026-11-21T24:00:00.000Z",
        "2026-11-21T19:24:61Z",
        "2026-02-29T00:00:00.000Z",
        "2026-13-01T00:00:00.000Z",
        "0000-01-01T00:00:00.000Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "2026-11-21T19:24:17.393+24:00",
        "2026-11-21T19:24:17.Z",
        "2026-11-21T19:24:17.393Z\n",
        "2026-11-21T19:24:17.393Z\0",
        "\uff12\uff10\uff12\uff16-11-21T19:24:17.393Z",
        "\u0663",
        "1e12",
        "+1795289057",
        "999999999999999999",
        "99999999999999999",
        "9" * 5_000,
    ],
)
def test_what_names_no_instant_is_none(text: str) -> None:
    assert parse_client_timestamp(text) is None


def test_nothing_sent_is_none() -> None:
    assert parse_client_timestamp(None) is None


# The reference: one field after the other, the arithmetic in fractions of a second.


def reference(text: str) -> datetime | None:
    if re.fullmatch(r"-?[0-9]{1,17}(\.[0-9]+)?", text, re.ASCII):
        return counted(Fraction(text))
    rest, offset = without_zone(text)
    date, clock = rest[:10], rest[11:]
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", date) or rest[10:11] not in {"T", "t", " "}:
        return None
    if not re.fullmatch(r"[0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?", clock) or offset is None:
        return None
    seconds = Fraction(clock[6:].replace(",", ".") or 0)
    if int(clock[:2]) > 23 or int(clock[3:5]) > 59 or seconds >= 61:
        return None
    last = Fraction(59_999_999, 1_000_000)
    into_day = timedelta(hours=int(clock[:2]), minutes=int(clock[3:5]), microseconds=cut(min(seconds, last), 10**6))
    try:
        return datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC) + into_day - offset
    except (ValueError, OverflowError):
        return None


def cut(number: Fraction, scale: int) -> int:
    return int(number * scale)  # towards zero


def counted(number: Fraction) -> datetime | None:
    scale = 10**6 if abs(int(number)) < 10**11 else 10**3
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=cut(number, scale))
    except OverflowError:
        return None


def without_zone(text: str) -> tuple[str, timedelta | None]:
    for ending in (" UTC", "UTC", "Z", "z"):
        if text.endswith(ending):
            return text.removesuffix(ending), timedelta()
    found = re.fullmatch(r"([^ +-]*)( ?[+-]| )([0-9]{2})(:?([0-9]{2}))?", text[16:])
    if found is None:
        return text, timedelta()
    hours, minutes = int(found[3]), int(found[5] or 0)
    if hours > 23 or minutes > 59:
        return text, None
    return text[:16] + found[1], (-1 if "-" in found[2] else 1) * timedelta(hours=hours, minutes=minutes)


digits = st.text("0123456789", max_size=12)
zones = st.sampled_from(
    ["Z", "z", "", "UTC", " UTC", " Z", "+01:00", "-0530", "+23:59", "-23:59", "+24:00", "+01", " 01:00", " -07", "+1"]
)


@st.composite
def near_stamps(draw: st.DrawFn) -> str:
    numbers = [draw(st.integers(0, 10_000))] + [draw(st.integers(0, 62)) for _ in range(5)]
    year, month, day, hour, minute, second = numbers
    clock = f"{hour:02}:{minute:02}" + draw(st.sampled_from(["", f":{second:02}"]))
    fraction = draw(st.sampled_from([".", ","])) + draw(digits) if draw(st.booleans()) else ""
    return f"{year:04}-{month % 14:02}-{day:02}{draw(st.sampled_from('Tt _'))}{clock}{fraction}{draw(zones)}"


@given(near_stamps() | st.from_regex(r"-?[0-9]{1,18}(\.[0-9]{0,9})?", fullmatch=True))
def test_it_reads_as_the_reference_does(text: str) -> None:
    assert parse_client_timestamp(text) == reference(text)


@given(st.text() | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ -~]*"))
@example("0001-01-01T00:00:00.000+23:59")
def test_no_text_raises(text: str) -> None:
    stamp = parse_client_timestamp(text)
    assert stamp is None or stamp.utcoffset() == timedelta()


offsets = st.integers(-1_439, 1_439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(timezones=offsets))
def test_what_python_writes_is_read_back(instant: datetime) -> None:
    try:
        expected = instant.astimezone(UTC)
    except OverflowError:
        return
    assert parse_client_timestamp(instant.isoformat()) == expected


@given(st.integers(0, 10**11 - 1))
def test_seconds_and_milliseconds_of_one_instant_agree(seconds: int) -> None:
    if seconds >= 10**8:  # below, its milliseconds look like seconds
        assert parse_client_timestamp(str(seconds)) == parse_client_timestamp(f"{seconds}000")


def test_a_stamp_that_is_not_credible_gives_way_to_the_time_of_receipt() -> None:
    for stamp in (None, datetime(1999, 12, 31, tzinfo=UTC), NOW + timedelta(days=32)):
        assert occurred_at(stamp, NOW) == NOW
    assert occurred_at(NOW + timedelta(days=30), NOW) == NOW + timedelta(days=30)
