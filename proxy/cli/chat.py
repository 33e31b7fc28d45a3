"""`streamlane chat`: talk to a model in the terminal, or ask one question and pipe the answer on."""

import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

if TYPE_CHECKING:
    from streamlane_client import Client, Model

HELP = """\
/model         show the models        /model NAME    talk to another one
/good          the last answer was    /bad [MODEL]   it was not (and MODEL would have been better)
/new           forget what was said   /quit          leave (so do Ctrl-D, and Ctrl-C at this prompt)
Ctrl-C stops an answer."""

INTERRUPTED = 130  # 128 + SIGINT, as shells count


@click.command()
@click.argument("prompt", nargs=-1)
@click.option("-m", "--model", metavar="NAME", help="Whom to ask. Otherwise the first model that the gateway lists.")
@click.option("-s", "--system", metavar="TEXT", help="The system message.")
@click.option("--temperature", type=click.FloatRange(0, 2), metavar="0-2", help="0 is the likeliest answer each time.")
@click.option(
    "--base-url",
    metavar="URL",
    envvar="STREAMLANE_BASE_URL",
    help="The gateway. Otherwise $STREAMLANE_BASE_URL, then this machine's.",
)
@click.option("--api-key", metavar="KEY", help="Otherwise $STREAMLANE_API_KEY, which no list of processes shows.")
def chat(
    *,
    prompt: tuple[str, ...],
    model: str | None,
    system: str | None,
    temperature: float | None,
    base_url: str | None,
    api_key: str | None,
) -> None:
    """Talk to a model. With a PROMPT, or something piped in, ask once: the answer goes to stdout.

    \b
    streamlane chat
    streamlane chat "Why is the sky blue?"
    git diff | streamlane chat "Write a commit message." | tee message
    """
    try:
        question = question_of(prompt)
        from streamlane_client import Client

        try:
            client = Client(with_version(base_url), api_key)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        # The whole conversation goes with each question, so the gateway need not store any of it.
        given = {"store": False, "instructions": system or None, "temperature": temperature}
        fields = {name: value for name, value in given.items() if value is not None}
        for name in ("SIGTERM", "SIGHUP"):  # a closed terminal too: the gateway would wait for us
            if hasattr(signal, name):  # Windows has no SIGHUP
                signal.signal(getattr(signal, name), leave)
        with client:
            code = converse(client, model, fields, question)
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


def with_version(base_url: str | None) -> str | None:
    """An address without a path is meant with the gateway's."""
    if base_url and urlsplit(base_url).path in ("", "/"):
        return f"{base_url.rstrip('/')}/v1"
    return base_url


def leave(number: int, frame: FrameType | None) -> None:
    """End at a signal, and stop the answer."""
    sys.exit(128 + number)


def question_of(prompt: tuple[str, ...]) -> str:
    """What is asked on the command line and through a pipe; "" to talk. Raises UsageError."""
    question = " ".join(prompt)
    if not sys.stdin.isatty():
        piped = sys.stdin.buffer.read().decode(errors="replace").strip()
        question = "\n\n".join(part for part in (question, piped) if part)
        if not question:
            raise click.UsageError('There is nothing to ask. Give a question: streamlane chat "Why is the sky blue?"')
    elif not question and not sys.stdout.isatty():
        raise click.UsageError(
            'To write to a file or a pipe, give the question: streamlane chat "Why is the sky blue?"'
        )
    return clean(question)


def converse(client: "Client", model: str | None, fields: Mapping[str, Any], question: str) -> int:
    """Ask the question, or talk when there is none. `fields` go with every request. Gives the exit code."""
    from proxy.cli.chat_trouble import trouble
    from streamlane_client import StreamlaneError

    try:
        client.open()
        named = model or first_model(client)
        return once(client, named, fields, question) if question else Talk(client, named, fields).run()
    except StreamlaneError as error:
        click.echo(trouble(error, client), err=True)
        return 1


def first_model(client: "Client") -> str:
    """The gateway's own order: what its configuration names first."""
    listed = client.models()
    if not listed:
        click.echo(f"The gateway at {client.base_url} has no model yet. Its log says which backends answer.", err=True)
        sys.exit(1)
    return listed[0]["id"]


def once(client: "Client", model: str, fields: Mapping[str, Any], question: str) -> int:
    """One question, one answer. Gives the exit code."""
    from rich.console import Console

    from proxy.cli.chat_trouble import trouble
    from proxy.cli.chat_turn import ask
    from proxy.cli.chat_view import Plain, Terminal

    console = Console(highlight=False)
    terminal = sys.stdout.isatty()
    view = Terminal(console, lambda: client.state == "open") if terminal else Plain()
    turn = ask(client, model, fields, [message("user", question)], view)
    if turn.error is not None:
        click.echo(trouble(turn.error, client, model, "-m NAME"), err=True)
        return 1
    if terminal:
        console.print(turn.pace, style="dim", markup=False)
    elif turn.cut == "max_output_tokens":
        click.echo("The answer ended at the token limit.", err=True)
    return INTERRUPTED if turn.stopped else 0


class Talk:
    """A conversation in the terminal. The whole of it goes with each question."""

    def __init__(self, client: "Client", model: str, fields: Mapping[str, Any]) -> None:
        from rich.console import Console

        self._client, self._model, self._fields = client, model, fields
        self._messages: list[dict[str, str]] = []
        self._answered: str | None = None  # the id of the last response
        self._console = Console(highlight=False)

    def run(self) -> int:
        """Until the person leaves. Gives the exit code."""
        with suppress(ImportError):  # Windows has none
            import readline  # noqa: F401  # input() edits and remembers lines with it
        self._note(f"{self._model} at {self._client.base_url}. /help lists what you can do. Ctrl-C stops an answer.")
        try:
            while True:
                line = input("> ").strip()
                self._console.print()
                command, _, rest = line.partition(" ")
                if command == "/quit":
                    return 0
                if command.startswith("/") and "/" not in command[1:]:
                    self._command(command, rest.strip())
                elif line:
                    self._ask(line)
        except (EOFError, KeyboardInterrupt):
            self._console.print()
            return 0

    def _ask(self, line: str) -> None:
        from proxy.cli.chat_trouble import trouble
        from proxy.cli.chat_turn import ask
        from proxy.cli.chat_view import Terminal

        asked = [*self._messages, message("user", clean(line))]
        view = Terminal(self._console, lambda: self._client.state == "open")
        turn = ask(self._client, self._model, self._fields, asked, view)
        self._answered = turn.response_id
        if turn.text:  # also when it was stopped, or broke: it was read
            self._messages = [*asked, message("assistant", turn.text)]
        if turn.error is not None:
            words = trouble(turn.error, self._client, self._model, "/model NAME")
            self._warn(words)
        else:
            self._note(turn.pace)
        self._console.print()

    def _command(self, command: str, rest: str) -> None:
        if command == "/help":
            self._note(HELP)
        elif command == "/new":
            self._messages = []
            self._note("A new conversation.")
        elif command in ("/good", "/bad"):
            self._rate(good=command == "/good", better=rest or None)
        elif command == "/model" and rest:
            self._choose_model(rest)
        elif command == "/model":
            self._list_models()
        else:
            self._note(f"There is no {command}. /help lists what there is.")
        self._console.print()

    def _rate(self, *, good: bool, better: str | None) -> None:
        from proxy.cli.chat_trouble import trouble
        from streamlane_client import StreamlaneError

        if self._answered is None:
            self._note("There is no answer yet.")
            return
        try:
            if good:
                self._client.rate(self._answered, "up")
            else:
                self._client.rate(self._answered, "down", preferred_model=better)
        except StreamlaneError as error:
            self._warn(trouble(error, self._client, better or "", "/bad MODEL"))
        else:
            self._note("Thank you. The gateway's router can learn from it.")

    def _choose_model(self, name: str) -> None:
        from proxy.cli.chat_trouble import no_such_model

        models = self._models()
        if models is None:
            return
        known = {each for listed in models for each in (listed["id"], f"{listed['owned_by']}/{listed['id']}")}
        if name in known or (name.startswith("free/") and "free/auto" in known):  # not all of free/… are listed
            self._model = name
            self._note(f"Now talking to {name}.")
        else:
            self._warn(no_such_model(name, [listed["id"] for listed in models], "/model NAME"))

    def _list_models(self) -> None:
        models = self._models()
        if models is not None:
            names = [listed["id"] for listed in models]
            self._note("\n".join(f"{'*' if name == self._model else ' '} {name}" for name in names))

    def _models(self) -> list["Model"] | None:
        """What can be asked; None when the gateway does not say, and then the person was told."""
        from proxy.cli.chat_trouble import trouble
        from streamlane_client import StreamlaneError

        try:
            return self._client.models()
        except StreamlaneError as error:
            self._warn(trouble(error, self._client))
            return None

    def _warn(self, text: str) -> None:
        self._console.print(text, style="red", markup=False)

    def _note(self, text: str) -> None:
        from proxy.cli.chat_view import printable

        self._console.print(printable(text), style="dim", markup=False)


def message(role: str, text: str) -> dict[str, str]:
    """One item of the conversation."""
    return {"role": role, "content": text}


def clean(text: str) -> str:
    """What was typed, without the bytes that are not UTF-8."""
    return text.encode(errors="replace").decode()
