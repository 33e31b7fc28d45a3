"""The batched engine: xllamacpp, which carries llama.cpp's own server with continuous batching."""

import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Any

import xllamacpp

from backends import json
from backends.errors import EngineUnavailable, InvalidRequest, ServerFailed
from backends.llama_cpp.engine import Put, Setup

PROMPT_BATCH = 32  # tokens; a cancel is heard between batches: 0.4 s at most on a slow machine, where 512 took 3.3 s
SILENT = -1  # llama.cpp logs at levels 0 and above, to stderr


def load(setup: Setup) -> "XLlamaCpp":
    """Load the model; blocks, and holds the GIL while it does. Raises EngineUnavailable."""
    # The server inside always opens a listener: give it a socket that only this user can reach, and a key nobody knows.
    folder = Path(tempfile.mkdtemp(prefix="streamlane-"))
    params = xllamacpp.CommonParams()
    params.hostnames = [str(folder / "engine.sock")]
    params.api_keys = [secrets.token_hex(16)]
    params.n_threads_http = 1
    params.ui = params.endpoint_slots = False
    params.verbosity = SILENT
    params.model.path = str(setup.model)
    params.n_parallel = setup.slots
    params.n_ctx = setup.slots * setup.context
    params.n_batch = params.n_ubatch = PROMPT_BATCH
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = setup.threads
    # Prompts that left their slot would be kept in up to 8 GiB of memory.
    params.cache_ram_mib = 0
    params.cache_idle_slots = False
    try:
        return XLlamaCpp(xllamacpp.Server(params), folder)
    except RuntimeError:
        shutil.rmtree(folder, ignore_errors=True)
        raise EngineUnavailable(
            f"llama.cpp could not load '{setup.model}' for {setup.slots} x {setup.context} tokens. Lower `parallel` or "
            "`context` when memory is short; else take another model, or a newer xllamacpp that knows this one."
        ) from None


class XLlamaCpp:
    """One loaded model."""

    def __init__(self, server: Any, folder: Path) -> None:
        self._server, self._folder = server, folder

    def generate(self, body: dict[str, Any], put: Put) -> None:
        """See Engine."""
        # A seed asks for the same answer again, but a prompt half taken from the slot's cache is rounded otherwise.
        own = {"return_progress": True, "cache_prompt": "seed" not in body}
        try:
            self._server.handle_chat_completions(json.dumps(body | own), put)
        except ValueError:  # std::invalid_argument: the model's chat template refuses these messages
            raise InvalidRequest(400, "messages") from None
        except RuntimeError:
            raise ServerFailed from None

    def close(self) -> None:
        """See Engine."""
        self._server = None
        shutil.rmtree(self._folder, ignore_errors=True)
