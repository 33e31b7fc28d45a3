"""Says in words and bars how the pools stand: what `streamlane quota` prints. Knows the time only as an argument."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from textwrap import wrap
from typing import TYPE_CHECKING, cast

from proxy.metered import Term
from proxy.quota_report import Row, lines
from quota.ledger import Operation
from quota.pool import DAY, HOUR, MINUTE, SECOND, Micros

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

BAR = 12  # characters
FEW = 3  # models of an account of which nothing is used: so many are shown
BLOCKS, PLAIN = "█▒░", "#=."  # used, reserved, left; for terminals that know no Unicode
STYLES = ("cyan", "yellow", "bright_black")
STATES = {"open": "", "spent": "red", "closed": "red"}
NOTHING: Mapping[str, Sequence[str]] = {}
STEPS = ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s"))


def table(
    rows: Sequence[Row],
    now: Micros,
    zone: tzinfo | None = None,
    blocks: str = BLOCKS,
    *,
    resting: Mapping[str, Sequence[str]] = NOTHING,
) -> "RenderableType":
    """Every pool in a line, under its account and why that rests. Times are in `zone`, by default this machine's."""
    from rich.table import Table
    from rich.text import Text

    from proxy.cli.between_lines import BetweenLines

    said: dict[int, Sequence[Text]] = {}
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("account, model", "limit", ""):
        shown.add_column(name, no_wrap=True)
    for name in ("used", "reserved", "left"):
        shown.add_column(name, justify="right", no_wrap=True)
    for name in ("all again", "at this pace", "known from"):
        shown.add_column(name, no_wrap=True)
    for account, model, row in headed(rows):
        if account:
            shown.add_row(Text(account, style="bold"))
            said[shown.row_count] = [Text(f"  {line}", style="red") for line in resting.get(row.account, ())]
        shown.add_row(
            f"  {model}",
            limit(row),
            bar(row, blocks),
            number(row.metric, row.used),
            number(row.metric, row.reserved) if row.reserved else "",
            Text(number(row.metric, row.left), style=STATES[row.state]),
            when(row.resets_at, now, zone) if row.resets_at else "",
            Text(*pace(row, now, zone)),
            known(row, now),
        )
    return BetweenLines(shown, said)


def stack(
    rows: Sequence[Row],
    now: Micros,
    width: int,
    zone: tzinfo | None = None,
    blocks: str = BLOCKS,
    *,
    resting: Mapping[str, Sequence[str]] = NOTHING,
) -> "RenderableType":
    """The same for a narrow terminal: below each pool's bar what the table has in columns."""
    from rich.text import Text

    parts: list[Text] = []
    wide = max((len(limit(row)) for row in rows), default=0)
    for account, model, row in headed(rows):
        if account:
            parts.append(Text(account, style="bold"))
            why = (part for line in resting.get(row.account, ()) for part in wrap(line, max(width - 2, 20)))
            parts += [Text(f"  {part}", style="red") for part in why]
        parts += [Text(f"  {model}")] if model else []
        left = (number(row.metric, row.left), STATES[row.state])
        parts.append(Text.assemble(f"    {limit(row):<{wide}}  ", bar(row, blocks), "  ", left, " left"))
        said = [f"{number(row.metric, row.used)} used"]
        said += [f"{number(row.metric, row.reserved)} reserved"] if row.reserved else []
        said += [f"all again {when(row.resets_at, now, zone)}"] if row.resets_at else []
        said += filter(None, [pace(row, now, zone)[0]])
        text = "; ".join([*said, f"known from {known(row, now)}"])
        parts += [Text(f"      {line}", style="bright_black") for line in wrap(text, max(width - 6, 20))]
    return Text("\n").join(parts)


def folded(rows: Sequence[Row]) -> tuple[Sequence[Row], Mapping[str, int]]:
    """What is worth a look, and by account how many models are left out: of which nothing is used, where they are many.

    Of an account that rests there is at least one. All rows where nothing else would be left.
    """
    touched = {(row.account, row.model) for row in rows if row.used or row.reserved or row.state != "open"}
    touched |= set({row.account: (row.account, row.model) for row in reversed(rows) if row.resting}.values())
    models = {(row.account, row.model) for row in rows if row.model}
    untouched = Counter(account for account, _ in models - touched)
    many = {account: count for account, count in sorted(untouched.items()) if count > FEW}
    left = tuple(row for row in rows if not row.model or row.account not in many or (row.account, row.model) in touched)
    return (left, many) if left else (rows, {})


def resting(rows: Sequence[Row], now: Micros, zone: tzinfo | None = None) -> Mapping[str, Sequence[str]]:
    """By account why it, or which models of it, are not asked now, and when they are again."""
    models: dict[tuple[str, str], dict[str, None]] = {}
    for row in rows:
        if row.resting:
            again = f" Again {when(row.rests_until, now, zone)}." if row.rests_until else ""
            models.setdefault((row.account, row.resting + again), {})[row.model] = None
    whole = Counter(account for account, _ in {(row.account, row.model) for row in rows})
    said: dict[str, list[str]] = {}
    for (account, sentence), own in models.items():
        names = [name or "all models" for name in own]
        more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
        which = "" if len(names) == whole[account] else f"{', '.join(names[:FEW])}{more}: "
        said.setdefault(account, []).append(which + sentence)
    return said


def headed(rows: Sequence[Row]) -> Iterator[tuple[str, str, Row]]:
    """Each row with its account and its model where they are others than those of the row before."""
    account = model = None
    for row in rows:
        new = row.account != account
        named = f"{row.account} ({row.provider})" if row.provider else row.account
        yield named if new else "", (row.model or "all models") if new or row.model != model else "", row
        account, model = row.account, row.model


def bar(row: Row, blocks: str = BLOCKS) -> "Text":
    """Used, reserved and left as parts of the cap. Whatever is not nothing is seen."""
    from rich.text import Text

    used, reserved = (cells(amount, row.cap) for amount in (row.used, row.reserved))
    used = min(used, BAR)
    reserved = min(reserved, BAR - used)
    parts = zip((used, reserved, BAR - used - reserved), blocks, STYLES, strict=True)
    return Text.assemble(*((block * count, style) for count, block, style in parts))


def cells(amount: int, cap: int) -> int:
    """How many characters of a bar `amount` is worth."""
    return max(round(BAR * amount / cap), 1) if amount and cap else 0


def limit(row: Row) -> str:
    """What may be used of it: "1,000 requests/day"."""
    if not row.per:
        return f"{row.cap:,} at once"
    amount = number(row.metric, row.cap)
    unit = "" if row.metric == "usd_micros" else f" {row.metric.replace('_', ' ')}"
    return f"{amount}{unit}" + (" in all" if row.per == "ever" else f"/{row.per}")


def number(metric: str, amount: int) -> str:
    """An amount as people write it; millionths of a dollar as dollars."""
    if metric != "usd_micros":
        return f"{amount:,}"
    return f"${amount / 1_000_000:,.{2 if amount % 10_000 == 0 or amount >= 1_000_000 else 4}f}"


def pace(row: Row, now: Micros, zone: tzinfo | None) -> tuple[str, str]:
    """How long it lasts if it goes on like this, and in which style that is said."""
    if row.state != "open":
        what = "closed by the provider" if row.state == "closed" else "spent" if row.per else "all in use"
        more = row.opens_at if row.opens_at != row.resets_at else None
        return what + (f", more {when(more, now, zone)}" if more else ""), "red"
    if row.spent_at is not None:
        return f"spent {when(row.spent_at, now, zone)}", "yellow"
    return "lasts" if row.lasts else "", ""


def known(row: Row, now: Micros) -> str:
    """Who told the cap, and how old that is."""
    if row.observed_at is not None:
        return f"{row.source}, heard {length(now - row.observed_at)} ago"
    doubt = ", unsure" if row.confidence == "low" else ""
    if row.as_of is None or not row.as_of[:1].isdigit():  # facts of the operator's own have no day
        return row.as_of or row.source
    return f"{row.source} of {row.as_of}{doubt}"


def when(at: Micros, now: Micros, zone: tzinfo | None = None) -> str:
    """How far away, and the time of that: "in 3 h (21:40)"; "in 20 s" without."""
    far = f"in {length(at - now)}"
    return far if at - now < MINUTE else f"{far} ({clock(at, now, zone)})"


def length(micros: Micros) -> str:
    """The largest unit that it has nearly one of, rounded: "40 s", "3 h", "2 d"."""
    unit, name = next(((unit, name) for unit, name in STEPS if micros >= unit * 0.99), STEPS[-1])
    return f"{max(micros, 0) / unit:.0f} {name}"


def clock(at: Micros, now: Micros, zone: tzinfo | None = None) -> str:
    """A time as short as it can be said today: "21:40", "Sun 00:00", "1 Dec"."""
    moment, today = (datetime.fromtimestamp(each / SECOND, zone).astimezone(zone) for each in (at, now))
    if moment.date() == today.date():
        return f"{moment:%H:%M}"
    return f"{moment:%a %H:%M}" if at - now < 6 * DAY else f"{moment.day} {moment:%b}"


def terms(rows: Sequence[Row]) -> Iterator[str]:
    """What the terms of each account want one to know."""
    from proxy.catalog import WORDS

    for account, each in {row.account: row.terms for row in rows}.items():
        if each:
            yield f"{account}: {'; '.join(WORDS.get(cast(Term, term), term) for term in each)}."


def operations(found: Sequence[Operation], pool: str | None = None, zone: tzinfo | None = None) -> Iterator[str]:
    """The history: each operation, and below it what it did to each pool; with `pool` only to this one."""
    for each in found:
        moment = datetime.fromtimestamp(each.at / SECOND, zone).astimezone(zone)
        request = f"  {each.attempt.request_id}" if each.attempt else ""
        again = f" (try {each.attempt.number})" if each.attempt and each.attempt.number > 1 else ""
        yield f"{moment:%Y-%m-%d %H:%M:%S}  {each.kind}{request}{again}{f'  {each.why}' if each.why else ''}"
        for line in lines([each]):
            if pool in (None, line.pool):
                done = [f"{line.used:+,} used"] if line.used else []
                done += [f"{line.reserved:+,} reserved"] if line.reserved else []
                yield f"    {line.pool}{': ' if done else ''}{', '.join(done)}"
