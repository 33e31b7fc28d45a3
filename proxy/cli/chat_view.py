"""Where a chat's answers go: a terminal, with markdown as it comes, or a pipe, which gets the text and nothing else."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment
from rich.spinner import Spinner
from rich.text import Text

from proxy.cli.chat_blocks import Blocks

REDRAWS = 12  # a second
TAIL = 100  # lines of an open block that are looked at
KEEP_OUT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # what a terminal would obey instead of showing


class View(Protocol):
    """One answer. Entered before it is asked for, left when it has ended."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def wait(self, what: str) -> None:
        """Nothing to read yet, and why."""

    def say(self, text: str) -> None:
        """Some more of the answer."""


class Plain:
    """The text on stdout, as it comes; a line end behind it, so that the next thing begins on a line of its own."""

    def __init__(self) -> None:
        self._last = "\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._last.endswith("\n"):
            self.say("\n")

    def wait(self, what: str) -> None:
        """A pipe waits in silence."""

    def say(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
        self._last = text


class Terminal:
    """Markdown on a terminal: finished blocks are printed for good, only the open one is drawn again.

    So work and scrolling do not grow with the answer, and what has scrolled up stays as it is. `connected` is asked at
    each redraw, on a thread of its own.
    """

    def __init__(self, console: Console, connected: Callable[[], bool]) -> None:
        self._console = console
        self._connected = connected
        self._away = Spinner("dots", Text("Reconnecting…", style="dim"))
        self._blocks = Blocks()
        self._waiting: Spinner | None = None  # until the answer begins
        self._tail = ""  # of the open block
        self._drawn: tuple[str, RenderableType] = ("", Text(""))  # and what it looks like
        self._left = ExitStack()  # what leaving undoes
        self._live = Live(get_renderable=self._renderable, console=console, refresh_per_second=REDRAWS, transient=True)

    def __enter__(self) -> Self:
        self._left.enter_context(unheard())
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._left:
            self._waiting, self._tail = None, ""
            self._live.stop()
            self._print(self._blocks.close())

    def wait(self, what: str) -> None:
        if not self._tail:
            self._waiting = Spinner("dots", Text(printable(what), style="dim"))

    def say(self, text: str) -> None:
        self._waiting = None
        for block in self._blocks.feed(printable(text)):
            self._tail = ""
            self._print(block)
        self._tail = self._blocks.tail(TAIL)

    def _print(self, block: str) -> None:
        if block.strip():
            self._console.print(Block(block), end="")
            self._console.print()

    def _renderable(self) -> RenderableType:
        """What is live now. Asked for at each redraw, from a thread of Live's."""
        if self._drawn[0] != self._tail:
            tail = self._tail
            self._drawn = (tail, Block(tail, most=max(1, self._console.height - 3)))
        if not self._connected():
            return Group(self._drawn[1], self._away) if self._tail else self._away
        return self._waiting or self._drawn[1]


class Block:
    """A piece of markdown without empty lines around it, and of one that is higher than the terminal its lower end.

    Links stand with their addresses: one that hides its own may lie.
    """

    def __init__(self, text: str, *, most: int | None = None) -> None:
        self._markdown = Markdown(text, code_theme="ansi_dark", hyperlinks=False)
        self._most = most  # lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._markdown, options.update(height=None), pad=False)
        filled = [number for number, line in enumerate(lines) if any(segment.text.strip() for segment in line)]
        if filled:
            shown = lines[filled[0] : filled[-1] + 1]
            for line in shown[-self._most :] if self._most else shown:
                yield from line
                yield Segment.line()


@contextmanager
def unheard() -> Iterator[None]:
    """The terminal does not show what is typed, such as ^C: it would stand in what is drawn again and again.

    What was typed is not lost: the next prompt reads and shows it.
    """
    if sys.platform == "win32":
        yield
        return
    import termios

    try:
        before = termios.tcgetattr(sys.stdout)
        local = before[3] & ~termios.ECHO
        termios.tcsetattr(sys.stdout, termios.TCSANOW, [*before[:3], local, *before[4:]])
    except (termios.error, OSError):  # no terminal after all, or one that went away
        yield
        return
    try:
        yield
    finally:
        with suppress(termios.error, OSError):
            termios.tcsetattr(sys.stdout, termios.TCSANOW, before)


def printable(text: str) -> str:
    """Without control characters: a model's answer may not steer the terminal."""
    return KEEP_OUT.sub("", text)
