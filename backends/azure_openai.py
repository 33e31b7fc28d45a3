"""Azure OpenAI: chat completions of deployments, by the dated API or by the newer /openai/v1."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from msgspec import Meta

from backends import openai_encode
from backends.base import Model
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    DeadlineExceeded,
    NotReady,
    ProtocolViolation,
    Unreachable,
)
from backends.http import Transport
from backends.model_path import segment
from backends.openai_compatible import ChatOptions, OpenAICompatible, model_of
from backends.openai_models import classic
from backends.registry import Parts
from backends.request import Request

V1 = "/openai/v1"
DATED = "2024-10-21"  # the last dated version that is no preview


class Options(
    ChatOptions,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="azure_openai",
):
    """One resource of Azure OpenAI, or of Microsoft Foundry."""

    base_url: Annotated[
        str,
        Meta(
            description="The resource's endpoint. With /openai/v1 behind it, the newer API without versions is asked.",
            examples=["https://NAME.openai.azure.com", "https://NAME.openai.azure.com/openai/v1"],
        ),
    ]
    api_key_header: Annotated[str | None, Meta(description="The header for the key.")] = "api-key"
    bearer: Annotated[
        bool, Meta(description="The keys are tokens of Microsoft Entra, best in api_key_file: they live for an hour.")
    ] = False
    api_version: Annotated[
        str | None,
        Meta(
            description=f"The api-version that is asked for. Unset: {DATED}, or none with /openai/v1.",
            examples=["2025-04-01-preview"],
        ),
    ] = None
    deployments: Annotated[
        Mapping[str, str],
        Meta(
            description="The deployments that may be asked, and the model that each runs: it decides which parameters "
            "are sent. Empty: the resource's list of models.",
            examples=[{"chat": "gpt-4.1"}],
        ),
    ] = {}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.api_version is not None and not re.fullmatch(r"[\w.-]{1,64}", self.api_version, re.ASCII):
            raise ValueError('expected an api_version such as "2024-10-21"')


class AzureOpenAI(OpenAICompatible):
    """One resource, as a Backend. A model's id here is the name of its deployment."""

    def __init__(self, options: Options, transport: Transport) -> None:
        super().__init__(options, transport)
        if options.bearer:
            self._key_header = None
        if not options.models:
            self._models = tuple(Model(name) for name in options.deployments)
        self._deployments = options.deployments
        self._v1 = self.url.endswith(V1)
        self._endpoint = self.url.removesuffix("/openai")  # some write it, some do not
        version = options.api_version or (None if self._v1 else DATED)
        self._query = "" if version is None else f"?api-version={version}"

    async def models(self) -> Sequence[Model]:
        """Those that the configuration names, once the resource has taken our key. What else it says does not matter:
        what stands before it may have no list.
        """
        if not self._models:
            return await self.listed()
        try:
            await self.ask_json(self.place("/models"))
        except (AuthenticationFailed, DeadlineExceeded, NotReady, Unreachable):
            raise
        except BackendError:
            pass
        return self._models

    def place(self, path: str, model: str = "") -> str:
        if self._v1:
            return f"{self.url}{path}{self._query}"
        deployment = f"/deployments/{segment(model)}" if model else ""
        return f"{self._endpoint}/openai{deployment}{path}{self._query}"

    def body(self, request: Request) -> Mapping[str, Any]:
        model = self._deployments.get(request.model, request.model)
        return openai_encode.encode(request, model, old_limit=classic(model))  # dated versions know no other there

    async def listed(self) -> Sequence[Model]:
        """The models of the resource that can be asked anything. Which are deployed, this API does not tell."""
        found = await self.ask_json(self.place("/models"))
        try:
            return tuple(model_of(entry) for entry in found["data"] if usable(entry))
        except (AttributeError, KeyError, TypeError):
            raise ProtocolViolation("a list of models that is none") from None


def usable(entry: Any) -> bool:
    """Whether a listed model can be asked what we ask."""
    abilities = entry.get("capabilities")
    if not isinstance(abilities, dict):
        return True
    return any(abilities.get(name) for name in ("chat_completion", "completion", "embeddings"))


def build(options: Options, parts: Parts) -> AzureOpenAI:
    """A backend over the shared transport."""
    return AzureOpenAI(options, parts.transport)
