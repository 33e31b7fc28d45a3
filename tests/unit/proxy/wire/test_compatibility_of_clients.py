"""docs/compatibility.md says what parameters of the older APIs do; the parsers do it, and the SDKs have no others."""

from collections.abc import Callable, Collection
from typing import Any

import pytest
from anthropic.types.beta.message_create_params import MessageCreateParamsBase as AnthropicParams
from openai.types.chat.completion_create_params import CompletionCreateParamsBase as ChatParams
from openai.types.completion_create_params import CompletionCreateParamsBase as CompletionParams
from openai.types.embedding_create_params import EmbeddingCreateParams

from proxy.errors import Unsupported
from proxy.wire import chat_request, completions_request, embeddings, messages_request
from tests.unit.proxy.wire.client_requests import CHAT, COMPLETIONS, EMBEDDINGS, MESSAGES
from tests.unit.proxy.wire.test_compatibility import rows, section

Parse = Callable[[Any], Any]
APIS: dict[str, tuple[Any, Parse, dict[str, Any], Collection[str]]] = {
    "Chat completions": (chat_request, chat_request.parse_chat, CHAT["one line"], ChatParams.__annotations__),
    "Completions": (
        completions_request,
        completions_request.parse_completion,
        COMPLETIONS["one line"],
        CompletionParams.__annotations__,
    ),
    "Embeddings": (
        embeddings,
        embeddings.parse_embeddings,
        EMBEDDINGS["one text"],
        EmbeddingCreateParams.__annotations__,
    ),
    "Messages": (
        messages_request,
        messages_request.parse_messages,
        MESSAGES["one line"],
        {*AnthropicParams.__annotations__} - {"betas"},  # a header
    ),
}
REFUSED = [(api, name) for api, (module, *_) in APIS.items() for name in getattr(module, "REFUSED", {})]


@pytest.mark.parametrize("api", APIS)
def test_the_page_lists_each_parameter_where_it_belongs(api: str) -> None:
    module = APIS[api][0]
    refused = frozenset(getattr(module, "REFUSED", {}))
    told = {name: state for names, state in rows(section(api)) for name in names}
    states = {"no effect": module.IGNORED, "refused": refused, "supported": module.KNOWN - module.IGNORED - refused}
    assert told == {name: state for state, names in states.items() for name in names}


@pytest.mark.parametrize("api", APIS)
def test_the_sdk_can_send_nothing_that_we_do_not_know(api: str) -> None:
    module, _, _, sent = APIS[api]
    assert set(sent) <= module.KNOWN


@pytest.mark.parametrize("api", APIS)
def test_a_knob_has_no_effect(api: str) -> None:
    module, parse, body, _ = APIS[api]
    for name in module.IGNORED:
        assert parse({**body, name: "x"}) == parse(body)


@pytest.mark.parametrize(("api", "name"), REFUSED)
def test_a_feature_is_refused_by_name(api: str, name: str) -> None:
    _, parse, body, _ = APIS[api]
    with pytest.raises(Unsupported) as refused:
        parse({**body, name: [{"id": "x"}]})
    assert refused.value.param == name
    assert parse({**body, name: None}) == parse(body)
