"""`streamlane router rules`: the rules as sentences, and what the router does where none of them matches."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy.cli.shared import config_file, without_keys

if TYPE_CHECKING:
    from proxy.config_router import Router as Options
    from proxy.router_names import Ladder

NONE = "There are no rules: add [[router.rules]] to the configuration (docs/routing.md)."
ORDER = "The first that matches decides. Where none says which model it is for, it is for auto and router-… alone."


@click.command()
@config_file
def rules(config: Path | None) -> None:
    """Print the rules as sentences, in their order, and what follows them."""
    from proxy import configured_router
    from proxy.routing.sentences import sentence

    options = without_keys(config).router
    found = configured_router.rules(options).rules
    click.echo(ORDER if found else NONE)
    for number, rule in enumerate(found, start=1):
        click.echo(f"{number:>3}  {sentence(rule)}")
    router = configured_router.router(options)
    if router.ladders:
        click.echo("\nWhere none matches, the learned router decides:")
    for name in router.names():
        if (profile := router.profile(name)) is not None:
            click.echo(f"     {name}: {_shares(router.ladders[profile])}.")
    for doubt in doubts(options):
        click.echo(f"warning: {doubt}", err=True)


def doubts(options: "Options") -> Iterator[str]:
    """A sentence for each rule that can never match."""
    from proxy import configured_router
    from proxy.routing.rules import shadowed

    for rule, earlier in shadowed(configured_router.rules(options).rules):
        yield (
            f'router.rules "{rule.use.name}" never matches: whatever it is for, "{earlier.use.name}" above it matches '
            "first. Move it up, or take it out."
        )


def _shares(ladder: "Ladder") -> str:
    """`30 % to strong (openai/gpt-4.1), …`, the strongest first."""
    parts = (
        f"{share:.0%} to {each.name} ({', '.join(each.targets)})"
        for each, share in zip(reversed(ladder.sets), reversed(ladder.shares), strict=True)
    )
    return ", ".join(parts)
