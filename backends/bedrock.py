"""Amazon Bedrock: its Converse API, for the models of every maker there, with an API key or AWS credentials."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote

from msgspec import Meta
from msgspec.structs import force_setattr

from backends.aws_auth import NO_CREDENTIALS, Identity, Signer
from backends.base import Model
from backends.bedrock_decode import Decoder
from backends.bedrock_encode import encode
from backends.bedrock_errors import classify
from backends.capabilities import Capabilities
from backends.chat_errors import count
from backends.errors import AuthenticationFailed, BackendError, ProtocolViolation
from backends.event_stream import EventStreamDecoder
from backends.http import Transport
from backends.http_backend import JSON, HttpBackend, now
from backends.http_options import HttpOptions, WrongKey, keys_of, printable
from backends.json import JsonError, dumps, loads
from backends.model_path import segment
from backends.registry import Parts
from backends.request import Request

REGION = re.compile(r"[a-z]{2}(-[a-z]+){1,3}-\d")
COUNTED = ("messages", "system", "toolConfig", "additionalModelRequestFields")
MOST_PAGES = 100
NEVER = Capabilities(logprobs=False, completions=False, embeddings=False)  # the API has no place for them


class Options(HttpOptions, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="bedrock"):
    """Amazon Bedrock, with a Bedrock API key or with AWS credentials."""

    region: Annotated[str, Meta(description="The AWS region.", examples=["eu-central-1"])]
    base_url: Annotated[str, Meta(description="Where its API begins. Unset: the region's own.")] = ""
    access_key_id: Annotated[
        str | None,
        Meta(
            description="AWS credentials. Unset, and without a key: those that AWS's own tools find.",
            examples=["${AWS_ACCESS_KEY_ID}"],
        ),
    ] = None
    secret_access_key: Annotated[
        str | None, Meta(description="The secret of access_key_id.", examples=["${AWS_SECRET_ACCESS_KEY}"])
    ] = None
    session_token: Annotated[
        str | None,
        Meta(description="The token of access_key_id, where it is borrowed.", examples=["${AWS_SESSION_TOKEN}"]),
    ] = None
    profile: Annotated[
        str | None, Meta(description="A profile of AWS's configuration files.", examples=["default"])
    ] = None

    def __post_init__(self) -> None:
        if not REGION.fullmatch(self.region):
            raise WrongKey("region", 'expected the name of an AWS region, such as "us-east-1"')
        if not self.base_url:
            domain = "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"
            force_setattr(self, "base_url", f"https://bedrock-runtime.{self.region}.{domain}")
        super().__post_init__()
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("expected access_key_id and secret_access_key, or neither")
        credentials = (self.access_key_id, self.secret_access_key, self.session_token)
        if not all(each is None or printable(each) for each in credentials):
            raise ValueError("expected AWS credentials of visible ASCII characters; they hold others, or spaces")


class Bedrock(HttpBackend):
    """Amazon Bedrock in one region, as a Backend and TokenCounter. Without `signer`, every request needs an API key."""

    framing = EventStreamDecoder
    keyless = "credentials"

    def __init__(self, options: Options, transport: Transport, signer: Signer | None) -> None:
        super().__init__(options.name, options.base_url, transport, keys_of(options), options.models)
        self._control = self.url.replace("//bedrock-runtime.", "//bedrock.", 1)  # which knows what there is
        self._signer = signer

    def target(self, request: Request) -> str:
        return f"{self._model_url(request)}/converse-stream"

    def body(self, request: Request) -> Mapping[str, Any]:
        return encode(request)

    def decoder(self, request: Request) -> Decoder:
        return Decoder(request.model)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, model: str) -> BackendError:
        return classify(status, headers, body, model=model, now=now())

    async def headers(self, method: str, url: str, body: bytes, key: str | None) -> Mapping[str, str]:
        if key is not None:
            return await super().headers(method, url, body, key)
        if self._signer is None:
            raise AuthenticationFailed(401, "credentials", NO_CREDENTIALS)
        return await self._signer.headers(method, url, JSON if body else {}, body)

    async def listed(self) -> Sequence[Model]:
        """Models that stream text, and the profiles through which the newer ones are called."""
        found = await self.ask_json(f"{self._control}/foundation-models?byOutputModality=TEXT")
        try:
            known = {each["modelArn"]: each for each in found["modelSummaries"] if each["responseStreamingSupported"]}
            direct = [each for each in known.values() if "ON_DEMAND" in each.get("inferenceTypesSupported", ())]
            models = [model_of(each["modelId"], each) for each in direct]
            for profile in await self._profiles():
                through = next((known[m["modelArn"]] for m in profile["models"] if m["modelArn"] in known), None)
                if through is not None:
                    models.append(model_of(profile["inferenceProfileId"], through))
        except (KeyError, TypeError, AttributeError):
            raise ProtocolViolation("a list of models that is none") from None
        return models

    async def count_tokens(self, request: Request) -> int:
        body = encode(request)
        converse = {name: body[name] for name in COUNTED if name in body}
        asked = dumps({"input": {"converse": converse}})
        url = f"{self._model_url(request)}/count-tokens"
        callers = request.keys.get(self.name)
        async with self.exchange("POST", url, asked, model=request.model, callers=callers) as response:
            answer = await response.read()
        try:
            tokens = count(loads(answer)["inputTokens"])
        except (JsonError, KeyError, TypeError):
            tokens = None
        if tokens is None:
            raise ProtocolViolation("a count of tokens that is none")
        return tokens

    def _model_url(self, request: Request) -> str:
        return f"{self.url}/model/{segment(request.model)}"  # an ARN holds slashes

    async def _profiles(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        token = ""
        for _ in range(MOST_PAGES):
            page = await self.ask_json(f"{self._control}/inference-profiles?maxResults=1000{token}")
            found += page["inferenceProfileSummaries"]
            if not page.get("nextToken"):
                break
            token = f"&nextToken={quote(page['nextToken'], safe='')}"
        return found


def model_of(name: str, summary: Mapping[str, Any]) -> Model:
    """It says neither the context nor whether there are tools. Raises KeyError or TypeError for what is no model."""
    if not isinstance(name, str):
        raise TypeError
    able = Capabilities(images="IMAGE" in summary["inputModalities"], audio="SPEECH" in summary["inputModalities"])
    return Model(name, None, able.otherwise(NEVER))


def signer_of(options: Options) -> Signer | None:
    """None where every request comes with an API key."""
    if options.keys() or options.api_key_file is not None or options.key_source == "caller":
        return None
    who = Identity(options.profile, options.access_key_id, options.secret_access_key, options.session_token)
    return Signer(who, "bedrock", options.region)


def build(options: Options, parts: Parts) -> Bedrock:
    """A backend over the shared transport. Raises EngineUnavailable where it needs botocore, and there is none."""
    return Bedrock(options, parts.transport, signer_of(options))
