"""Google's credentials: what a file of them means, and the requests for access tokens that it allows. Pure.

Service accounts sign their requests (RFC 7523, developers.google.com/identity/protocols/oauth2/service-account); the
file of `gcloud auth application-default login` holds a refresh token (RFC 6749, 6).
"""

from typing import NamedTuple, TypeAlias
from urllib.parse import urlencode

import msgspec

from backends.json import SHAPE_ERRORS, decoder

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105  # where they are given
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LASTS = 3600  # seconds; the most that is allowed


class CredentialsUnusable(Exception):
    """Why not, as one sentence with its next step. Nothing of the file enters it."""


class ServiceAccount(msgspec.Struct, frozen=True, tag_field="type", tag="service_account"):
    """The key of a service account, as the console gives it."""

    client_email: str
    private_key: str
    private_key_id: str = ""
    token_uri: str = TOKEN_URL
    quota_project_id: str = ""

    def __repr__(self) -> str:
        return "ServiceAccount(...)"


class User(msgspec.Struct, frozen=True, tag_field="type", tag="authorized_user"):
    """A person's, of gcloud."""

    client_id: str
    client_secret: str
    refresh_token: str
    token_uri: str = TOKEN_URL
    quota_project_id: str = ""

    def __repr__(self) -> str:
        return "User(...)"


Credentials: TypeAlias = ServiceAccount | User


class Token(NamedTuple):
    """An access token, and for how many seconds it is good."""

    value: str
    lasts: float


class Kind(msgspec.Struct):
    type: str = ""


class Answer(msgspec.Struct):
    access_token: str
    expires_in: float


kind_of = decoder(Kind)
credentials_of = msgspec.json.Decoder(Credentials).decode
answer_of = decoder(Answer)


def credentials(data: bytes) -> Credentials:
    """What a file holds. Raises CredentialsUnusable."""
    try:
        kind = kind_of(data).type
    except SHAPE_ERRORS:
        raise CredentialsUnusable(
            "The credentials_file holds no JSON. Give the key file of a service account."
        ) from None
    if kind not in {"service_account", "authorized_user"}:
        raise CredentialsUnusable(
            "The credentials_file is of a kind that is not known here. Give the key file of a service account, or the "
            "one that `gcloud auth application-default login` writes."
        )
    try:
        found: Credentials = credentials_of(data)
    except SHAPE_ERRORS:
        raise CredentialsUnusable(
            "The credentials_file is not whole. Get a new key of the service account from the Google Cloud console."
        ) from None
    return found


def token_request(of: Credentials, now: float) -> bytes:
    """The form that asks `of.token_uri` for a token. `now` is Unix time. Raises CredentialsUnusable."""
    if isinstance(of, User):
        form = {"grant_type": "refresh_token", "refresh_token": of.refresh_token}
        return urlencode(form | {"client_id": of.client_id, "client_secret": of.client_secret}).encode()
    return urlencode({"grant_type": JWT_BEARER, "assertion": assertion(of, int(now))}).encode()


def assertion(of: ServiceAccount, now: int) -> str:
    """What the service account says of itself, signed. Raises CredentialsUnusable."""
    try:
        import jwt  # noqa: PLC0415  # an extra: only who has such a file needs it
    except ImportError:
        raise CredentialsUnusable(
            'A service account needs PyJWT, which is not installed. Run: pip install "streamlane[vertex]"'
        ) from None
    # "aud: … this value is always https://oauth2.googleapis.com/token", wherever token_uri leads.
    claims = {"iss": of.client_email, "scope": SCOPE, "aud": TOKEN_URL, "iat": now, "exp": now + LASTS}
    try:
        return jwt.encode(claims, of.private_key, "RS256", {"kid": of.private_key_id})
    except (jwt.PyJWTError, ValueError, TypeError):
        raise CredentialsUnusable(
            "The private_key in the credentials_file is no RSA key. Get a new key of the service account from the "
            "Google Cloud console."
        ) from None


def token(body: bytes) -> Token | None:
    """The token in an answer; None when there is none in it."""
    try:
        found = answer_of(body)
    except SHAPE_ERRORS:
        return None
    value = found.access_token
    fit = value.isascii() and value.isprintable() and found.expires_in > 0  # it goes into a header
    return Token(value, found.expires_in) if value and fit else None
