"""What the backend asks of an engine: load one model, then answer in the caller's thread until told to stop."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from backends.errors import EngineUnavailable

PROMPT_BATCH = 32  # tokens; a cancel is heard between batches: 0.4 s at most on a slow machine, where 512 took 3.3 s

Put: TypeAlias = Callable[[bytes], bool]
"""Takes one chunk of a completion as JSON, in the engine's thread; true means that nobody wants more."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What to load. `slots` requests are wanted at once, each with `context` tokens for prompt and answer.

    `embeds` allows vectors: those of the last token, which for a model that was trained for others would be wrong.
    """

    model: Path
    slots: int
    context: int
    threads: int
    embeds: bool = True


class Engine(Protocol):
    """A loaded model. An engine's module has `load(setup) -> Engine`, which blocks, and raises EngineUnavailable.

    `slots` is how many `generate` calls it takes at once: what was wanted, or fewer. `tools` says whether the model's
    chat template has a place for tools, and the engine reads calls from its answers. Bodies are those of the
    compatible servers' requests.
    """

    slots: int
    tools: bool

    def generate(self, body: dict[str, Any], put: Put) -> None:
        """Answer one chat completion, or a raw one if `body` has a prompt; blocks until the answer is complete or
        `put` has returned true.

        While a prompt is read, `put` is called at least once per batch of it. Raises BackendError.
        """

    def embed(self, body: dict[str, Any]) -> bytes:
        """The answer to a request for embeddings, or to a wrong one an error; blocks. Raises BackendError."""

    def count(self, body: dict[str, Any]) -> int:
        """Tokens of the prompt of a completion; blocks. Raises BackendError."""

    def close(self) -> None:
        """Let go of the model. No other call may be running."""


def could_not_load(setup: Setup, package: str) -> EngineUnavailable:
    """What to say when llama.cpp, which `package` carries, refuses the model or the memory for it."""
    return EngineUnavailable(
        f"llama.cpp could not load '{setup.model}' for {setup.slots} x {setup.context} tokens. Lower `parallel` or "
        f"`context` when memory is short; else take another model, or a newer {package} that knows this one."
    )
