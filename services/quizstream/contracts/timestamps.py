"""Client timestamps and the times of the store."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

import msgspec

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
FURTHEST_AHEAD: Final = timedelta(days=31)
SHOWN_AHEAD: Final = timedelta(minutes=5)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_write: Final = msgspec.json.Encoder().encode

# Digits from here on are milliseconds: as seconds they would name the year 5138, as milliseconds March 1973.
_LEAST_MILLISECONDS: Final = 100_000_000_000

# What `Date.prototype.toISOString` writes. `fromisoformat` reads more from one Python version to the next, so it only
# sees text that this pattern has passed.
_BROWSER: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")

_CALENDAR: Final = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})[Tt ]"
    r"(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9])(?::(?P<second>[0-5][0-9]|60)(?:[.,](?P<fraction>[0-9]+))?)?"
    r"(?:[Zz]| ?UTC|(?: ?(?P<sign>[+-])| )(?P<hours>[01][0-9]|2[0-3])(?::?(?P<minutes>[0-5][0-9]))?)?"
)

# 17 digits: the last millisecond of the year 9999 has 15.
_DIGITS: Final = re.compile(r"(?P<sign>-?)(?P<whole>[0-9]{1,17})(?:\.(?P<fraction>[0-9]+))?")


def parse_client_timestamp(text: str | None) -> datetime | None:
    """Read the instant, in UTC and cut to microseconds, that a client's text names; None where it names none.

    Read are RFC 3339 and what is written in its place: `T` in lower case or a blank, no seconds (java.time), fractions
    of any length behind a point or comma, `z`, `UTC`, offsets as `+01:00`, `+0100`, `+01`, behind a blank (Ruby) or
    with the plus sign lost in a form (a blank), no zone at all (UTC); and seconds or milliseconds since 1970 in ASCII
    digits, with or without a fraction. A leap second is the last microsecond before it ends, `:59.999999`. Text that
    leaves the years 1..9999, also by its offset, names no instant. Takes linear time and never raises.
    """
    if text is None:
        return None
    if _BROWSER.fullmatch(text):
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass  # a leap second, or no day of the calendar
    if calendar := _CALENDAR.fullmatch(text):
        return _from_calendar(calendar)
    digits = _DIGITS.fullmatch(text)
    return _from_epoch(digits) if digits else None


def _from_calendar(parts: re.Match[str]) -> datetime | None:
    second, fraction = int(parts["second"] or 0), _scaled(parts["fraction"], 6)
    if second == 60:
        second, fraction = 59, 999_999
    offset = timedelta(hours=int(parts["hours"] or 0), minutes=int(parts["minutes"] or 0))
    date = (int(parts["year"]), int(parts["month"]), int(parts["day"]))
    try:
        zone = timezone(-offset if parts["sign"] == "-" else offset)
        return datetime(*date, int(parts["hour"]), int(parts["minute"]), second, fraction, zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _from_epoch(parts: re.Match[str]) -> datetime | None:
    whole = int(parts["whole"])
    if whole < _LEAST_MILLISECONDS:
        microseconds = whole * 1_000_000 + _scaled(parts["fraction"], 6)
    else:
        microseconds = whole * 1_000 + _scaled(parts["fraction"], 3)
    try:
        return _EPOCH + timedelta(microseconds=-microseconds if parts["sign"] else microseconds)
    except OverflowError:
        return None


def _scaled(fraction: str | None, digits: int) -> int:
    return int(fraction[:digits].ljust(digits, "0")) if fraction else 0


def occurred_at(stamp: datetime | None, received_at: datetime) -> datetime:
    """Give the time an event is filed under: its stamp where that is credible, else the time of receipt."""
    if stamp is not None and EARLIEST <= stamp <= received_at + FURTHEST_AHEAD:
        return stamp
    return received_at


def format_instant(instant: datetime) -> str:
    """Write an instant as records carry it: RFC 3339, UTC, always six digits of fraction and `Z`."""
    return encode_instant(instant).decode()


def encode_instant(instant: datetime) -> bytes:
    """Write an instant as `format_instant` does; msgspec does that in a tenth of the time of `isoformat`."""
    quoted = _write(instant)
    return quoted[1:-1] if instant.microsecond else quoted[1:-2] + b".000000Z"
