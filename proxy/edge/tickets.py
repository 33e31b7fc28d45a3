"""One-time tickets for sockets: a browser cannot send a key's header there, and a URL is no place for a key. Pure."""

from collections.abc import Callable
from hashlib import sha256
from secrets import token_urlsafe

from proxy.outcome import Principal


class Tickets:
    """Tickets that were given out and not used yet. Each lets its principal in once, for `seconds`.

    `now` counts in seconds and never goes back. Above `limit` the oldest ticket is forgotten.
    """

    def __init__(self, *, now: Callable[[], float], seconds: int = 30, limit: int = 10_000) -> None:
        self.seconds = seconds
        self._now = now
        self._limit = limit
        self._issued: dict[bytes, tuple[Principal, float]] = {}  # by hash, oldest first; until when it is good

    def __len__(self) -> int:
        return len(self._issued)

    def issue(self, principal: Principal) -> str:
        """A new ticket: 256 random bits, in characters that a URL can hold."""
        self._forget_expired()
        if len(self._issued) >= self._limit:
            del self._issued[next(iter(self._issued))]
        ticket = token_urlsafe(32)
        self._issued[digest(ticket)] = principal, self._now() + self.seconds
        return ticket

    def redeem(self, ticket: str) -> Principal | None:
        """Whose ticket it is, and it is used up; None when it is unknown, used or too old."""
        self._forget_expired()
        principal, _ = self._issued.pop(digest(ticket), (None, 0.0))
        return principal

    def _forget_expired(self) -> None:
        now = self._now()
        while self._issued:
            oldest = next(iter(self._issued))  # all live equally long, so the oldest is the first to go
            if self._issued[oldest][1] > now:
                return
            del self._issued[oldest]


def digest(ticket: str) -> bytes:
    """What is kept: nobody who reads the memory can use it, and looking it up tells nothing by its time."""
    return sha256(ticket.encode(errors="surrogateescape")).digest()
