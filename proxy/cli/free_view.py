"""What `streamlane free` shows of providers: all in a table, or one with its models, limits and terms."""

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

    table = Table(box=None, pad_edge=False, padding=(0, 2, 1, 0))
    for heading in ("provider", "gives", "comes back", "terms", "facts"):
        table.add_column(heading, no_wrap=heading in ("provider", "terms", "facts"), overflow="fold")
    for provider in catalog.values():
        state = [] if provider.status == "active" else [f"[yellow]{STATUS[provider.status]}[/]"]
        terms = dict.fromkeys(notice.term for notice in provider.notices(None))
        table.add_row(
            "\n".join([f"[bold]{provider.id}[/]", *(f"[green]> {name}[/]" for name in yours(provider, config))]),
            "\n".join([*state, *summary(provider)]),
            "\n".join(resets(provider)),
            "\n".join(terms) or "none found",
            sureness(provider).replace(", ", "\n"),
        )
    console.print(table)
    console.print(f"> is an account of yours, {EACH_MEANS}, ? is not published. {NEXT}", soft_wrap=True)


def details(console: "Console", provider: "Provider", config: "Config | None") -> None:
    """All about one provider: plans, terms, limits of each model."""
    from rich.table import Table

    show(provider, None)
    if len(provider.plans) > 1:
        for plan in provider.plans:
            console.print(f"plan {plan.id}: {plan.about} {listed(summary(provider, plan.id), '')}", soft_wrap=True)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 1, 0))
    for heading in ("models", "context", "limits", "come back", "facts"):
        table.add_column(heading, no_wrap=heading in ("context", "limits", "facts"), overflow="fold")
    for limits, models in alike(provider).items():
        known = [provider.models[model] for model in models if model is not None]
        contexts = [f"{facts.context:,}" if facts.context else "unknown" for facts in known]
        names = "\n".join(model or "all together" for model in models)
        table.add_row(names, "\n".join(contexts), *("\n".join(lines) for lines in zip(*limits, strict=True)))
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
    notices = provider.notices(plan)
    if not notices:
        click.echo("terms: none are known that would need your consent.")
    for notice in notices:
        click.echo(click.style(f"{notice.term}: {WORDS[notice.term]}.", fg="yellow") + f" {notice.text}")
    click.echo(f"These facts: {sureness(provider)}. Their sources: streamlane free terms {provider.id}")


def alike(provider: "Provider") -> dict[tuple[tuple[str, str, str], ...], list[str | None]]:
    """Limits with their resets and sureness, and the models that have them; None is all models together."""
    shared = provider.limits_of(None, None)
    found: dict[tuple[tuple[str, str, str], ...], list[str | None]] = {}
    for model in (None, *provider.models):
        own = shared if model is None else [each for each in provider.limits_of(model, None) if each not in shared]
        limits = ((short([limit]), reset_words(limit), SURE[provider.confidence_in(limit, model)]) for limit in own)
        if own or model is not None:
            found.setdefault(tuple(limits), []).append(model)
    return found


def yours(provider: "Provider", config: "Config | None") -> list[str]:
    """The names of the accounts that are configured."""
    return [each.name for each in config.accounts if each.provider == provider.id] if config else []
