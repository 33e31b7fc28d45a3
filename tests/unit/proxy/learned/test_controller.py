"""The Controller alone: which model it names, and what it hands to a client."""

import asyncio
from typing import Any

import pytest

from proxy.learned.controller import Controller, RoutingError, asked, question

PROOF = "Let G be a finite group of order 30. Prove that G has a normal subgroup of order 15."
CHAT = [{"role": "user", "content": PROOF}]


class Client:
    """Answers with what it was asked, as an OpenAI client would be called."""

    def __init__(self) -> None:
        self.chat = self.completions = self

    def create(self, **arguments: Any) -> dict[str, Any]:
        return arguments


class AsyncClient(Client):
    async def create(self, **arguments: Any) -> dict[str, Any]:  # type: ignore[override]  # as AsyncOpenAI's
        return arguments


@pytest.fixture(scope="module")
def controller() -> Controller:
    return Controller("big", "small", Client())


def test_the_threshold_decides(controller: Controller) -> None:
    score = controller.router.score(PROOF).score
    assert controller.route(PROOF, threshold=score) == "big"
    assert controller.route(PROOF, threshold=score + 1e-9) == "small"


def test_a_share_decides_as_its_threshold_does(controller: Controller) -> None:
    assert controller.route(PROOF, strong_share=1) == "big"
    assert controller.route(PROOF, strong_share=0) == "small"
    own = controller.router.share(controller.router.score(PROOF).score)
    assert controller.route(PROOF, strong_share=min(own + 0.02, 1)) == "big"
    assert controller.route(PROOF, strong_share=max(own - 0.02, 0)) == "small"


def test_models_that_the_weights_know_have_their_own_score() -> None:
    known = Controller("gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1")
    assert (known.router.strong, known.router.weak) == ("gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1")


def test_the_client_is_asked_for_the_model_that_was_chosen(controller: Controller) -> None:
    sent = controller.chat.completions.create(model="router-streamlane-0.0", messages=CHAT, temperature=0.5)
    assert sent == {"model": "big", "messages": CHAT, "temperature": 0.5}
    assert controller.chat.completions.create(model="router-streamlane-1", messages=CHAT)["model"] == "small"


def test_an_asynchronous_client_is_awaited_as_usual() -> None:
    controller = Controller("big", "small", AsyncClient())
    assert asyncio.run(controller.chat.completions.create(model="router-streamlane-0", messages=CHAT))["model"] == "big"


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("router-mf-0.11593", "no router"),
        ("gpt-4", "no router"),
        ("router-streamlane", "no threshold"),
        ("router-streamlane-high", "no threshold"),
        ("router-streamlane-1.5", "from 0 to 1"),
        ("router-streamlane-nan", "from 0 to 1"),
    ],
)
def test_what_is_no_router_is_refused_with_the_right_spelling(controller: Controller, model: str, why: str) -> None:
    with pytest.raises(RoutingError, match=why):
        controller.chat.completions.create(model=model, messages=CHAT)


def test_a_threshold_may_be_written_as_any_number() -> None:
    assert asked("router-streamlane-1e-1") == 0.1


def test_without_a_client_only_names_are_given() -> None:
    with pytest.raises(RoutingError, match="has no client"):
        Controller("big", "small").chat.completions.create(model="router-streamlane-0.5", messages=CHAT)


@pytest.mark.parametrize("arguments", [{}, {"threshold": 0.5, "strong_share": 0.5}, {"strong_share": 2}])
def test_one_way_to_decide_must_be_given(controller: Controller, arguments: dict[str, float]) -> None:
    with pytest.raises(RoutingError):
        controller.route(PROOF, **arguments)


def test_the_question_is_the_last_text_of_the_user() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    assert question([{"role": "system", "content": "Be brief."}, *CHAT]) == PROOF
    assert question([*CHAT, {"role": "assistant", "content": "How?"}, {"role": "tool", "content": "42"}]) == PROOF
    assert question([{"role": "user", "content": [{"type": "text", "text": PROOF}, picture]}]) == PROOF
    assert question([*CHAT, {"role": "user", "content": [picture]}]) == PROOF


@pytest.mark.parametrize("messages", [[], [{"role": "system", "content": "x"}], [{"role": "user", "content": None}]])
def test_without_a_question_there_is_nothing_to_route_by(messages: list[Any]) -> None:
    with pytest.raises(RoutingError, match="No message of the user"):
        question(messages)
