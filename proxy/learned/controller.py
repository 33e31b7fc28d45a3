"""Chooses between two models in any Python program, as RouteLLM's Controller does, and hands the call to its client.

controller = Controller("gpt-5", "llama-3.1-8b", client=OpenAI())
controller.route("Prove that there are infinitely many primes.", strong_share=0.3)
controller.chat.completions.create(model="router-streamlane-0.4", messages=[...])
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from proxy.learned.router import LearnedRouter, PairRouter

NAME = "streamlane"  # of the router, in router-<name>-<threshold>
SPELLING = f"router-{NAME}-<threshold>, such as router-{NAME}-0.4"


class RoutingError(ValueError):
    """What was asked for is no router, no threshold, or no question."""


class Controller:
    """Sends each question to the strong model when its score reaches a threshold, else to the weak one.

    The names are those that the client knows. Where the weights know both models too, the score is theirs; otherwise it
    is that of the pair which the weights mean when none is named. One Controller may be used by many threads.
    """

    def __init__(
        self, strong_model: str, weak_model: str, client: Any = None, *, weights: Path | str | None = None
    ) -> None:
        """`client` is an OpenAI or AsyncOpenAI client, or None where only route() is used; `weights` a file of them.

        Raises WeightsUnusable.
        """
        self.strong_model = strong_model
        self.weak_model = weak_model
        router = LearnedRouter.load(None if weights is None else Path(weights))
        known = strong_model in router.models and weak_model in router.models
        self.router: PairRouter = router.pair(strong_model, weak_model) if known else router.pair(None, None)
        self.chat = Chat(self, client)

    def route(self, prompt: str, *, threshold: float | None = None, strong_share: float | None = None) -> str:
        """The name of the model that should answer.

        Give either a threshold for the score, or a share of 0 to 1 of calls for the strong model, on prompts like those
        of the calibration. Raises RoutingError.
        """
        if (threshold is None) == (strong_share is None):
            raise RoutingError("Give either threshold or strong_share.")
        for name, value in (("threshold", threshold), ("strong_share", strong_share)):
            if value is not None and not 0 <= value <= 1:
                raise RoutingError(f"{name} must be from 0 to 1, not {value}.")
        if threshold is None:
            assert strong_share is not None
            threshold = self.router.threshold(strong_share)
        return self.strong_model if self.router.score(prompt).score >= threshold else self.weak_model


class Chat:
    """So that controller.chat.completions.create reads as with the client itself."""

    def __init__(self, controller: Controller, client: Any) -> None:
        self.completions = Completions(controller, client)


class Completions:
    """Chat completions through the client, with a model that is chosen for each call."""

    def __init__(self, controller: Controller, client: Any) -> None:
        self._controller = controller
        self._client = client

    def create(self, *, model: str, messages: Iterable[Any], **arguments: Any) -> Any:
        """As the client's own create; what an asynchronous client returns is awaited as usual.

        `model` is router-streamlane-<threshold>. Raises RoutingError, and whatever the client raises.
        """
        if self._client is None:
            raise RoutingError("This Controller has no client. Make it with Controller(strong, weak, client=OpenAI()).")
        threshold, messages = asked(model), list(messages)
        chosen = self._controller.route(question(messages), threshold=threshold)
        return self._client.chat.completions.create(model=chosen, messages=messages, **arguments)


def asked(model: str) -> float:
    """The threshold in router-streamlane-<threshold>. Raises RoutingError."""
    kind, _, rest = model.partition("-")
    name, _, text = rest.partition("-")
    if kind != "router" or name != NAME:
        raise RoutingError(f'There is no router "{model}"; expected {SPELLING}.')
    try:
        return float(text)
    except ValueError:
        raise RoutingError(f'"{text}" is no threshold; expected {SPELLING}.') from None


def question(messages: Iterable[Any]) -> str:
    """The text of the last message of the user: neither a tool's result nor a picture is a question.

    Raises RoutingError when there is none.
    """
    for message in reversed(list(messages)):
        if isinstance(message, Mapping) and message.get("role") == "user":
            content = message.get("content")
            parts = [content] if isinstance(content, str) else [text_of(part) for part in content or ()]
            if any(parts):
                return "\n".join(filter(None, parts))
    raise RoutingError("No message of the user has a text to route by.")


def text_of(part: Any) -> str:
    """The text of one part of a message's content; empty for other kinds."""
    text = part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None
    return text if isinstance(text, str) else ""
