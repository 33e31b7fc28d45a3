"""When windows begin and end, and what a unit of a token bucket costs: the maths of quota/pool.py. Pure."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from quota.pool import DAY, HOUR, MINUTE, SECOND, Fixed, Micros, Rolling
from quota.rows import Span

ENDLESS: Micros = 253_370_764_800 * SECOND
"""The start of the year 9999, the last that every calendar can print: the end of what never ends."""


def fixed_span(window: Fixed, at: Micros) -> Span:
    """The window that `at` lies in. Its length is that on the clock of its zone: a day may have 23 or 25 hours.

    Raises ValueError for a zone that is not in the database.
    """
    begin, end = _period(window, at - window.anchor)
    if window.period == "ever":
        return begin, end
    return begin + window.anchor, end + window.anchor


def slot_span(window: Rolling, at: Micros) -> Span:
    """The slot that `at` lies in. Slots are a little longer where the length is no multiple of their number."""
    width = -(-window.length // window.slots)
    start = at // width * width
    return start, start + width


def unit_cost(length: Micros, cap: int) -> Micros:
    """How long a token bucket takes to refill by one unit, rounded up: never faster than the provider's."""
    return -(-length // max(cap, 1))


def _period(window: Fixed, at: Micros) -> Span:
    match window.period:
        case "ever":
            return 0, ENDLESS
        case "second":
            return _floor(at, SECOND)
        case "minute":  # no zone is off by parts of a minute since 1972
            return _floor(at, MINUTE)
        case "hour":
            # Hours are counted from the zone's midnight, for some zones are off by half hours. Where the clock moves by
            # half an hour, the last hour of that day is a half.
            day, following = _dated("day", window.zone, at)
            start = day + (at - day) // HOUR * HOUR
            return start, min(start + HOUR, following)
        case "day" | "week" | "month":
            return _dated(window.period, window.zone, at)


def _floor(at: Micros, length: Micros) -> Span:
    start = at // length * length
    return start, start + length


def _dated(period: str, name: str, at: Micros) -> Span:
    zone = _zone(name)
    inside = min(max(at, 2 * DAY), ENDLESS - 400 * DAY)
    first = _first(period, datetime.fromtimestamp(inside // SECOND, zone).date())
    start = _begin(first, zone)
    while at < start:  # a midnight that the clock jumped over is a moment later than its date's first
        first = _first(period, first - timedelta(days=1))
        start = _begin(first, zone)
    while True:
        first = _following(period, first)
        end = _begin(first, zone)
        if at < end:
            return start, end
        start = end


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no time zone; expected a name of the IANA database like UTC") from error


def _first(period: str, day: date) -> date:
    if period == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if period == "month" else day


def _following(period: str, first: date) -> date:
    if period == "month":
        return (first + timedelta(days=31)).replace(day=1)
    return first + timedelta(days=7 if period == "week" else 1)


def _begin(day: date, zone: ZoneInfo) -> Micros:
    """Its midnight; where the clock jumps over midnight, the moment of the jump."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    return int(midnight.timestamp()) * SECOND
