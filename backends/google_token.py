"""Google's access tokens: asked for over our own transport, kept, and renewed before they run out."""

import asyncio
import time
from collections.abc import Callable

from backends.errors import (
    AuthenticationFailed,
    DeadlineExceeded,
    EngineUnavailable,
    ProtocolViolation,
    ServerFailed,
    StreamBroken,
    Unreachable,
)
from backends.google_credentials import Credentials, CredentialsUnusable, Token, token, token_request
from backends.http import Transport

METADATA = "http://metadata.google.internal"  # answers on Google's own machines
METADATA_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"
FORM = {"content-type": "application/x-www-form-urlencoded"}
EARLY = 300.0  # seconds before its end in which a token is renewed; half of its life, where that is less
PATIENCE = 30.0  # seconds for one request
FRESH = 60.0  # seconds in which a token is new: refused then, another one would be as well


class Tokens:
    """The token of one backend. `of` None asks the metadata server, at `metadata`, for the machine's account.

    One task at a time renews it. While the old one is good, nobody waits for that.
    """

    def __init__(
        self,
        transport: Transport,
        of: Credentials | None,
        metadata: str = METADATA,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport, self._of, self._metadata, self._clock = transport, of, metadata, clock
        self._token: Token | None = None
        self._since = 0.0  # by the clock
        self._renewal: asyncio.Task[Token] | None = None

    async def get(self) -> str:
        """A token that is good. Raises BackendError."""
        held, age = self._token, self._clock() - self._since
        if held is not None and age < max(held.lasts - EARLY, held.lasts / 2):
            return held.value
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew())
            self._renewal.add_done_callback(seen)
        if held is not None and age < held.lasts:
            return held.value
        renewal = self._renewal
        await asyncio.wait({renewal})  # whoever leaves does not end it for the others
        if renewal.cancelled():
            raise StreamBroken
        return renewal.result().value

    def refused(self) -> bool:
        """The API refused the token. It is forgotten, unless it is so new that another one would be refused too."""
        if self._token is None or self._clock() - self._since < FRESH:
            return False
        self._token = None
        return True

    async def close(self) -> None:
        """Whoever waits for a token gets StreamBroken."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait({self._renewal})

    async def _renew(self) -> Token:
        asked_at = self._clock()
        try:
            async with asyncio.timeout(PATIENCE):
                status, body = await self._ask()
        except TimeoutError:
            raise Unreachable("no answer to the request for an access token") from None
        if status in {400, 401, 403}:  # invalid_grant: the key was deleted, or the account
            raise AuthenticationFailed(401, "credentials")
        if status != 200:
            raise ServerFailed(status)
        found = token(body)
        if found is None:
            raise ProtocolViolation("an access token that is none")
        self._token, self._since = found, asked_at
        return found

    async def _ask(self) -> tuple[int, bytes]:
        if self._of is None:
            url, headers, form = f"{self._metadata}{METADATA_PATH}", {"metadata-flavor": "Google"}, b""
        else:
            try:
                url, headers, form = self._of.token_uri, FORM, token_request(self._of, time.time())
            except CredentialsUnusable as error:
                raise EngineUnavailable(str(error)) from None
        try:
            async with self._transport.request("POST" if form else "GET", url, headers, form) as response:
                return response.status, await response.read()
        except (Unreachable, DeadlineExceeded):
            if self._of is not None:
                raise
            raise EngineUnavailable(
                "This machine has no account at Google: its metadata server cannot be reached. Set credentials_file of "
                "the backend of kind vertex."
            ) from None


def seen(task: asyncio.Task[Token]) -> None:
    """A failure that nobody waits for is no news: the next call asks again."""
    if not task.cancelled():
        task.exception()
