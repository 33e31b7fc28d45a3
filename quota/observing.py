"""What a provider's word does to a pool. Pure. The rules stand at Observation in quota/ledger.py."""

from quota.ledger import Change, Observation
from quota.pool import Fixed, Micros
from quota.tally import NOTHING, Charge, Tally
from quota.windows import ENDLESS


def observe(tally: Tally, now: Micros, observation: Observation) -> tuple[bool, Change, str]:
    """Whether it was news, what it moved, and in words for the history."""
    row = tally.row
    at = min(observation.at, now)  # a clock that is ahead must not silence what comes later
    if row.observed_at is not None and at < row.observed_at:
        return False, Change(), ""
    row.observed_at = at
    words: list[str] = []
    arrival, used = _limit(tally, now, observation, words)
    if observation.remaining is not None:
        limit = tally.cap(now) if observation.limit is None else observation.limit
        # What is in flight may be in the provider's figure already: only what goes beyond it was surely spent by
        # others. Once it is settled, the next figure tells the rest.
        moved, booked = tally.observed(now, at, limit - observation.remaining)
        if moved or booked:
            words.append(f"{observation.remaining} remaining")
        arrival, used = arrival + moved, used + booked
    if observation.refused:
        _refuse(tally, now, observation, words)
    return bool(words), Change(0, arrival, used), f"{observation.source}: {', '.join(words)}"


def _limit(tally: Tally, now: Micros, observation: Observation, words: list[str]) -> Charge:
    row, limit = tally.row, observation.limit
    if row.next_from and now >= row.next_from + _guard(tally):  # every window that counts has it by now
        row.cap, row.next_from = row.next_cap, 0
    if limit is None:
        return NOTHING
    # What an operator has set is never exceeded on a provider's word.
    said = min(limit, max(row.cap, row.pool.cap)) if row.pool.source == "configuration" else limit
    if said <= row.cap:
        row.said, row.next_from = None, 0
        if said == row.cap:
            return NOTHING
        words.append(f"limit {said}, was {row.cap}")
        row.source = observation.source
        return tally.recap(now, said)
    agreed = None if row.said is None else min(row.said, said)
    row.said = said
    if row.next_from:
        row.next_cap = min(row.next_cap, said)
    if agreed is None or (row.next_from and (agreed == row.next_cap or now + _guard(tally) >= row.next_from)):
        return NOTHING
    row.source = observation.source
    if isinstance(row.pool.window, Fixed):
        words.append(f"limit {agreed} from the next window on, now {row.cap}")
        row.next_cap = agreed
        row.next_from = row.next_from or tally.reset(now) - _guard(tally)
        return NOTHING
    words.append(f"limit {agreed}, was {row.cap}")
    return tally.recap(now, agreed)


def _refuse(tally: Tally, now: Micros, observation: Observation, words: list[str]) -> None:
    row, reset, stated = tally.row, tally.reset(now), observation.resets_at
    until = stated if stated is not None and stated > now else reset
    row.closed_until = max(row.closed_until, min(until, ENDLESS))
    # A stated time may be short of the window's own reset; then the margin is what keeps us from the next refusal.
    grown = row.grown if now < row.grown_until else 0
    row.grown = min(grown + -(-row.cap // 20), row.cap)
    row.grown_until = max(row.grown_until, reset, row.closed_until)
    words.append("refused")


def _guard(tally: Tally) -> Micros:
    window = tally.row.pool.window
    return window.guard if isinstance(window, Fixed) else 0
