"""`streamlane free`: which providers give free quotas, on which terms, and adding an account."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from proxy.cli.shared import Group, config_file, without_keys
from proxy.config_error import ConfigError

if TYPE_CHECKING:
    from proxy.catalog import Catalog, Provider
    from proxy.config import Config

CHECK = "See them with: streamlane config check"


@click.group(cls=Group)
def free() -> None:
    """Free quotas of providers: what there is, on which terms, and adding an account."""


@free.command("list")
@click.argument("provider", required=False)
@config_file
def list_providers(provider: str | None, config: Path | None) -> None:
    """Show the providers with what they give, or all about one PROVIDER."""
    from rich.console import Console

    from proxy.cli.free_view import details, overview

    loaded, catalog, problem = known(config)
    console = Console(highlight=False)
    if provider is None:
        overview(console, catalog, loaded)
    else:
        details(console, named(catalog, provider), loaded)
    if problem:
        click.echo(f"warning: the configuration has problems, so no accounts are shown. {CHECK}", err=True)


@free.command()
@click.argument("provider")
@config_file
def terms(provider: str, config: Path | None) -> None:
    """Show the terms of PROVIDER, with where they were read."""
    from proxy.catalog import WORDS
    from proxy.catalog_words import overrun

    _, catalog, _ = known(config)
    found = named(catalog, provider)
    click.echo(f"{found.name}, as of {found.as_of}")
    for notice in found.terms:
        plans = f" (plan {', '.join(notice.plans)})" if notice.plans else ""
        click.echo(f"\n{click.style(notice.term, bold=True)}: {WORDS[notice.term]}{plans}\n  {notice.text}")
        if notice.source:
            click.echo(f"  {notice.source}")
    if not found.terms:
        click.echo("\nNo terms are known that would need your consent.")
    click.echo(f"\nBeyond the free amount: {overrun(found)}")
    for note in found.notes:
        click.echo(f"- {note}")
    click.echo("\nRead in:")
    for source in found.sources:
        click.echo(f"- {source}")
    click.echo("\nThis is no legal advice. What the provider's own pages say holds.")


@free.command()
@click.argument("provider")
@config_file
@click.option("--name", metavar="NAME", help="What it is called: its models are NAME/MODEL. Otherwise the provider's.")
@click.option("--plan", metavar="PLAN", help="Which of the provider's plans it has. Otherwise the one with the least.")
@click.option("--variable", metavar="VARIABLE", help="The environment variable that will hold the key.")
@click.option("--key-file", type=click.Path(path_type=Path), help="A file that holds the key, in place of a variable.")
@click.option("--accept", metavar="TERM", multiple=True, help="A term that you accept, so that it is not asked for.")
@click.option("--owned-separately", is_flag=True, help="It is a further account that you own, and the terms allow it.")
def add(
    *,
    provider: str,
    config: Path | None,
    name: str | None,
    plan: str | None,
    variable: str | None,
    key_file: Path | None,
    accept: tuple[str, ...],
    owned_separately: bool,
) -> None:
    """Add an account of PROVIDER to the configuration. Its terms are shown first, and nothing is done without consent.

    The file is only added to, and no key is written into it: it names the variable, or the file, that holds the key.
    """
    from proxy.account_doubts import variable_of
    from proxy.catalog import STATUS, WORDS, merged
    from proxy.cli.free_view import show
    from proxy.config_check import nearest
    from proxy.config_source import FILE_NAME, find, parse

    file = find(config, os.environ, Path.cwd()) or Path.cwd() / FILE_NAME
    raw = parse(file, file.name) if file.exists() else {}
    catalog = known(config)[1] if file.exists() else merged({})
    found = named(catalog, provider)
    if not found.usable:
        fail(f"{found.name} is {STATUS[found.status]}.", *found.notes)
    plans = [each.id for each in found.plans]
    if plan is not None and plan not in plans:
        fail(f'{found.name} has no plan "{plan}". Plans: {", ".join(plans)}.')
    taken = [each.get("name") for key in ("backends", "accounts") for each in tables(raw, key)]
    name = name or next(each for each in names(provider) if each not in taken)
    if name in taken:
        fail(f'"{name}" is already a name in {file.name}. Choose another with --name.')
    others = [str(each.get("name")) for each in tables(raw, "accounts") if each.get("provider") == provider]
    if others and not owned_separately:
        fail(
            f"{file.name} already has an account of {found.name}: {', '.join(others)}.",
            "Providers give one account to a person, and limits are those of the whole organization.",
            "If you own this one separately and the terms allow it, repeat with --owned-separately.",
        )
    if unknown := [term for term in accept if term not in WORDS]:
        fail(f'There is no term "{unknown[0]}".{nearest(unknown[0], list(WORDS))} Terms: {", ".join(WORDS)}.')
    show(found, plan)
    accepted = consent(found, plan, accept)
    variable = variable or unused(variable_of(found), tables(raw, "accounts"))
    said: dict[str, Any] = {"name": name, "provider": provider}
    if key_file is not None:
        said["api_key_file"] = str(key_file)
    elif found.key == "needed" or (found.key == "optional" and variable in os.environ):
        said["api_key"] = f"${{{variable}}}"
    if found.preset == "cloudflare":
        said["account_id"] = "${CLOUDFLARE_ACCOUNT_ID}"
    said |= {key: value for key, value in (("plan", plan), ("accept", accepted)) if value}
    if others:
        said["owned_separately"] = True
    append(file, said)
    click.echo(f"\nAdded to {file.name}:\n")
    click.echo(table_of(said))
    for line in steps(found, said):
        click.echo(line)


def steps(provider: "Provider", said: Mapping[str, Any]) -> Iterator[str]:
    """What is left to do."""
    for text in (said.get("api_key"), said.get("account_id")):
        if text is not None:
            variable = str(text)[2:-1]
            state = "is set" if os.environ.get(variable) else "is not set yet: export it before you start the gateway"
            yield f"{variable} {state}."
    if (key_file := said.get("api_key_file")) is not None:
        yield f"{key_file} holds the key: put it there before you start the gateway."
    if not provider.plan(said.get("plan")).free:
        yield "Set a budget for it in the file, and the prices of the models that you use:"
        yield '  limits = [{ metric = "usd", amount = 5, window = "month", reset = "fixed" }]'
        yield '  prices = { "MODEL" = { input = 1, output = 4 } }  # dollars per million tokens'
    yield "Check it: streamlane config check. Then start the gateway, anew if it runs, and ask for free/auto."


def known(config: Path | None) -> "tuple[Config | None, Catalog, bool]":
    """The configuration in effect, and the catalog with its facts. Without it when it has problems, which is said."""
    from proxy.catalog import merged

    try:
        loaded = without_keys(config)
    except ConfigError:
        return None, merged({}), True
    return loaded, merged(loaded.catalog), False


def named(catalog: "Catalog", name: str) -> "Provider":
    """The provider of that id. Ends the command when there is none."""
    from proxy.config_check import nearest

    if name not in catalog:
        fail(f'There is no provider "{name}".{nearest(name, list(catalog))}', f"Known: {', '.join(catalog)}.")
    return catalog[name]


def consent(provider: "Provider", plan: str | None, accept: Sequence[str]) -> list[str]:
    """The terms of the plan, when all are accepted. Ends the command when they are not."""
    needed = list(dict.fromkeys(notice.term for notice in provider.notices(plan)))
    missing = [term for term in needed if term not in accept]
    try:
        if missing and not click.confirm(f"\nDo you accept this ({', '.join(missing)})?"):
            fail("Nothing was changed.")
    except click.Abort:  # nobody is there to answer
        flags = " ".join(f"--accept {term}" for term in missing)
        fail(f"\nNothing was changed. If you accept these terms, repeat with {flags}")
    return list(needed)


def names(first: str, joint: str = "-") -> Iterator[str]:
    """That one, then with a number."""
    yield first
    for number in range(2, 1000):
        yield f"{first}{joint}{number}"


def unused(variable: str, accounts: Sequence[Mapping[str, Any]]) -> str:
    """That variable, or with a number where another account has its key there: each has a key of its own."""
    keys = [account.get("api_key") for account in accounts]
    return next(each for each in names(variable, "_") if f"${{{each}}}" not in keys)


def tables(raw: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The tables of a file that is not checked yet."""
    found = raw.get(key)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def table_of(said: Mapping[str, Any]) -> str:
    """An [[accounts]] table."""
    from proxy.config_show import toml_value

    return "".join(["[[accounts]]\n", *(f"{key} = {toml_value(value)}\n" for key, value in said.items())])


def append(file: Path, said: Mapping[str, Any]) -> None:
    """Add a table at the end of a file, which may not be there yet. What is in it stays as it is."""
    import tomllib

    try:
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        gap = "" if not before else "\n" if before.endswith("\n") else "\n\n"
        added = f"{gap}{table_of(said)}"
        tomllib.loads(before.removeprefix("\ufeff") + added)
        # 0600, because keys may be written into it.
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as end:
            end.write(added)
    except tomllib.TOMLDecodeError:
        fail(f"{file.name} has its accounts in another form than [[accounts]]. Add this yourself:\n\n{table_of(said)}")
    except OSError as error:
        fail(f"{file}: cannot be written: {error.strerror}.")


def fail(*lines: str) -> NoReturn:
    """Say why on stderr, and end with 1."""
    for line in lines:
        click.echo(line, err=True)
    raise SystemExit(1)
