"""`streamlane doctor`: what is found, what is missing, what to do."""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy.cli.shared import config_file

if TYPE_CHECKING:
    from proxy.doctor.finding import Finding

COLOURS = {"ok": "green", "note": "yellow", "fix": "red"}
NARROWEST = 60  # columns; below, lines are the terminal's to break
ABOUT = 18  # columns for what a finding is about


@click.command()
@config_file
@click.option("--port", type=int, help="The gateway's TCP port, when it is served with --port.")
@click.option("--ops-port", type=int, help="Its port for health and metrics, when it is served with --ops-port.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def doctor(config: Path | None, port: int | None, ops_port: int | None, as_json: bool) -> None:
    """Look at everything that Streamlane needs: what is found, what is missing, what to do.

    Changes nothing. The exit code is 0 when nothing must be fixed, else 1.
    """
    import asyncio

    import structlog

    from proxy.doctor.examine import examine

    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # a finding says what a line of the log would
    given = {"server.port": ("--port", port), "ops.port": ("--ops-port", ops_port)}
    flags = {path: (flag, str(value)) for path, (flag, value) in given.items() if value is not None}
    findings = asyncio.run(examine(config, os.environ, Path.cwd(), flags=flags))
    to_fix = sum(finding.state == "fix" for finding in findings)
    if as_json:
        import msgspec

        body = msgspec.json.encode({"ok": not to_fix, "findings": findings})
        click.echo(msgspec.json.format(body, indent=2))
    else:
        # Lines that are not for a terminal stay whole, so that they can be searched.
        width = max(NARROWEST, shutil.get_terminal_size().columns - 1) if sys.stdout.isatty() else None
        for finding in findings:
            click.echo("\n".join(lines(finding, width)))
        click.echo(f"\n{summary(findings, to_fix)}")
    if to_fix:
        raise SystemExit(1)


def lines(finding: "Finding", width: int | None) -> Iterator[str]:
    """One finding: its mark, what it is about, what was found; below it what to do."""
    mark = click.style(f"{finding.state:<6}", fg=COLOURS[finding.state], bold=True)
    indent = " " * (6 + ABOUT)
    about = f"{finding.about:<{ABOUT - 2}}  "
    first, *more = wrapped(finding.text, width)
    yield f"{mark}{about}{first}"
    for line in [*more, *(wrapped(f"→ {finding.step}", width) if finding.step else [])]:
        yield f"{indent}{line}"


def wrapped(text: str, width: int | None) -> list[str]:
    """`text` in lines that fit behind the mark. Paths and URLs stay whole."""
    if width is None:
        return [text]
    return textwrap.wrap(text, width - 6 - ABOUT, break_long_words=False, break_on_hyphens=False) or [""]


def summary(findings: "Sequence[Finding]", to_fix: int) -> str:
    """The last line."""
    if to_fix:
        return f"{to_fix} thing{'s' if to_fix > 1 else ''} to fix."
    notes = any(finding.state == "note" for finding in findings)
    return f"Nothing must be fixed{'; the notes are worth a look' if notes else ''}."
