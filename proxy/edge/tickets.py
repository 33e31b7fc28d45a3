"""One-time tickets for sockets: a browser cannot send a key's header there, and a URL is no place for a key. Pure."""

from collections.abc import Callable
from hashlib import sha256
from secrets import token_urlsafe

from proxy.outcome import Principal


class Tickets:
    """Tickets that were given out and not used yet. Each lets its principal in once, for `seconds`.

    `now` counts in seconds and never goes back. Above `limit` the oldest ticket of whoever has most is forgotten: one
    who asks for many takes nothing from the others.
    """

    def __init__(self, *, now: Callable[[], float], seconds: int = 30, limit: int = 10_000) -> None:
        self.seconds = seconds
        self._now = now
        self._limit = limit
        self._issued: dict[Principal, dict[bytes, float]] = {}  # by hash, oldest first; until when it is good

    def __len__(self) -> int:
        return sum(map(len, self._issued.values()))

    def issue(self, principal: Principal) -> str:
        """A new ticket: 256 random bits, in characters that a URL can hold."""
        self._forget_expired()
        if len(self) >= self._limit:
            most = max(self._issued.values(), key=len)
            del most[next(iter(most))]
        ticket = token_urlsafe(32)
        self._issued.setdefault(principal, {})[digest(ticket)] = self._now() + self.seconds
        return ticket

    def redeem(self, ticket: str) -> Principal | None:
        """Whose ticket it is, and it is used up; None when it is unknown, used or too old."""
        self._forget_expired()
        wanted = digest(ticket)
        for principal, tickets in self._issued.items():
            if tickets.pop(wanted, None) is not None:
                return principal
        return None

    def _forget_expired(self) -> None:
        now = self._now()
        for tickets in self._issued.values():
            while tickets:
                oldest = next(iter(tickets))  # all live equally long, so the oldest is the first to go
                if tickets[oldest] > now:
                    break
                del tickets[oldest]


def digest(ticket: str) -> bytes:
    """What is kept: nobody who reads the memory can use it, and looking it up tells nothing by its time."""
    return sha256(ticket.encode(errors="surrogateescape")).digest()
