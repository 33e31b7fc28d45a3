"""Signs requests to AWS (Signature Version 4) by botocore, with credentials from wherever AWS's own tools find them."""

import asyncio
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

from backends.errors import AuthenticationFailed, EngineUnavailable

if TYPE_CHECKING:
    from botocore.credentials import Credentials, ReadOnlyCredentials

NO_CREDENTIALS = (
    "No AWS credentials were found. Set `api_key` to a Bedrock API key, or `access_key_id` and `secret_access_key`, or "
    "`profile`; or give the process a role, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in its environment."
)


NO_BOTOCORE = (
    "AWS credentials need botocore, which is not installed. Install it with: pip install 'streamlane[bedrock]', or set "
    "`api_key` to a Bedrock API key, which needs nothing."
)


@dataclass(frozen=True)
class Identity:
    """Who signs: a key of the configuration, or a profile, or whoever botocore finds: environment, files, a role."""

    profile: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)


class Signer:
    """Signs for one service in one region. Credentials are looked for once, and renewed before they expire.

    botocore is imported when the first request is signed, and not on the event loop: it takes long, and opens a socket
    to see whether there is IPv6. Raises EngineUnavailable where it is not installed.
    """

    def __init__(self, identity: Identity, service: str, region: str) -> None:
        if find_spec("botocore") is None:
            raise EngineUnavailable(NO_BOTOCORE)
        self._identity, self._service, self._region = identity, service, region
        self._found: Credentials | None = None
        self._frozen: ReadOnlyCredentials | None = None  # what they were: to look again may ask a server
        self._looking = asyncio.Lock()

    async def headers(self, method: str, url: str, headers: dict[str, str], body: bytes) -> dict[str, str]:
        """Those in `headers`, and the ones that sign them. AuthenticationFailed where there are no credentials."""
        credentials = await self._credentials()
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        request = AWSRequest(method, url, headers=headers, data=body)
        SigV4Auth(credentials, self._service, self._region).add_auth(request)
        return {name.lower(): value for name, value in request.headers.items()}

    async def _credentials(self) -> "ReadOnlyCredentials":
        if self._frozen is None or stale(self._found):
            async with self._looking:
                if self._frozen is None or stale(self._found):
                    self._found, self._frozen = await asyncio.to_thread(found, self._identity, self._found)
        return self._frozen


def found(who: Identity, last: "Credentials | None") -> "tuple[Credentials, ReadOnlyCredentials]":
    """Credentials, and what they are now: `last` renewed, or new ones. Reads files, may ask a server or a program."""
    import botocore.auth  # noqa: F401  # not on the event loop, where it is used: it takes long
    from botocore.credentials import Credentials
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.session import Session

    try:
        if who.access_key_id is not None:
            credentials = Credentials(who.access_key_id, who.secret_access_key, who.session_token)
        else:
            credentials = last or Session(profile=who.profile).get_credentials()
        if credentials is not None:
            return credentials, credentials.get_frozen_credentials()
    # ClientError: a server refused the role. RuntimeError: what it gave has expired already.
    except (BotoCoreError, ClientError, RuntimeError) as error:
        advice = f"{NO_CREDENTIALS} botocore says: {type(error).__name__}."
        raise AuthenticationFailed(401, "credentials", advice) from None
    raise AuthenticationFailed(401, "credentials", NO_CREDENTIALS)


def stale(credentials: "Credentials | None") -> bool:
    """Whether they expire soon; those that are not borrowed never do."""
    refresh_needed = getattr(credentials, "refresh_needed", None)
    return refresh_needed is not None and bool(refresh_needed())
