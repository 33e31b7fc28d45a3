"""`streamlane router`: measure the learned router, set its threshold, score prompts, and ask it why."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy.cli.router_calibrate import calibrate
from proxy.cli.router_eval import evaluate
from proxy.cli.router_history import history
from proxy.cli.router_rules import rules
from proxy.cli.router_shared import SHARE, console, loaded_pair, one_sentence, opened, pair_options, print_json
from proxy.cli.shared import Group, config_file, without_keys

if TYPE_CHECKING:
    from proxy.learned.router import PairRouter

CHUNK = 1000  # prompts that are scored and printed together


@click.group(cls=Group)
def router() -> None:
    """The learned router: measure it, set its threshold, and ask it why.

    It scores a prompt with the probability that a strong model does better on it than a weak one.
    """


router.add_command(evaluate)
router.add_command(calibrate)
router.add_command(rules)
router.add_command(history)


@router.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True, dir_okay=False))
@pair_options
def score(file: Path, strong: str | None, weak: str | None, weights: Path | None) -> None:
    """Print the score of each prompt in FILE: JSON lines with a `prompt`; - is standard input.

    A score is the probability, 0 to 1, that the strong model does better on it than the weak one.
    """
    from itertools import islice

    with one_sentence():
        from proxy.learned.prompts import prompts

        pair = loaded_pair(weights, strong, weak)[1]
        with opened(file) as lines:
            asked = prompts(lines)
            while chunk := list(islice(asked, CHUNK)):
                sys.stdout.write("".join(f"{value:.8f}\n" for value in pair.scores(chunk)))


@router.command()
@click.argument("prompt")
@config_file
@click.option("--model", default="auto", show_default=True, help="The name that is asked for.")
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="A header that a rule looks at.")
@click.option("--user", default="anonymous", help="The principal, as the log has it.")
@pair_options
@click.option("--strong-share", type=SHARE, help="Only the score, for this part of calls to the strong model.")
@click.option("--threshold", type=SHARE, help="Only the score, and from which one on the strong model answers.")
@click.option("--json", "as_json", is_flag=True, help="Only the score, as JSON, for programs.")
def explain(
    *,
    prompt: str,
    config: Path | None,
    model: str,
    headers: tuple[str, ...],
    user: str,
    strong: str | None,
    weak: str | None,
    weights: Path | None,
    strong_share: float | None,
    threshold: float | None,
    as_json: bool,
) -> None:
    """Show which rule or score decides about PROMPT, who is asked and who is not, and why; - is standard input."""
    from backends.errors import BackendError
    from proxy.cli import router_way
    from proxy.errors import ProxyError
    from proxy.ports import StartError

    text = sys.stdin.read() if prompt == "-" else prompt
    options = without_keys(config)
    with one_sentence():
        alone = as_json or any(each is not None for each in (strong, weak, weights, strong_share, threshold))
        if not alone and (options.router.rules or options.router.strong or options.router.ladder):
            brought = dict(each.partition("=")[::2] for each in headers)
            try:
                choice = router_way.way(
                    options, model, text, {name.lower(): value for name, value in brought.items()}, user
                )
            except (ProxyError, BackendError, StartError) as error:
                raise click.ClickException(str(error)) from None
            for line in router_way.told(choice, model):
                click.echo(line)
            if choice.decision.scored is not None:
                click.echo()
                explain_score(router_way.scoring(options.router, choice), text)
            return
        pair = loaded_pair(weights, strong, weak)[1]
        share = 0.5 if strong_share is None else strong_share
        explain_score(pair, text, pair.threshold(share) if threshold is None else threshold, as_json=as_json)


def explain_score(pair: "PairRouter", prompt: str, threshold: float | None = None, *, as_json: bool = False) -> None:
    """Print the learned stage's part of an explanation: with a threshold, which of the pair it leads to."""
    from proxy.cli import router_view as view

    found = pair.explain(prompt)
    choice = pair.strong if threshold is not None and found.score >= threshold else pair.weak
    if as_json:
        told = {"score": found.score, "threshold": threshold, "choice": choice, "guarded": found.guarded}
        told |= {"unfamiliar": found.unfamiliar, "logit": found.logit, "bias": found.bias}
        print_json({**told, "contributions": [{"name": name, "value": value} for name, value in found.contributions]})
        return
    for line in view.decision(found, threshold, choice, pair):
        click.echo(line)
    click.echo()
    console().print(view.contributions(found.contributions, found.logit, found.bias))
