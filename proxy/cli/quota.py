"""`streamlane quota`: what is left of each account, when it comes back, and what was spent."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from proxy.cli.shared import Group, config_file, program, without_keys

if TYPE_CHECKING:
    from rich.console import Console

    from proxy.accounts import Accounts
    from proxy.cli.quota_file import LedgerFile
    from proxy.config import Config
    from quota.ledger import Headroom
    from quota.pool import Micros

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
MOST = 10**15  # of any metric; who books more means something else
WIDE = 1000  # columns of what is no terminal: its lines stay whole, so that they can be searched


class Quota(Group):
    """Without a command it shows the table."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return click.Group.parse_args(self, ctx, args)


@click.group(cls=Quota, invoke_without_command=True)
@config_file
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Also models of which nothing is used, and what is not configured any more.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs: as GET /v1/quota answers.")
@click.pass_context
def quota(ctx: click.Context, config: Path | None, everything: bool, as_json: bool) -> None:
    """Show what is left of each account, when it comes back, and whether it lasts.

    Works with a gateway that runs and without one. Times are this machine's.
    """
    if ctx.invoked_subcommand is not None:
        return
    from proxy.cli import quota_view as view
    from proxy.quota_report import report, report_on, shown

    found = _config(config)
    with _ledger(found, as_json) as ledger:
        headroom, now = ledger.headroom(_now())
        cooldowns = ledger.cooldowns(now)
    accounts = _accounts(found, headroom)
    metered = chain.from_iterable(accounts.metered.values())
    every = report(headroom, now, cooldowns=cooldowns)
    rows = every if everything else report_on(metered, headroom, now, cooldowns=cooldowns)
    if as_json:
        _print_json({"object": "list", "data": [shown(row) for row in rows]})
        return
    hidden = len(every) - len(rows)
    listed, untouched = (rows, {}) if everything else view.folded(rows)
    console = _console()
    blocks = view.BLOCKS if console.encoding.lower().startswith("utf") else view.PLAIN
    resting = view.resting(rows, now)
    table = view.table(listed, now, blocks=blocks, resting=resting)
    if rows:
        fits = console.measure(table, options=console.options.update(max_width=WIDE)).maximum <= console.width
        console.print(table if fits else view.stack(listed, now, console.width, blocks=blocks, resting=resting))
    elif found.accounts:
        click.echo(f"Nothing of these accounts is counted yet. Start the gateway anew: {program()} serve")
    else:
        click.echo(f"No account is configured. See what is free: {program()} free list")
    for line in (*view.terms(rows), *(f"{name} is not used: {why}" for name, why in accounts.unused)):
        click.echo(line)
    if untouched:
        models = ", ".join(f"{count} of {account}" for account, count in untouched.items())
        click.echo(f"Not shown: models of which nothing is used, {models}; --all shows them.")
    if hidden:
        click.echo(f"Not shown: {hidden} pools of what is not configured any more; --all shows them.")


@quota.command()
@config_file
@click.option("--pool", help="Only of this pool: its id, as `quota --json` shows it.")
@click.option("--since", metavar="WHEN", help="Only since then: 30m, 12h, 7d, or a date such as 2026-11-21.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many operations at most.")
def history(config: Path | None, pool: str | None, since: str | None, limit: int) -> None:
    """Show what was reserved, settled, observed and adjusted, newest first."""
    from proxy.cli.quota_view import operations

    begin = _since(since) if since else 0
    with _ledger(_config(config)) as ledger:
        if pool is not None and pool not in ledger.headroom(_now())[0]:
            raise click.ClickException(_no_pool(ledger, pool))
        found = ledger.history(begin, limit, pool)
    if not found:
        click.echo("Nothing has happened since then." if since else "Nothing has happened yet.")
        return
    for line in operations(found, pool):
        click.echo(line)
    if len(found) == limit:
        click.echo(f"These are the newest {limit}; --limit shows more.")


@quota.command()
@config_file
@click.option("--format", "kind", type=click.Choice(["csv", "json"]), default="csv", show_default=True)
def export(config: Path | None, kind: Literal["csv", "json"]) -> None:
    """Write the whole history to standard output, oldest first: one line for each pool that an operation changed.

    As CSV with a head line, or as JSON lines. Amounts are whole units; money is in millionths of a dollar.
    """
    import csv

    from msgspec import json
    from msgspec.structs import asdict

    from proxy.quota_report import Line, lines, moment

    writer = csv.writer(sys.stdout, lineterminator="\n")
    with _ledger(_config(config)) as ledger:
        if kind == "csv":
            writer.writerow(Line.__struct_fields__)
        for line in lines(ledger.operations()):
            told = {**asdict(line), "at": moment(line.at)}
            if kind == "csv":
                writer.writerow(told.values())
            else:
                click.echo(json.encode(told))


@quota.command(context_settings={"ignore_unknown_options": True})  # -5 is an amount
@click.argument("pool")
@click.argument("amount", type=click.IntRange(-MOST, MOST))
@click.option("--why", required=True, help="For the history: why you correct it.")
@config_file
def adjust(pool: str, amount: int, why: str, config: Path | None) -> None:
    """Book AMOUNT more as used of POOL, or less where it is negative.

    For when the provider counts something else than the ledger, and does not say so in its answers. POOL is an id, as
    `quota --json` shows it; AMOUNT is in its whole units, money in millionths of a dollar. A gateway that runs sees it
    within a second.
    """
    import asyncio

    from proxy.cli.quota_view import number
    from quota.ledger import LedgerUnusable
    from quota.sqlite_ledger import opened

    found = _config(config)
    with _ledger(found) as ledger:
        before = ledger.headroom(_now())[0].get(pool)
        if before is None:
            raise click.ClickException(_no_pool(ledger, pool))

    async def book() -> int:
        async with opened(_file(found), synchronous=found.quota.synchronous) as writing:
            await writing.adjust(pool, amount, f"{amount:+,}: {why}")  # some pools book times, not amounts
        with _ledger(found) as after:
            return after.headroom(_now())[0][pool].used

    try:
        used = asyncio.run(book())
    except LedgerUnusable as error:
        raise click.ClickException(str(error)) from None
    metric = before.pool.labels.get("metric", "")
    click.echo(f"{pool}: {number(metric, before.used)} → {number(metric, used)} used.")


@quota.command()
@config_file
def reconcile(config: Path | None) -> None:
    """Recompute every balance from the history, and say what differs. The exit code is 0 when nothing does, else 1."""
    import asyncio

    from quota.ledger import LedgerUnusable
    from quota.sqlite_ledger import opened

    found = _config(config)
    with _ledger(found) as ledger:
        pools = len(ledger.headroom(_now())[0])

    async def compare() -> "list[str]":
        async with opened(_file(found), synchronous=found.quota.synchronous) as ledger:
            return list(await ledger.reconcile())

    try:
        differences = asyncio.run(compare())
    except LedgerUnusable as error:
        raise click.ClickException(str(error)) from None
    if not differences:
        click.echo(f"All is well: the balances of {pools} pools are the sums of their operations.")
        return
    for difference in differences:
        click.echo(difference)
    click.echo(
        f"{len(differences)} differ. Keep a copy of {_file(found)}, and please report this with the lines above. "
        f"Until it is mended, {program()} quota adjust can correct what was used.",
        err=True,
    )
    raise SystemExit(1)


def _accounts(config: "Config", headroom: "Mapping[str, Headroom]") -> "Accounts":
    """As the gateway made them: with the limits that only a provider has told."""
    from proxy.accounts import build
    from proxy.catalog import merged

    catalog = merged(config.catalog)
    told = {pool: headroom[pool].cap for pool in build(config, catalog).unknown if pool in headroom}
    return build(config, catalog, told)


def _config(file: Path | None) -> "Config":
    """The configuration; its file may also be named before the command: `quota --config FILE history`."""
    above = click.get_current_context().parent
    named = file or (above.params.get("config") if above is not None else None)
    return without_keys(named)


def _file(config: "Config") -> Path:
    from proxy.cli.quota_file import NAME

    return config.data_dir / NAME


@contextmanager
def _ledger(config: "Config", as_json: bool = False) -> Iterator["LedgerFile"]:
    """The ledger; where there is none, a sentence with the next step, and the end."""
    from proxy.cli.quota_file import reading
    from quota.ledger import LedgerUnusable

    if not _file(config).exists():
        if as_json:
            _print_json({"object": "list", "data": []})
        elif not config.accounts:
            click.echo("There is no account yet, so nothing is counted.")
            click.echo(f"See which providers give something for free: {program()} free list")
            click.echo(f"Then add an account:                         {program()} free add PROVIDER")
        else:
            click.echo(f"Nothing is counted yet: there is no {_file(config)}. Start the gateway: {program()} serve")
        raise SystemExit(0)
    try:
        with reading(_file(config)) as ledger:
            yield ledger
    except LedgerUnusable as error:
        raise click.ClickException(str(error)) from None


def _no_pool(ledger: "LedgerFile", pool: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(pool, ledger.headroom(_now())[0], 1)
    return f"There is no pool '{pool}'." + (
        f" Did you mean '{near[0]}'?" if near else f" See {program()} quota --json."
    )


def _since(text: str) -> "Micros":
    """A moment: so long ago, or a date. Raises BadParameter."""
    try:
        if text[-1:] in UNITS:
            at = datetime.now().astimezone() - timedelta(**{UNITS[text[-1]]: float(text[:-1])})
        else:
            at = datetime.fromisoformat(text).astimezone()
        return int(at.timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        raise click.BadParameter("expected 30m, 12h, 7d, or a date such as 2026-11-21.", param_hint="--since") from None


def _now() -> "Micros":
    import time

    return time.time_ns() // 1000


def _console() -> "Console":
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDE, highlight=False)


def _print_json(value: Any) -> None:
    from msgspec import json

    click.echo(json.format(json.encode(value), indent=2))
