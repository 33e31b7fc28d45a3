"""What the headers of an answer say of limits, by rules that are data: never guessed, and never raised. Pure.

A header without a rule is ignored, and so is whatever contradicts itself: more left than there is, or a reset that is
further away than its window is long.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

from quota.pool import DAY, HOUR, MINUTE, SECOND, Micros, Period

Wait: TypeAlias = Callable[[str, float], float | None]
"""Seconds from a moment, in Unix seconds, to what a text means: seconds, Unix seconds or milliseconds, a duration as Go
writes it, a date of RFC 3339 or of HTTP. 0 for what is past, None for what it cannot mean.
"""

LENGTHS: Mapping[Period, Micros] = {  # the longest that each may be: a day may have 25 hours
    "second": SECOND,
    "minute": MINUTE,
    "hour": HOUR,
    "day": 25 * HOUR,
    "week": 7 * DAY + HOUR,
    "month": 31 * DAY + HOUR,
}
SLACK: Micros = 2 * SECOND  # clocks that differ, and headers in whole seconds
MOST = 10**15  # of any metric; who says more means something else
AMOUNT = re.compile(r"(\d{1,15})(?:\.0{1,9})?", re.ASCII)
# draft-ietf-httpapi-ratelimit-headers: a list of names with parameters, here "default";r=50;t=30 or "burst";q=100;w=60.
ITEM = re.compile(
    r'\s*(?:"([^"\\,;]{0,64})"|([A-Za-z*][\w.*-]{0,63}))((?:\s*;\s*[a-z]{1,8}=[^,;]{0,32})*)\s*', re.ASCII
)


class HeaderRule(Struct, frozen=True, forbid_unknown_fields=True):
    """What one header says. `name` is in lower case, `metric` is the caller's word.

    `per` None: the header does not tell its window, and whoever knows the limit may. Fields:

    limit, remaining  a whole number
    reset             when a new window opens, in any form that a Wait reads
    full              when a token bucket is full again: long after its next token, so it closes nothing and is not read
    ietf              an item of the draft's RateLimit (what is left, and when the window ends) or RateLimit-Policy (the
                      limit, whose window must be `per`); the only one, or the one called `item`
    """

    name: str
    metric: str
    field: Literal["limit", "remaining", "reset", "full", "ietf"]
    per: Period | None = None
    item: str | None = None


class Reading(Struct, frozen=True):
    """What an answer says of one metric and window. At least one of `limit`, `remaining` and `resets_at` is known.

    `limit` is 1 or more, `remaining` from 0 to the limit, and `resets_at` not before the answer, nor further from it
    than the window is long.
    """

    metric: str
    per: Period | None
    limit: int | None = None
    remaining: int | None = None
    resets_at: Micros | None = None


def read(
    rules: Iterable[HeaderRule], headers: Mapping[str, str], now: Micros, wait: Wait, *, date: Micros | None = None
) -> list[Reading]:
    """What `headers`, whose names are in lower case, say at `now`, one reading per metric and window.

    `date` is the provider's own time of the answer where it said so: its resets are by that clock.
    """
    there = now if date is None else date
    found: dict[tuple[str, Period | None], dict[str, int | None]] = {}
    for rule in rules:
        text = headers.get(rule.name)
        if text is None or len(text) > 512:
            continue
        for field, value in told(rule, text, there, wait):
            amounts = found.setdefault((rule.metric, rule.per), {})
            if field in amounts and amounts[field] != value:  # two rules that disagree: neither is believed
                amounts[field] = None
            else:
                amounts[field] = value
    readings = (reading(metric, per, amounts, now) for (metric, per), amounts in found.items())
    return [each for each in readings if each is not None]


def told(rule: HeaderRule, text: str, there: Micros, wait: Wait) -> Iterator[tuple[str, int]]:
    """What one header says: fields, with amounts or, for a reset, with microseconds from `there`."""
    match rule.field:
        case "limit" | "remaining":
            if (count := amount(text)) is not None:
                yield rule.field, count
        case "reset":
            if (seconds := wait(text, there / SECOND)) is not None:
                yield "reset", round(seconds * SECOND)
        case "ietf":
            yield from of_item(rule, text)


def of_item(rule: HeaderRule, text: str) -> Iterator[tuple[str, int]]:
    """What the rule's item of a RateLimit or a RateLimit-Policy says."""
    items = items_of(text)
    if rule.item is None and len(items) > 1:
        return
    said = next((parameters for name, parameters in items if rule.item in {None, name}), {})
    counts = {name: count for name, value in said.items() if (count := amount(value)) is not None}
    if "r" in counts:
        yield "remaining", counts["r"]
    if "r" in counts and "t" in counts:
        yield "reset", counts["t"] * SECOND
    if "q" in counts and rule.per is not None and near(counts.get("w", 0) * SECOND, rule.per):
        yield "limit", counts["q"]


def items_of(text: str) -> list[tuple[str, dict[str, str]]]:
    """The names and parameters of a list; [] for what is none."""
    items = []
    for part in text.split(","):
        found = ITEM.fullmatch(part)
        if found is None:
            return []
        pairs = (pair.split("=", 1) for pair in found[3].split(";") if "=" in pair)
        items.append(
            (found[1] if found[1] is not None else found[2], {key.strip(): value.strip() for key, value in pairs})
        )
    return items


def reading(metric: str, per: Period | None, amounts: Mapping[str, int | None], now: Micros) -> Reading | None:
    """Without what contradicts itself; None when nothing is left."""
    limit, remaining, reset = (amounts.get(name) for name in ("limit", "remaining", "reset"))
    if limit == 0:  # it has just answered, or refused by other words
        limit = None
    if limit is not None and remaining is not None and remaining > limit:
        limit = remaining = None
    longest = LENGTHS.get(per) if per is not None else LENGTHS["month"]
    if reset is not None and (longest is None or reset > longest + SLACK):
        reset = None
    if limit is remaining is reset is None:
        return None
    return Reading(metric, per, limit, remaining, None if reset is None else now + reset)


def amount(text: str) -> int | None:
    """A whole number from 0 on; None for what is none, as NaN and -1 are."""
    found = AMOUNT.fullmatch(text.strip())
    return int(found[1]) if found and int(found[1]) <= MOST else None


def near(length: Micros, per: Period) -> bool:
    """Whether a window of that length may be called so."""
    return per in LENGTHS and LENGTHS[per] * 9 // 10 <= length <= LENGTHS[per]
