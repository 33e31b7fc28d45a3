"""Google's Vertex AI: Gemini and Claude models of one project, with tokens of a Google account."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import structlog
from msgspec import Meta
from msgspec.structs import replace

from backends import anthropic_decode, anthropic_encode, anthropic_errors, gemini_decode, gemini_encode, gemini_errors
from backends.base import Model
from backends.capabilities import Capabilities
from backends.chat_errors import count
from backends.errors import AuthenticationFailed, BackendError, EngineUnavailable, ModelNotFound, ProtocolViolation
from backends.google_credentials import Credentials, CredentialsUnusable, credentials, token_request
from backends.google_token import METADATA, Tokens
from backends.http import Transport
from backends.http_backend import HttpBackend, now
from backends.http_options import HttpOptions, WrongKey, keys_of
from backends.json import JsonError, dumps, loads
from backends.model_path import segment
from backends.registry import Parts
from backends.request import Request
from backends.streamed import Decoder

log = structlog.get_logger()
GLOBAL = "https://aiplatform.googleapis.com/v1"
WHOLE_REGIONS = {"us", "eu"}  # many locations behind one name
CLAUDE_VERSION = "vertex-2023-10-16"  # 2026-10-21 takes less, as on Anthropic's own API
PUBLISHERS = ("google", "anthropic")
MOST_PAGES = 20
ANSWERING = re.compile(r"gemini-(?!embedding|live)|claude-")


class Options(HttpOptions, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="vertex"):
    """Gemini and Claude models on Google's Vertex AI, by the account of a file or of the machine it runs on."""

    base_url: Annotated[str, Meta(description="Where its API begins. Unset: that of the location.")] = GLOBAL
    project: Annotated[
        str | None,
        Meta(
            description="The id of the project. Only express mode, with an api_key, has none.",
            examples=["my-project-123"],
        ),
    ] = None
    location: Annotated[
        str, Meta(description="Where models run: a region, or global.", examples=["europe-west1", "us"])
    ] = "global"
    credentials_file: Annotated[
        Path | None,
        Meta(
            description="The key file of a service account, or the one that gcloud auth application-default login "
            "writes. Unset: the account of this machine, from Google's metadata server.",
            examples=["account.json"],
        ),
    ] = None
    metadata_url: Annotated[str, Meta(description="Where the metadata server is.")] = METADATA

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,39}", self.location):
            raise WrongKey("location", 'expected a location such as "global" or "europe-west1"')
        if self.project is None and not self.keys() and self.api_key_file is None and self.key_source == "gateway":
            raise WrongKey("project", "expected the id of a project; without one, an api_key of express mode")
        if self.project is not None and not re.fullmatch(r"[a-z0-9.:-]{1,64}", self.project):
            raise WrongKey("project", 'expected the id of a project, such as "my-project-123"')


class Vertex(HttpBackend):
    """One project, as a Backend and TokenCounter."""

    extras = anthropic_encode.EXTRAS
    keyless = "credentials"

    def __init__(self, options: Options, transport: Transport) -> None:
        super().__init__(options.name, url_of(options), transport, keys_of(options), options.models)
        self._parent = ""
        if options.project is not None:
            self._parent = f"projects/{quote(options.project)}/locations/{options.location}/"
        self._file, self._metadata = options.credentials_file, options.metadata_url
        self._tokens: Tokens | None = None
        self._quota_project = ""

    async def start(self) -> None:
        """Read the credentials. Until they can be used, requests fail, as without an api_key_file; others go on."""
        await super().start()
        try:
            self._read_credentials()
        except EngineUnavailable as error:
            log.error("credentials_unusable", backend=self.name, reason=str(error))

    async def close(self) -> None:
        await super().close()
        if self._tokens is not None:
            await self._tokens.close()

    def target(self, request: Request) -> str:
        publisher, model = publisher_of(request.model)
        if publisher == "anthropic":
            return self._method(publisher, model, "streamRawPredict")
        return self._method(publisher, model, gemini_encode.method_of(request))

    def body(self, request: Request) -> Mapping[str, Any]:
        publisher, model = publisher_of(request.model)
        asked = replace(request, model=model)
        return claudes_body(asked) if publisher == "anthropic" else gemini_encode.encode(asked)

    def decoder(self, request: Request) -> Decoder:
        publisher, model = publisher_of(request.model)
        if publisher == "anthropic":
            return anthropic_decode.Decoder(model)
        return gemini_decode.Decoder(model, request.top_logprobs)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, model: str) -> BackendError:
        """What comes of Claude itself is in its own words, what comes of Google in Google's."""
        classify = anthropic_errors.classify if claudes_own(body) else gemini_errors.classify
        return classify(status, headers, body, model=model, now=now())

    async def headers(self, method: str, url: str, body: bytes, key: str | None) -> Mapping[str, str]:
        if key is not None:
            return {"x-goog-api-key": key}
        tokens = self._tokens or self._read_credentials()  # the file may have been mended since
        found = {"authorization": f"Bearer {await tokens.get()}"}
        return found | ({"x-goog-user-project": self._quota_project} if self._quota_project else {})

    def answered(self, key: str | None, error: BackendError | None) -> None:
        super().answered(key, error)
        refused = isinstance(error, AuthenticationFailed) and error.status == 401
        if key is None and refused and self._tokens is not None and self._tokens.refused():
            assert isinstance(error, AuthenticationFailed)
            error.other_keys = True  # the dispatcher's next attempt has a new token

    async def listed(self) -> Sequence[Model]:
        """Those of the model garden that answer prompts. Which the project may use, it does not say."""
        return [model for publisher in PUBLISHERS async for model in self._published(publisher)]

    async def _published(self, publisher: str) -> AsyncIterator[Model]:
        token = ""
        for _ in range(MOST_PAGES):
            root = self.url.removesuffix("/v1")
            more = f"&pageToken={quote(token, safe='')}" if token else ""
            page = await self.ask_json(f"{root}/v1beta1/publishers/{publisher}/models?pageSize=100{more}")
            try:
                names = [str(entry["name"]).rpartition("/")[2] for entry in page.get("publisherModels") or ()]
                token = str(page.get("nextPageToken") or "")
            except (AttributeError, KeyError, TypeError):
                raise ProtocolViolation("a list of models that is none") from None
            for name in names:
                if ANSWERING.match(name):
                    yield Model(name, capabilities=Capabilities(completions=False, embeddings=False))
            if not token:
                return

    async def count_tokens(self, request: Request) -> int:
        """Tokens of the prompt, tools and system message included."""
        publisher, model = publisher_of(request.model)
        asked = replace(request, model=model)
        if publisher == "anthropic":
            url, name = self._method(publisher, "count-tokens", "rawPredict"), "input_tokens"
            body = {"anthropic_version": CLAUDE_VERSION, **anthropic_encode.prompt_of(anthropic_encode.encode(asked))}
        else:
            url, name = self._method(publisher, model, "countTokens"), "totalTokens"
            body = gemini_encode.encode(asked)
        callers = request.keys.get(self.name)
        async with self.exchange("POST", url, dumps(body), model=request.model, callers=callers) as response:
            answer = await response.read()
        try:
            tokens = count(loads(answer)[name])
        except (JsonError, KeyError, TypeError):
            tokens = None
        if tokens is None:
            raise ProtocolViolation("a count of tokens that is none")
        return tokens

    def _read_credentials(self) -> Tokens:
        """What tokens come of. Raises EngineUnavailable when the file cannot be used."""
        of = None if self._file is None else read(self._file)
        self._quota_project = of.quota_project_id if of is not None else ""
        self._tokens = Tokens(self._transport, of, self._metadata)
        return self._tokens

    def _method(self, publisher: str, model: str, method: str) -> str:
        return f"{self.url}/{self._parent}publishers/{publisher}/models/{segment(model, safe='@')}:{method}"


def publisher_of(model: str) -> tuple[str, str]:
    """Who made a model, and its bare id: "google/gemini-3.5-flash" as it says, "claude-…" as it is known.

    Raises ModelNotFound for a publisher whose API is not spoken here.
    """
    publisher, slash, name = model.rpartition("/")
    if not slash:
        return "anthropic" if model.startswith("claude") else "google", model
    if publisher not in PUBLISHERS:
        raise ModelNotFound(model)
    return publisher, name


def claudes_body(request: Request) -> dict[str, Any]:
    """The model is in the URL, the version in the body (docs.cloud.google.com, "Use Claude models")."""
    body = {name: value for name, value in anthropic_encode.encode(request).items() if name != "model"}
    return {"anthropic_version": CLAUDE_VERSION, **body}


def claudes_own(body: bytes) -> bool:
    """Whether an error is of Anthropic's API, which Google hands on."""
    try:
        value = loads(body)
    except JsonError:
        return False
    return isinstance(value, dict) and value.get("type") == "error"


def url_of(options: Options) -> str:
    """Where the API of a location begins, unless the user says where."""
    if options.base_url != GLOBAL or options.location == "global":
        return options.base_url
    if options.location in WHOLE_REGIONS:
        return f"https://aiplatform.{options.location}.rep.googleapis.com/v1"
    return f"https://{options.location}-aiplatform.googleapis.com/v1"


def read(path: Path) -> Credentials:
    """The credentials in a file, tried once. Raises EngineUnavailable."""
    try:
        found = credentials(path.read_bytes())
        token_request(found, now())
    except CredentialsUnusable as error:
        raise EngineUnavailable(str(error)) from None
    except OSError as error:
        why = error.strerror or "no reason given"
        raise EngineUnavailable(
            f"The credentials_file cannot be read ({why}). Check its path and its rights."
        ) from None
    return found


def build(options: Options, parts: Parts) -> Vertex:
    """A backend over the shared transport."""
    return Vertex(options, parts.transport)
