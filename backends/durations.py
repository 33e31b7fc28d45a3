"""When something may be tried again: as providers write it in their many ways, and as people read it. Pure."""

import math
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

LONGEST = 366 * 86400.0  # seconds; who says more means something else
EPOCH = 1e9  # a plain number from here on is Unix time, in seconds; from EPOCH_MS on in milliseconds
EPOCH_MS = 1e12
NUMBER = re.compile(r"\d{1,16}(?:\.\d{1,9})?", re.ASCII)
# Go's time.Duration: OpenAI's and Groq's headers ("6m0s", "12ms", "2m59.56s"), Google's retryDelay ("36s").
UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
PIECE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|us|µs|μs|ns|d|h|m|s)", re.ASCII)
DURATION = re.compile(f"(?:{PIECE.pattern})+", re.ASCII)
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)


def wait(text: str, now: float) -> float | None:
    """Seconds from `now` (Unix time) to what `text` says; 0 for what is past, None for what it is not known to mean.

    It may be a number of seconds, Unix time in seconds or milliseconds, a duration as Go writes it, a time as RFC 3339
    or as HTTP writes it.
    """
    text = text.strip()
    if NUMBER.fullmatch(text):
        value = float(text)
        if value >= EPOCH:
            value = (value / 1000 if value >= EPOCH_MS else value) - now
    elif DURATION.fullmatch(text):
        value = sum(float(count) * UNITS[unit] for count, unit in PIECE.findall(text))
    else:
        when = moment(text)
        if when is None:
            return None
        value = when - now
    return max(0.0, value) if math.isfinite(value) and value <= LONGEST else None


def moment(text: str) -> float | None:
    """The Unix time of a date of RFC 3339 or of HTTP (RFC 9110, 5.6.7)."""
    try:
        if RFC_3339.fullmatch(text):
            fraction = re.sub(r"(\.\d{6})\d+", r"\1", text.upper())
            return datetime.fromisoformat(fraction).timestamp()
        found = parsedate_to_datetime(text)
        return found.replace(tzinfo=found.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def until_utc_midnight(now: float) -> float:
    """Seconds to the next 00:00 UTC, when the days of Cloudflare and OpenRouter begin."""
    here = datetime.fromtimestamp(now, UTC)
    midnight = datetime.combine(here.date() + timedelta(days=1), datetime.min.time(), UTC)
    return (midnight - here).total_seconds()


def duration(seconds: float) -> str:
    """How long, for people: "42 s" below two minutes, then "11 h 36 min"; rounded up, as nobody may come early."""
    if math.ceil(seconds) < 120:
        return f"{max(1, math.ceil(seconds))} s"
    hours, minutes = divmod(math.ceil(seconds / 60), 60)
    return " ".join(f"{count} {unit}" for count, unit in ((hours, "h"), (minutes, "min")) if count)
