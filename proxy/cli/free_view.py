"""What `streamlane free` shows of providers: all in a table, or one with its models, limits and terms."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from proxy.catalog import STATUS, WORDS
from proxy.catalog_words import (
    EACH,
    EACH_MEANS,
    SURE,
    every,
    listed,
    overrun,
    reset_words,
    resets,
    scope_words,
    short,
    summary,
    sureness,
)

if TYPE_CHECKING:
    from rich.console import Console

    from proxy.catalog import Catalog, Provider
    from proxy.config import Config

NEXT = "All about one: streamlane free list PROVIDER. Add an account: streamlane free add PROVIDER."


def overview(console: "Console", catalog: "Catalog", config: "Config | None") -> None:
    """A row for each provider."""
    from rich.table import Table

    headings = ("provider", "gives", "comes back", "terms", "facts", "yours")
    table = Table(*headings, box=None, pad_edge=False, padding=(0, 2, 1, 0))
    for provider in catalog.values():
        state = "" if provider.status == "active" else f"\n[yellow]{STATUS[provider.status]}[/]"
        table.add_row(
            f"[bold]{provider.id}[/]{state}",
            listed(summary(provider), "nothing for free"),
            listed(resets(provider), ""),
            listed(notice.term for notice in provider.notices(None)),
            sureness(provider),
            "\n".join(yours(provider, config)),
        )
    console.print(table)
    console.print(f"{EACH_MEANS}. {NEXT}", soft_wrap=True)


def details(console: "Console", provider: "Provider", config: "Config | None") -> None:
    """All about one provider: plans, terms, limits of each model."""
    from rich.table import Table

    show(provider, None)
    if len(provider.plans) > 1:
        for plan in provider.plans:
            console.print(f"plan {plan.id}: {plan.about} {listed(summary(provider, plan.id), '')}", soft_wrap=True)
    table = Table("model", "context", "limits", "come back", "are", box=None, pad_edge=False)
    for model in (None, *provider.models):
        facts = provider.models.get(model or "")
        context = "" if facts is None else f"{facts.context:,}" if facts.context else "unknown"
        first = (model or "all together", context)
        for limits, reset, sure in by_reset(provider, model):
            table.add_row(*first, limits, reset, sure)
            first = ("", "")
        if first[0] and model is not None:
            table.add_row(*first)
    click.echo()
    if table.row_count:
        console.print(table)
        console.print(f"Counted for {listed(map(scope_words, every(provider)))}.", soft_wrap=True)
    for note in provider.notes:
        console.print(f"- {note}", soft_wrap=True, markup=False)
    if mine := yours(provider, config):
        console.print(f"Your accounts: {', '.join(mine)}", soft_wrap=True)
    elif provider.usable:
        console.print(f"Add an account: streamlane free add {provider.id}", soft_wrap=True)


def show(provider: "Provider", plan: str | None) -> None:
    """What matters before an account is used."""
    click.echo(f"{click.style(provider.name, bold=True)}: {STATUS[provider.status]}")
    if limits := summary(provider, plan):
        each = f" ({EACH_MEANS})" if any(limit.endswith(EACH) for limit in limits) else ""
        click.echo(f"gives: {', '.join(limits)}{each}")
        click.echo(f"comes back: {', '.join(resets(provider, plan))}")
    click.echo(f"beyond that: {overrun(provider)}")
    for notice in provider.notices(plan):
        click.echo(click.style(f"{notice.term}: {WORDS[notice.term]}.", fg="yellow") + f" {notice.text}")
    click.echo(f"These facts: {sureness(provider)}. Their sources: streamlane free terms {provider.id}")


def by_reset(provider: "Provider", model: str | None) -> Iterator[tuple[str, str, str]]:
    """The limits of a model that it does not share with all others: those that come back alike in one row."""
    shared = provider.limits_of(None, None)
    own = shared if model is None else [each for each in provider.limits_of(model, None) if each not in shared]
    rows: dict[tuple[str, str], list[str]] = {}
    for limit in own:
        key = reset_words(limit), SURE[provider.confidence_in(limit, model)]
        rows.setdefault(key, []).append(short([limit]))
    for (reset, sure), limits in rows.items():
        yield ", ".join(limits), reset, sure


def yours(provider: "Provider", config: "Config | None") -> list[str]:
    """The names of the accounts that are configured."""
    return [each.name for each in config.accounts if each.provider == provider.id] if config else []
