"""`streamlane chat` as people run it: in a terminal (tmux is one), and in pipes."""

import asyncio
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from backends.errors import StreamBroken
from backends.events import TextDelta
from backends.fake import FakeBackend
from backends.request import text_of
from tests.gateway import DONE, ROOT, answers, client, gateway
from tests.models import models_dir

PATIENCE = 30.0  # seconds until something that should appear in a terminal is missed


def environment(base_url: str, **more: str) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("STREAMLANE_")}
    path = f"{ROOT}{os.pathsep}{ROOT / 'clients' / 'python'}"
    return {**kept, "PYTHONPATH": path, "TERM": "xterm", "STREAMLANE_BASE_URL": base_url, **more}


def waits(gate: asyncio.Event | None = None, **options: int) -> FakeBackend:
    """Says "Hello", and " world" once `gate` is open."""
    script = [[TextDelta("Hello")], gate or asyncio.Event(), [TextDelta(" world")], DONE]
    return FakeBackend("fake", script=script, **options)  # type: ignore[arg-type]


async def until_free(backend: FakeBackend) -> None:
    async with asyncio.timeout(PATIENCE):
        while backend.open:
            backend.left.clear()
            await backend.left.wait()


@dataclass(frozen=True)
class Ended:
    code: int | None
    out: str
    err: str


async def start(base_url: str, *arguments: str, **environ: str) -> asyncio.subprocess.Process:
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "proxy", "chat", *arguments]
    env = environment(base_url, **environ)
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=env, stdin=pipe, stdout=pipe, stderr=pipe)


async def run(base_url: str, *arguments: str, piped: str = "", **environ: str) -> Ended:
    child = await start(base_url, *arguments, **environ)
    out, err = await child.communicate(piped.encode())
    return Ended(child.returncode, out.decode(), err.decode())


class Screen:
    """A terminal of 80 by 24 with the chat in it. When that ends, its exit code is shown as `left with CODE`."""

    def __init__(self, socket: Path) -> None:
        self._tmux = ["tmux", "-S", str(socket), "-f", "/dev/null"]

    async def tmux(self, *words: str) -> str:
        child = await asyncio.create_subprocess_exec(*self._tmux, *words, stdout=subprocess.PIPE)
        out, _ = await child.communicate()
        return out.decode()

    async def open(self, base_url: str, *arguments: str) -> None:
        chat = shlex.join([sys.executable, "-m", "proxy", "chat", *arguments])
        command = f"cd {shlex.quote(str(ROOT))}; {chat}; echo left with $?; exec cat"
        # No pipe: the server that this starts would hold it open for ever.
        session = ["new-session", "-d", "-x", "80", "-y", "24", command]
        env = environment(base_url, LANG="C.UTF-8")
        child = await asyncio.create_subprocess_exec(*self._tmux, *session, env=env, stdout=subprocess.DEVNULL)
        assert await child.wait() == 0

    async def press(self, *keys: str) -> None:
        await self.tmux("send-keys", *keys)

    async def text(self) -> str:
        """All that was shown, also what has scrolled away."""
        return await self.tmux("capture-pane", "-p", "-J", "-S", "-")

    async def shows(self, *wanted: str) -> str:
        """Wait until all of it can be read. Gives everything that can."""
        text = ""
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    text = await self.text()
                    if all(each in text for each in wanted):
                        return text
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pytest.fail(f"{wanted} did not appear:\n{text}")


@asynccontextmanager
async def screen(folder: Path, base_url: str, *arguments: str) -> AsyncIterator[Screen]:
    shown = Screen(folder / "tmux")
    await shown.open(base_url, *arguments)
    try:
        yield shown
    finally:
        await shown.tmux("kill-server")


# In a terminal


@pytest.mark.needs("tmux")
async def test_a_question_is_typed_and_its_answer_comes_as_it_is_made(tmp_path: Path) -> None:
    gate = asyncio.Event()
    backend = waits(gate)
    async with gateway(backends=[backend]) as started, screen(tmp_path, started.base_url, "-s", "Be brief.") as shown:
        await shown.shows(f"fake at {started.base_url}", "> ")
        await shown.press("hi there", "Enter")
        assert "world" not in await shown.shows("Hello")
        gate.set()
        await shown.shows("Hello world", "s to first token", "2 tokens")
        await shown.press("and now?", "Enter")
        text = await shown.shows("> and now?", "2 tokens")
        while text.count("2 tokens") < 2:
            text = await shown.shows("2 tokens")
        await shown.press("C-d")
        await shown.shows("left with 0")
    said = [(message.role, text_of(message.parts)) for message in backend.requests[1].messages]
    assert said == [("system", "Be brief."), ("user", "hi there"), ("assistant", "Hello world"), ("user", "and now?")]


@pytest.mark.needs("tmux")
async def test_ctrl_c_stops_the_answer_and_keeps_it_and_the_next_one_leaves(tmp_path: Path) -> None:
    backend = waits(slots=1)
    async with gateway(backends=[backend]) as started, screen(tmp_path, started.base_url) as shown:
        await shown.shows("> ")
        await shown.press("hi", "Enter")
        await shown.shows("Hello")
        await shown.press("C-c")
        await shown.shows("Hello", "stopped")
        await until_free(backend)
        await shown.press("more", "Enter")
        await shown.shows("> more")
        async with asyncio.timeout(PATIENCE):
            while len(backend.requests) < 2:
                await asyncio.sleep(0.02)
        assert [text_of(message.parts) for message in backend.requests[1].messages] == ["hi", "Hello", "more"]
        await shown.press("C-c")
        await until_free(backend)
        text = await shown.shows("stopped")
        while text.count("stopped") < 2:
            text = await shown.shows("stopped")
        await shown.press("C-c")
        await shown.shows("left with 0")


@pytest.mark.needs("tmux")
async def test_a_stopped_answer_stands_once_and_its_tokens_are_a_guess(tmp_path: Path) -> None:
    said = "\n".join(f"- point {number} is here" for number in range(6))
    backend = FakeBackend("fake", script=[[TextDelta(said)], asyncio.Event()])
    async with gateway(backends=[backend]) as started, screen(tmp_path, started.base_url) as shown:
        await shown.shows("> ")
        await shown.press("hi", "Enter")
        await shown.shows("point 5")
        await shown.press("t", "y", "p", "e", "d", "C-c")
        text = await shown.shows("stopped", "> ")
        assert "about 1 token " in text
        assert [text.count(f"point {number} is here") for number in range(6)] == [1] * 6, text
        assert "^C" not in text
        await shown.press("ahead", "Enter")
        await shown.shows("> ahead")


@pytest.mark.needs("tmux")
async def test_a_second_ctrl_c_leaves_although_the_gateway_does_not_stop(tmp_path: Path) -> None:
    heard = asyncio.Event()

    async def deaf(socket: ServerConnection) -> None:
        async for frame in socket:
            if "response.cancel" in str(frame):
                heard.set()

    async with serve(deaf, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with screen(tmp_path, url, "-m", "some") as shown:
            await shown.shows("> ")
            await shown.press("hi", "Enter")
            await shown.shows("Waiting for some")
            await shown.press("C-c")
            async with asyncio.timeout(PATIENCE):
                await heard.wait()
            await shown.press("C-c")
            await shown.shows("left with 0")


@pytest.mark.needs("tmux")
async def test_who_waits_is_told_the_place_in_the_queue(tmp_path: Path) -> None:
    backend = waits(slots=1)
    async with (
        gateway(backends=[backend]) as started,
        client(started) as other,
        screen(tmp_path, started.base_url) as shown,
    ):
        await other.create()
        await other.until("response.output_text.delta")
        await shown.shows("> ")
        await shown.press("hi", "Enter")
        await shown.shows("ahead of you at fake")
        await other.connection.close()
        await shown.shows("Hello")


@pytest.mark.needs("tmux")
async def test_markdown_is_drawn_and_an_answer_cannot_steer_the_terminal(tmp_path: Path) -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J"
    text = f"# Title\n\nSome **bold** [words](http://there){hostile}.\n\n```python\nx = 1\n```\n\n- one\n- two\n"
    backend = FakeBackend("fake", script=[*([TextDelta(letter)] for letter in text), DONE])
    async with gateway(backends=[backend]) as started, screen(tmp_path, started.base_url, "show me") as shown:
        page = await shown.shows("left with 0")
        title = await shown.tmux("display-message", "-p", "#{pane_title}")
    assert "**" not in page
    assert "```" not in page
    assert "Some bold words (http://there)]0;owned[2J." in page
    for line in ("x = 1", "• one", "• two", "Title"):
        assert page.count(line) == 1, page
    assert "owned" not in title


@pytest.mark.needs("tmux")
async def test_commands(tmp_path: Path) -> None:
    backend = answers(models=("fake", "other"))
    async with gateway(backends=[backend]) as started, screen(tmp_path, started.base_url) as shown:
        await shown.shows("> ")
        for typed, wanted in (
            ("/help", "/quit"),
            ("/model", "* fake"),
            ("/model other", "Now talking to other."),
            ("/good", "There is no answer yet."),
            ("hi", "2 tokens"),
            ("/bad", "There is no such answer to rate."),
            ("/new", "A new conversation."),
            ("/what", "There is no /what. /help lists what there is."),
            ("/model nope", "There is no model nope. Choose with /model NAME: fake, other"),
            ("/model fake/fake", "Now talking to fake/fake."),
        ):
            await shown.press(typed, "Enter")
            await shown.shows(wanted)
        await shown.press("/quit", "Enter")
        await shown.shows("left with 0")
    assert [request.model for request in backend.requests] == ["other"]


@pytest.mark.needs("tmux")
async def test_whatever_is_free_can_be_chosen(tmp_path: Path) -> None:
    account = '[[accounts]]\nname = "me"\nprovider = "groq"\napi_key = "gsk_0123456789abcdef0123"\n'
    async with gateway(account) as started, screen(tmp_path, started.base_url) as shown:
        await shown.shows("> ")
        await shown.press("/model free/auto:best", "Enter")
        await shown.shows("Now talking to free/auto:best.")


# In a pipe


async def test_a_pipe_gets_the_text_and_nothing_else() -> None:
    backend = answers()
    async with gateway(backends=[backend]) as started:
        assert await run(started.base_url, "hi", "there", FORCE_COLOR="1") == Ended(0, "Hello wörld\n", "")
        assert await run(started.base_url, piped="from a pipe\n") == Ended(0, "Hello wörld\n", "")
        ended = await run(started.base_url, "-s", "Be brief.", "-m", "fake", "about this:", piped="some text\n")
        assert ended == Ended(0, "Hello wörld\n", "")
    asked = [[text_of(message.parts) for message in request.messages] for request in backend.requests]
    assert asked == [["hi there"], ["from a pipe"], ["Be brief.", "about this:\n\nsome text"]]


async def test_temperature_goes_with_the_question_and_zero_is_one() -> None:
    backend = answers()
    async with gateway(backends=[backend]) as started:
        assert (await run(started.base_url, "--temperature", "0", "hi")).code == 0
        assert (await run(started.base_url, "hi")).code == 0
        refused = await run(started.base_url, "--temperature", "3", "hi")
    assert [request.sampling.temperature for request in backend.requests] == [0, None]
    assert refused.code == 2
    assert "3.0 is not in the range 0<=x<=2" in refused.err


async def test_what_went_wrong_goes_to_stderr_with_the_next_step() -> None:
    broken = FakeBackend("broken", models=["broken"], script=[[TextDelta("so far")], StreamBroken()])
    async with gateway(backends=[answers(), broken]) as started:
        url = started.base_url
        ended = await run(url, "-m", "nope", "hi")
        assert ended == Ended(1, "", "There is no model nope. Choose with -m NAME: fake, broken\n")
        ended = await run(url, "-m", "broken", "hi")
        assert (ended.code, ended.out) == (1, "so far\n")
        assert len(ended.err.splitlines()) == 1
    ended = await run(url, "hi")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"No gateway answers at {url}. Start one: streamlane serve\n")
    assert "--base-url" in ended.err
    assert "$STREAMLANE_BASE_URL" in ended.err
    ended = await run(url)
    assert (ended.code, ended.out) == (2, "")
    assert "There is nothing to ask." in ended.err


async def test_ctrl_c_in_a_pipe_keeps_what_came_and_stops_the_answer() -> None:
    backend = waits(slots=1)
    async with gateway(backends=[backend]) as started:
        child = await start(started.base_url, "hi")
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.close()
        assert await child.stdout.read(5) == b"Hello"
        child.send_signal(signal.SIGINT)
        out, err = await child.communicate()
        assert (child.returncode, out, err) == (130, b"\n", b"")
        await until_free(backend)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_terminal_that_is_closed_stops_the_answer(number: signal.Signals) -> None:
    backend = waits()
    async with gateway(backends=[backend]) as started:
        child = await start(started.base_url, "hi")
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.close()
        assert await child.stdout.read(5) == b"Hello"
        child.send_signal(number)
        assert await child.wait() == 128 + number
        await until_free(backend)


async def test_a_reader_that_leaves_stops_the_answer() -> None:
    gate = asyncio.Event()
    backend = FakeBackend("fake", script=[[TextDelta("Hello")], gate, *[[TextDelta("x" * 1000)]] * 500, DONE])
    async with gateway(backends=[backend]) as started:
        reader, writer = os.pipe()
        command = [sys.executable, "-m", "proxy", "chat", "hi"]
        child = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env=environment(started.base_url),
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=subprocess.PIPE,
        )
        os.close(writer)
        assert await asyncio.to_thread(os.read, reader, 5) == b"Hello"
        os.close(reader)
        gate.set()
        _, err = await child.communicate()
        assert (child.returncode, err) == (1, b"")


# The real model


@pytest.mark.model
@pytest.mark.needs("tmux")
async def test_the_real_model_talks_in_a_pipe_and_in_a_terminal(tmp_path: Path) -> None:
    text = f"""
[[backends]]
name = "local"
kind = "llama_cpp"
model = "{models_dir() / "smollm2.gguf"}"
[models.sure]
targets = ["local/smollm2"]
temperature = 0
max_output_tokens = 40
"""
    async with gateway(text) as started:
        ended = await run(started.base_url, "-m", "sure", "What is the capital of France?")
        assert (ended.code, ended.err.replace("The answer ended at the token limit.\n", "")) == (0, "")
        assert "Paris" in ended.out
        async with screen(tmp_path, started.base_url, "-m", "sure") as shown:
            await shown.shows("> ")
            await shown.press("What is the capital of France?", "Enter")
            assert "Paris" in await shown.shows("s to first token", "tok/s")
