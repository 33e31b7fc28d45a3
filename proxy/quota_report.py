"""What people see of the ledger: its pools as rows with names, forecast, source and age. Pure.

The command line, `GET /v1/quota`, the event `streamlane:quota`, the metrics and the chat page all show these rows.

Names come from a pool's labels, as proxy/account_pools.py writes them.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from proxy.metered import Metered
from proxy.resting import NO_COOLDOWNS, rest_of
from quota.ledger import Cooldown, Headroom, Operation
from quota.pool import DAY, HOUR, MINUTE, SECOND, Concurrent, Fixed, Micros, Window
from quota.windows import fixed_span

State: TypeAlias = Literal["open", "spent", "closed"]
NAMES: Mapping[Micros, str] = {SECOND: "second", MINUTE: "minute", HOUR: "hour", DAY: "day", 7 * DAY: "week"}
LENGTHS: Mapping[str, Micros] = {**{name: length for length, name in NAMES.items()}, "month": 30 * DAY}
UNITS = ((DAY, "days"), (HOUR, "hours"), (MINUTE, "minutes"), (SECOND, "seconds"))
EARLY = 20  # the first of so many parts of a window says little of its pace


class Row(Struct, frozen=True):
    """One pool. `model` is "" where it is for all models of the account, `per` the window's length in words, "" for
    what runs at once. Without `free` it is a budget for what costs money from the first request on.

    `margin` of the cap is kept back, `left` is what would be granted now. `opens_at` is when there is some again, None
    if there is; `resets_at` when there is all, None where that is now or never. `source` told the cap: a catalog as it
    was on `as_of`, with its `confidence`, or another; the provider last spoke of the pool at `observed_at`. `lasts`
    says whether there is some until it resets if it goes on as in this window so far, and `spent_at` when not; None
    where there is no telling. `mine` is what the caller has used of it, and `part` of what all callers have.

    `resting` is a sentence where its account or model is not asked now, however much is left: why, and what to do;
    `rests_until` is when it is asked again, None where no time ends that.
    """

    pool: str
    account: str
    provider: str
    model: str
    metric: str
    per: str
    cap: int
    margin: int
    used: int
    reserved: int
    left: int
    state: State
    opens_at: Micros | None
    resets_at: Micros | None
    source: str
    as_of: str
    confidence: str
    observed_at: Micros | None
    lasts: bool | None
    spent_at: Micros | None
    terms: tuple[str, ...]
    free: bool
    mine: int
    part: float
    resting: str | None
    rests_until: Micros | None


def report(
    headroom: Mapping[str, Headroom],
    now: Micros,
    tag: str = "",
    pools: Collection[str] | None = None,
    paid: Collection[str] = (),
    *,
    cooldowns: Mapping[str, Cooldown] = NO_COOLDOWNS,
) -> tuple[Row, ...]:
    """Every pool, or these, in order of account and model, longest windows first; what runs at once last.

    `tag` is whose share is told, `paid` are pools that are not free, `cooldowns` the ledger's.
    """
    chosen = [each for name, each in headroom.items() if pools is None or name in pools]
    rows = [(row_of(each, now, tag, each.pool.id not in paid, cooldowns), each.pool.window) for each in chosen]
    rows.sort(key=lambda pair: (pair[0].account, pair[0].model, -length_of(pair[1]), pair[0].metric, pair[0].pool))
    return tuple(row for row, _ in rows)


def report_on(
    metered: Iterable[Metered],
    headroom: Mapping[str, Headroom],
    now: Micros,
    tag: str = "",
    *,
    cooldowns: Mapping[str, Cooldown] = NO_COOLDOWNS,
) -> tuple[Row, ...]:
    """The pools of these models. A ledger has others too: of what is in no configuration any more."""
    free: dict[str, bool] = {}
    for each in metered:
        for draw in each.draws:
            free[draw.pool] = free.get(draw.pool, False) or each.free
    paid = {pool for pool, costless in free.items() if not costless}
    return report(headroom, now, tag, free.keys(), paid, cooldowns=cooldowns)


def row_of(headroom: Headroom, now: Micros, tag: str, free: bool, cooldowns: Mapping[str, Cooldown]) -> Row:
    """One pool's row."""
    pool = headroom.pool
    labels = pool.labels
    lasts, spent = forecast(headroom, now)
    mine, all_of_us = headroom.shares.get(tag, 0), sum(headroom.shares.values())
    closed = headroom.closed_until is not None and headroom.closed_until > now
    account, provider, model = labels.get("account", pool.id), labels.get("provider", ""), labels.get("model", "")
    rest = rest_of(account, provider, model, cooldowns, now)
    return Row(
        pool=pool.id,
        account=account,
        provider=provider,
        model=model,
        metric=labels.get("metric", "units"),
        per=words_for(pool.window, labels.get("per", "")),
        cap=headroom.cap,
        margin=headroom.margin,
        used=headroom.used,
        reserved=headroom.reserved,
        left=headroom.left,
        state="closed" if closed else "open" if headroom.left else "spent",
        opens_at=headroom.opens_at,
        resets_at=headroom.resets_at,
        source=headroom.source,
        as_of=labels.get("as_of", "") if headroom.source == "catalog" else "",
        confidence=labels.get("confidence", "") if headroom.source == "catalog" else "",
        observed_at=headroom.observed_at,
        lasts=lasts,
        spent_at=spent,
        terms=tuple(sorted(filter(None, labels.get("terms", "").split(",")))),
        free=free,
        mine=mine,
        part=mine / all_of_us if all_of_us else 0.0,
        resting=rest.sentence if rest else None,
        rests_until=rest.until if rest else None,
    )


def words_for(window: Window, label: str = "") -> str:
    """How long it is: "day", "5 hours", "ever" for what never begins anew, "" for what runs at once.

    `label` is what its provider calls it: a month may be counted as the last 31 days.
    """
    if isinstance(window, Concurrent):
        return ""
    if isinstance(window, Fixed):
        return window.period
    if label in LENGTHS:
        return label
    if window.length in NAMES:
        return NAMES[window.length]
    unit, name = next(((unit, name) for unit, name in UNITS if window.length % unit == 0), UNITS[-1])
    return f"{window.length // unit} {name}"


def length_of(window: Window) -> Micros:
    """About how long it is; 0 for what runs at once."""
    if isinstance(window, Concurrent):
        return 0
    if isinstance(window, Fixed):
        return LENGTHS.get(window.period, 1000 * DAY)
    return window.length


def forecast(headroom: Headroom, now: Micros) -> tuple[bool | None, Micros | None]:
    """Whether it lasts until it resets, at the pace of the window so far, and when it is spent if it does not.

    Only fixed windows have a beginning to measure from. The others give back all the time what was used a while ago.
    """
    window, gone = headroom.pool.window, headroom.used + headroom.reserved
    if not isinstance(window, Fixed) or window.period == "ever" or not gone or not headroom.left:
        return None, None
    start, end = fixed_span(window, now)
    spent = now + headroom.left * max(now - start, (end - start) // EARLY) // gone
    return (True, None) if spent >= end else (False, spent)


def shown(row: Row) -> dict[str, Any]:
    """A row as JSON has it: times in RFC 3339, None where there is none. `share` is the caller's."""
    return {
        "object": "quota.pool",
        "id": row.pool,
        "account": row.account,
        "provider": row.provider,
        "model": row.model or None,
        "metric": row.metric,
        "per": row.per or None,
        "cap": row.cap,
        "margin": row.margin,
        "used": row.used,
        "reserved": row.reserved,
        "left": row.left,
        "state": row.state,
        "opens_at": moment(row.opens_at),
        "resets_at": moment(row.resets_at),
        "lasts": row.lasts,
        "spent_at": moment(row.spent_at),
        "resting": row.resting,
        "rests_until": moment(row.rests_until),
        "source": row.source,
        "as_of": row.as_of or None,
        "confidence": row.confidence or None,
        "observed_at": moment(row.observed_at),
        "terms": list(row.terms),
        "free": row.free,
        "share": {"used": row.mine, "part": round(row.part, 4)},
    }


def moment(at: Micros | None) -> str | None:
    """A time as RFC 3339 writes it, to the second."""
    return None if at is None else datetime.fromtimestamp(at // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def notice(
    metered: Metered,
    headroom: Mapping[str, Headroom],
    now: Micros,
    tag: str,
    *,
    cooldowns: Mapping[str, Cooldown] = NO_COOLDOWNS,
) -> dict[str, Any]:
    """The data of a Notice of kind "quota": the pools that an attempt has drawn on, as they stand now."""
    pools = [shown(row) for row in report_on([metered], headroom, now, tag, cooldowns=cooldowns)]
    return {"backend": metered.account, "model": metered.model, "pools": pools}


class Line(Struct, frozen=True):
    """What one operation did to one pool: what it reserved or gave back, and what it booked as used.

    `used` is None where the pool refills all the time, and so books no amounts but times.
    """

    seq: int
    at: Micros
    kind: str
    pool: str
    used: int | None
    reserved: int
    request: str
    attempt: int | None
    tag: str
    why: str


def lines(operations: Iterable[Operation]) -> Iterator[Line]:
    """Operations by pool. What is near the edge of two windows is booked in both, and said once."""
    for each in operations:
        for pool, change in each.changes.items():
            used = max(change.used)[2] if change.used else None if change.arrival else 0
            yield Line(
                seq=each.seq,
                at=each.at,
                kind=each.kind,
                pool=pool,
                used=used,
                reserved=change.reserved,
                request=each.attempt.request_id if each.attempt else "",
                attempt=each.attempt.number if each.attempt else None,
                tag=each.tag,
                why=each.why,
            )
