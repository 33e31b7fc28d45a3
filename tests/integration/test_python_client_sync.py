"""The Python client, synchronous: for programs without an event loop, with as many answers at once."""

import asyncio
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from backends.events import TextDelta
from backends.fake import FakeBackend
from streamlane_client import AsyncClient, Client, ConnectionLost, Refused
from tests.gateway import DONE, ROOT, answers, gateway, process
from tests.models import models_dir

FAKE = '[[backends]]\nname = "fake"\nkind = "fake"\ntext = "Hello wörld"\n'
PARIS = "What is the capital of France?"


async def test_an_answer_is_its_events_its_text_and_its_response() -> None:
    def use(url: str) -> None:
        with Client(url) as client:
            answer = client.create(model="fake", input="hi")
            events = list(answer)
            assert events[-1]["type"] == "response.completed"
            assert answer.text() == "Hello wörld"
            assert answer.response()["id"] == answer.id
            assert client.state == "open"
            assert "fake" in [model["id"] for model in client.models()]
        assert client.state == "closed"
        with pytest.raises(RuntimeError, match="Make another"):
            client.create(model="fake", input="hi")
        client.close()

    async with gateway(backends=[answers()]) as started:
        await asyncio.to_thread(use, started.base_url)


async def test_answers_run_at_once_in_one_thread_and_in_many() -> None:
    gate = asyncio.Event()
    backend = FakeBackend("fake", script=[[TextDelta("x")], gate, DONE])
    loop = asyncio.get_running_loop()

    def use(url: str) -> None:
        with Client(url) as client, ThreadPoolExecutor(8) as pool:
            mine = [client.create(model="fake", input="hi") for _ in range(8)]
            theirs = [pool.submit(lambda: client.create(model="fake", input="hi").text()) for _ in range(8)]
            for answer in mine:  # each has begun before any has ended
                while next(answer)["type"] != "response.output_text.delta":
                    pass
            loop.call_soon_threadsafe(gate.set)
            assert [answer.text() for answer in mine] == ["x"] * 8
            assert [future.result() for future in theirs] == ["x"] * 8

    async with gateway(backends=[backend]) as started:
        await asyncio.to_thread(use, started.base_url)


async def test_cancel_and_leaving_early_free_the_place_at_the_backend() -> None:
    backend = FakeBackend("fake", script=[[TextDelta("x")], asyncio.Event()], slots=1)

    def use(url: str) -> None:
        with Client(url) as client:
            for stop in ("cancel", "leave"):  # with one slot, the second is served only when the first has gone
                with client.create(model="fake", input="hi") as answer:
                    for event in answer:
                        if event["type"] == "response.output_text.delta":
                            if stop == "leave":
                                break
                            answer.cancel()
            assert list(answer) == []

    async with gateway(backends=[backend]) as started:
        await asyncio.to_thread(use, started.base_url)
        async with asyncio.timeout(10):
            while backend.open:
                backend.left.clear()
                await backend.left.wait()


async def test_refusals_and_missing_gateways_are_raised() -> None:
    def use(url: str) -> None:
        with Client(url) as client:
            with pytest.raises(Refused, match="does not exist"):
                list(client.create(model="nope", input="hi"))
            client.open()
            running = client.create(model="fake", input="hi")
            assert next(running)["type"] == "response.created"
        with pytest.raises(ConnectionLost, match="was closed"):
            list(running)

    def use_nothing(url: str) -> None:
        with Client(url) as client:
            for ask in (client.open, client.models, client.create(model="fake", input="hi").text):
                with pytest.raises(ConnectionLost, match="No gateway answers at"):
                    ask()

    backend = FakeBackend("fake", script=[[TextDelta("x")], asyncio.Event()])
    async with gateway("deadlines.drain = 0.05", [backend]) as started:
        await asyncio.to_thread(use, started.base_url)
    await asyncio.to_thread(use_nothing, started.base_url)


async def test_closing_does_not_wait_for_a_gateway_that_is_silent() -> None:
    async with gateway(backends=[answers()]) as started:
        client = Client(started.base_url)
        await asyncio.to_thread(client.open)
        began = time.monotonic()
        client.close()  # on the gateway's own loop, so that it cannot answer
        assert time.monotonic() - began < 8


async def test_any_thread_may_close_the_client_and_nobody_is_left_waiting() -> None:
    def use(url: str) -> None:
        client = Client(url)
        started = threading.Barrier(9)

        def ask() -> None:
            started.wait()
            with suppress(ConnectionLost, RuntimeError):  # closed: under an answer, or before the next one
                while client.create(model="fake", input="hi").text():
                    pass

        def close() -> None:
            started.wait()
            client.close()

        threads = [threading.Thread(target=each, daemon=True) for each in [ask] * 4 + [close] * 4]
        for thread in threads:
            thread.start()
        started.wait()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)

    async with gateway(backends=[answers()]) as started:
        for _ in range(10):
            await asyncio.to_thread(use, started.base_url)


async def test_a_client_may_be_closed_where_its_state_is_told() -> None:
    def use(url: str) -> None:
        client = Client(url, on_state=lambda state, _: client.close() if state == "open" else None)
        with pytest.raises(ConnectionLost, match="closed"):
            client.create(model="fake", input="hi").text()
        client.close()
        assert client.state == "closed"

    async with gateway(backends=[FakeBackend("fake", script=[asyncio.Event(), DONE])]) as started:
        await asyncio.to_thread(use, started.base_url)


async def test_a_program_that_forgets_to_close_ends_all_the_same() -> None:
    program = """
from streamlane_client import Client
client = Client()
print(client.create(model="fake", input="hi").text())
"""
    async with process(FAKE) as started:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            env={"PYTHONPATH": str(ROOT / "clients" / "python"), "STREAMLANE_BASE_URL": started.base_url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await child.communicate()
    assert (child.returncode, out.decode(), err.decode()) == (0, "Hello wörld\n", "")


@pytest.mark.model
async def test_the_real_model_answers_both_clients() -> None:
    model = models_dir() / "smollm2.gguf"

    def use(url: str) -> str:
        with Client(url) as client:
            return client.create(model="smollm2", input=PARIS, temperature=0, max_output_tokens=40).text()

    async with gateway(f'[[backends]]\nname = "local"\nkind = "llama_cpp"\nmodel = "{model}"') as started:
        async with AsyncClient(started.base_url) as client:
            answer = client.create(model="smollm2", input=PARIS, temperature=0, max_output_tokens=40)
            deltas = [event["delta"] async for event in answer if event["type"] == "response.output_text.delta"]
        assert len(deltas) > 1
        assert "Paris" in "".join(deltas)
        assert "Paris" in await asyncio.to_thread(use, started.base_url)
