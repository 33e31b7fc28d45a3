"""The batched engine: xllamacpp, which carries llama.cpp's own server with continuous batching."""

import secrets
import shutil
import socket
import tempfile
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import xllamacpp

from backends import json
from backends.errors import BackendError, InvalidRequest, ServerFailed
from backends.llama_cpp.engine import PROMPT_BATCH, Put, Setup, could_not_load

BEGINNING = "beginning"  # the file that holds it, in the engine's folder
LIKELY = {True: "top_logprobs", False: "logprobs"}  # the field that asks for log probabilities: chat, raw
SILENT = -1  # llama.cpp logs at levels 0 and above, to stderr


def load(setup: Setup) -> "XLlamaCpp":
    """Load the model; blocks, and holds the GIL while it does. Raises EngineUnavailable."""
    # The server inside always opens a listener: give it a socket that only this user can reach, and a key nobody knows.
    folder = Path(tempfile.mkdtemp(prefix="streamlane-"))
    params = xllamacpp.CommonParams()
    address, key = str(folder / "engine.sock"), secrets.token_hex(16)
    params.hostnames, params.api_keys = [address], [key]
    params.slot_save_path = f"{folder}/"
    params.n_threads_http = 1
    params.ui = params.endpoint_slots = False
    params.verbosity = SILENT
    params.warmup = False  # share_beginning runs the model once, and to better use
    # Costs the answers nothing. Only the last token's vector can be had of a prompt that is read in batches.
    params.embedding = setup.embeds
    if setup.embeds:
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_LAST
    params.model.path = str(setup.model)
    params.n_parallel = setup.slots
    params.n_ctx = setup.slots * setup.context
    params.n_batch = params.n_ubatch = PROMPT_BATCH
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = setup.threads
    # Prompts that left their slot would be kept in up to 8 GiB of memory.
    params.cache_ram_mib = 0
    params.cache_idle_slots = False
    try:
        server = xllamacpp.Server(params)
    except RuntimeError:
        shutil.rmtree(folder, ignore_errors=True)
        raise could_not_load(setup, "xllamacpp") from None
    share_beginning(server, address, key, setup.slots)
    with closing(EngineSocket(address, key)) as engine:
        tools = json.loads(engine.ask("GET", "/props"))["chat_template_caps"]["supports_tools"]
    return XLlamaCpp(server, folder, setup.slots, tools=tools, listener=(address, key))


def share_beginning(server: Any, address: str, key: str, slots: int) -> None:
    """Read what the chat template puts before every question once, and copy it into every slot.

    Otherwise the first question in each slot waits for that too: of eight at once on one thread, the last one's first
    token came 3.3 s after the first one's, and so it comes after 1.7 s.
    """
    hello = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1, "id_slot": 0}
    with suppress(ValueError, RuntimeError, OSError, HTTPException):  # a model that cannot do this answers all the same
        server.handle_chat_completions(json.dumps(hello), lambda _: False)
        with closing(EngineSocket(address, key)) as engine:
            engine.ask("POST", "/slots/0?action=save", {"filename": BEGINNING})
            for slot in range(1, slots):
                engine.ask("POST", f"/slots/{slot}?action=restore", {"filename": BEGINNING})


class EngineSocket(HTTPConnection):
    """llama.cpp's own listener, for the few things that its binding has no call for."""

    def __init__(self, address: str, key: str) -> None:
        super().__init__("engine", timeout=5)
        self._address, self._key = address, key

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._address)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        """The body of its answer, which may be an error's."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
        self.request(method, path, None if body is None else json.dumps(body), headers)
        return self.getresponse().read()


def refused(body: dict[str, Any], why: str) -> BackendError:
    """Which field was wrong, by llama.cpp's words (std::invalid_argument): a schema, or messages in this order."""
    if "schema" not in why.lower():
        return InvalidRequest(400, "messages" if "messages" in body else "prompt")
    return InvalidRequest(400, "text.format" if "response_format" in body else "tools")


class XLlamaCpp:
    """One loaded model."""

    def __init__(self, server: Any, folder: Path, slots: int, *, tools: bool, listener: tuple[str, str]) -> None:
        self._server, self._folder, self.slots, self.tools = server, folder, slots, tools
        self._listener = listener

    def generate(self, body: dict[str, Any], put: Put) -> None:
        """See Engine."""
        # A seed asks for the same answer again, but a prompt half taken from the slot's cache is rounded otherwise.
        own: dict[str, Any] = {"return_progress": True, "cache_prompt": "seed" not in body}
        answer = self._server.handle_chat_completions if "messages" in body else self._server.handle_completions
        if (likely := LIKELY["messages" in body]) in body:
            own[likely] = max(1, body[likely])  # to 0 it gives not even the chosen token's
        try:
            answer(json.dumps(body | own), put)
        except ValueError as error:
            raise refused(body, str(error)) from None
        except RuntimeError:
            raise ServerFailed from None

    def embed(self, body: dict[str, Any]) -> bytes:
        """See Engine."""
        try:
            answer: bytes = self._server.handle_embeddings(json.dumps(body))
        except ValueError:
            raise InvalidRequest(400, "input") from None
        except RuntimeError:
            raise ServerFailed from None
        return answer

    def count(self, body: dict[str, Any]) -> int:
        """See Engine."""
        try:
            with closing(EngineSocket(*self._listener)) as engine:
                if "messages" in body:
                    answer = json.loads(engine.ask("POST", "/v1/chat/completions/input_tokens", body))
                    return int(answer["input_tokens"])
                asked = {"content": body["prompt"], "add_special": True, "parse_special": True}
                return len(json.loads(engine.ask("POST", "/tokenize", asked))["tokens"])
        except KeyError:
            raise InvalidRequest(400, "messages") from None
        except (ValueError, OSError, HTTPException):
            raise ServerFailed from None

    def close(self) -> None:
        """See Engine."""
        self._server = None
        shutil.rmtree(self._folder, ignore_errors=True)
