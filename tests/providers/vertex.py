"""Google's Vertex AI in front of a fake model: Gemini and Claude of one project, and where their tokens come from.

Sources: docs.cloud.google.com/vertex-ai/generative-ai (inference, "Use Claude models"), developers.google.com/identity
(service accounts), docs.cloud.google.com/compute/docs/metadata, and both official SDKs, read in November 2026.
"""

from typing import Any, ClassVar

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from backends.errors import ModelNotFound
from backends.fake import FakeBackend, words_in
from backends.json import dumps, loads
from tests.providers import anthropic, gemini
from tests.providers.anthropic_words import COUNTED, MEMBERS, SAMPLING, Refused, request_of
from tests.providers.base import Fault

PROJECT, LOCATION = "my-project-123", "europe-west1"
PARENT = f"/v1/projects/{PROJECT}/locations/{LOCATION}/publishers"
ACCOUNT = "gateway@my-project-123.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
AUDIENCE = "https://oauth2.googleapis.com/token"  # whatever the file says
VERSIONS = {"vertex-2023-10-16": MEMBERS, "2026-10-21": MEMBERS - SAMPLING}  # and what each takes
METADATA = "/computeMetadata/v1/instance/service-accounts/default/token"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
UNAUTHENTICATED = (
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other."
)


class Vertex(gemini.Gemini):
    """One project. `tokens` are those it gave, the last of which is good; each lasts `lasts` seconds."""

    prefix: ClassVar[str] = "/v1"

    def __init__(self, behind: FakeBackend, *, lasts: int = 3599) -> None:
        super().__init__(behind)
        self.lasts = lasts
        self.tokens: list[str] = []
        self.asked: list[str] = []  # the kinds of requests for tokens
        self._claude = anthropic.Anthropic(behind)

    @property
    def root(self) -> str:
        return self.url.removesuffix(self.prefix)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1beta1/publishers/{publisher}/models", self.published),
            web.post(f"{PARENT}/google/models/{{model:[^:]+}}:{{method}}", self.ask),
            web.post("/v1/publishers/google/models/{model:[^:]+}:{method}", self.ask),  # express mode
            web.post(f"{PARENT}/anthropic/models/{{model:[^:]+}}:{{method}}", self.claude),
            web.post("/token", self.token),
            web.get(METADATA, self.metadata),
        ]

    def unwelcome(self, request: web.Request) -> web.Response | None:
        key = request.headers.get("x-goog-api-key")
        if key is not None or not ("/projects/" in request.path or "beta1" in request.path):
            return None if key == self.key else self.refused("bad_key", Fault("bad_key"), None)
        if self.tokens and request.headers.get("authorization") == f"Bearer {self.tokens[-1]}":
            return None
        return web.json_response(gemini.problem(401, "UNAUTHENTICATED", UNAUTHENTICATED), status=401)

    async def published(self, request: web.Request) -> web.StreamResponse:
        if refused := self.unwelcome(request):
            return refused
        publisher = request.match_info["publisher"]
        served = [
            model.id for model in await self.behind.models() if model.id.startswith("claude") == (publisher != "google")
        ]
        served += ["imagen-4.0-generate-001"] * (publisher == "google")
        start = int(request.query.get("pageToken") or 0)
        page = [
            {"name": f"publishers/{publisher}/models/{name}", "versionId": "001"} for name in served[start : start + 1]
        ]
        more = {"nextPageToken": str(start + 1)} if start + 1 < len(served) else {}
        return web.json_response({"publisherModels": page, **more})

    async def claude(self, request: web.Request) -> web.StreamResponse:
        """The body of Messages, with the model in the path and the version inside."""
        if refused := self.unwelcome(request):
            return refused
        body = loads(await request.read())
        members = VERSIONS[body["anthropic_version"]]
        model, method = request.match_info["model"], request.match_info["method"]
        asked = {name: value for name, value in body.items() if name != "anthropic_version"}
        try:
            if model == "count-tokens":
                tokens = await self.behind.count_tokens(request_of(asked, COUNTED))
                return web.json_response({"input_tokens": tokens})
            assert "model" not in asked
            assert method == ("streamRawPredict" if asked.get("stream") else "rawPredict")
            call = request_of({**asked, "model": model}, members)
        except Refused as error:
            return web.json_response(anthropic.problem("invalid_request_error", str(error)), status=400)
        except ModelNotFound as error:
            return self.refused("unknown_model", Fault("unknown_model"), error)
        whole = anthropic.Whole(model)
        writer = anthropic.Events(model, words_in(call)) if asked.get("stream") else whole
        return await self.answer(request, body, call, writer)

    async def token(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        grant = str(form["grant_type"])
        self.asked.append(grant)
        if grant == "refresh_token":
            right = (form["client_id"], form["client_secret"], form["refresh_token"]) == ("id", "secret", "again")
        else:
            right = grant == "urn:ietf:params:oauth:grant-type:jwt-bearer" and self.signed(str(form["assertion"]))
        if not right:
            return web.json_response(
                {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, status=400
            )
        return self.given()

    def signed(self, assertion: str) -> bool:
        try:
            claims = jwt.decode(assertion, KEY.public_key(), ["RS256"], audience=AUDIENCE)
        except jwt.PyJWTError:
            return False
        named = jwt.get_unverified_header(assertion)["kid"] == "key-1"
        return named and (claims["iss"], claims["scope"], claims["exp"] - claims["iat"]) == (ACCOUNT, SCOPE, 3600)

    async def metadata(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("metadata-flavor") != "Google":
            return web.Response(status=403, text="Missing Metadata-Flavor:Google header.")
        self.asked.append("metadata")
        return self.given()

    def given(self) -> web.Response:
        self.tokens.append(f"ya29.token-{len(self.tokens)}")
        answer = {"access_token": self.tokens[-1], "expires_in": self.lasts, "token_type": "Bearer"}
        return web.json_response(answer)

    def credentials(self) -> bytes:
        """The key file of the service account, as the console gives it."""
        pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        found: dict[str, Any] = {"type": "service_account", "project_id": PROJECT, "private_key_id": "key-1"}
        found |= {"private_key": pem, "client_email": ACCOUNT, "client_id": "1", "universe_domain": "googleapis.com"}
        return dumps(found | {"token_uri": f"{self.root}/token", "auth_uri": f"{self.root}/auth"})
