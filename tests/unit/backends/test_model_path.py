"""The names of models in URLs: none leads out of the place where models are."""

import pytest

from backends.azure_openai import AzureOpenAI
from backends.azure_openai import Options as AzureOptions
from backends.bedrock import Bedrock
from backends.bedrock import Options as BedrockOptions
from backends.errors import ModelNotFound
from backends.gemini import Gemini
from backends.gemini import Options as GeminiOptions
from backends.http import Transport
from backends.http_backend import HttpBackend
from backends.request import Request
from backends.vertex import Options as VertexOptions
from backends.vertex import Vertex

KINDS = ["azure", "bedrock", "gemini", "vertex"]


@pytest.fixture
def backends(transport: Transport) -> dict[str, HttpBackend]:
    azure = AzureOptions(name="a", base_url="https://r.openai.azure.com", api_key="key-of-tests")
    return {
        "azure": AzureOpenAI(azure, transport),
        "bedrock": Bedrock(BedrockOptions(name="b", region="us-east-1"), transport, None),
        "gemini": Gemini(GeminiOptions(name="g"), transport),
        "vertex": Vertex(VertexOptions(name="v", project="p"), transport),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", ["../x", "a/b?c=d", "a#b", "%2e%2e", "a\r\nx: y", "a b", "é", "tunedModels/../x"])
def test_a_name_stays_one_segment(backends: dict[str, HttpBackend], kind: str, model: str) -> None:
    try:
        plain, odd = (backends[kind].target(Request(name, (), 1)) for name in ("m", model))
    except ModelNotFound:
        return  # Vertex: a publisher that there is not
    depth = plain.count("/")
    assert (odd.count("/"), odd.count("?"), "#" in odd) == (depth, plain.count("?"), False)
    assert odd.isascii()
    assert odd.isprintable()
    assert " " not in odd
    assert not {".", ".."} & set(odd.split("?")[0].split("/"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [".", ".."])
def test_a_name_that_a_path_is_changed_by_is_no_model(backends: dict[str, HttpBackend], kind: str, model: str) -> None:
    with pytest.raises(ModelNotFound):
        backends[kind].target(Request(model, (), 1))
