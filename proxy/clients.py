"""Every client of the socket: plain ones live as long as their connection, those with a session are remembered.

A session belongs to the API key that made it: under another key the same name is another session. It has one connection
at a time; a newer one takes the older one's place. What is remembered is bounded, by number, by bytes and by time.
"""

import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from heapq import heapify, heappop, heappush
from typing import Any, Protocol

import structlog

from proxy.attachment import Sent
from proxy.client import Client, Outlet
from proxy.errors import BadSessionKey, TooManySessions
from proxy.generations import Generations
from proxy.outcome import Principal
from proxy.session import Limits, Resume, Session
from proxy.session_client import SessionClient
from proxy.turns import Kept

log = structlog.get_logger()
KEY = re.compile(r"[A-Za-z0-9_-]{16,128}")  # 128 random bits at least, as the clients make them
SWEEP = 1.0  # seconds between two looks at the bytes of all


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much is remembered. A client that is away has its responses go on for `detach_ttl` seconds, and can come back
    within `resume_ttl`. `undo` is in frames.
    """

    detach_ttl: float = 60
    resume_ttl: float = 600
    max_session_bytes: int = 64 * 1024 * 1024
    max_total_bytes: int = 256 * 1024 * 1024
    max_sessions: int = 10_000
    max_sessions_per_key: int = 1_000
    undo: int = 32_768


class Timer(Protocol):
    """What `call_later` gives back."""

    def cancel(self) -> None:
        """It need not ring any more."""


@dataclass(slots=True)
class Remembered:
    """One session, and what will become of it while it is away."""

    client: SessionClient
    timers: list[Timer] = field(default_factory=list)


class Clients:
    """Makes clients, and finds again those with a session. A generation waits for an attached client that is more than
    `ahead` bytes behind. `call_later(seconds, what)` and `new_epoch` are the clock and the dice.
    """

    def __init__(
        self,
        *,
        generations: Generations,
        limits: Limits,
        bounds: Bounds,
        ahead: int,
        connection_bytes: int,
        max_frame_bytes: int,
        spawn: Callable[[Coroutine[None, None, None]], object],
        call_later: Callable[[float, Callable[[], None]], Timer],
        new_epoch: Callable[[], str],
        on_refused: Callable[[Exception], None],
    ) -> None:
        self._limits = limits
        self._bounds = bounds
        self._ahead = ahead
        self._connection_bytes = connection_bytes
        self._call_later = call_later
        self._new_epoch = new_epoch
        self._members: dict[str, Any] = {"generations": generations, "spawn": spawn, "on_refused": on_refused}
        self._shown = {
            "resume_ttl_s": bounds.resume_ttl,
            "detach_ttl_s": bounds.detach_ttl,
            "limits": {"active": limits.active, "lanes": limits.lanes, "window": 0, "max_frame": max_frame_bytes},
        }
        self._sessions: dict[tuple[str, str], Remembered] = {}  # by principal and key
        self._away: OrderedDict[tuple[str, str], None] = OrderedDict()  # the longest away first
        self._per_key: Counter[str] = Counter()
        self._sweeper: Timer | None = None
        self.held = 0  # about how many bytes all sessions take, each as it was last counted
        self.resumes: Counter[str] = Counter()  # by result

    def plain(self, principal: Principal, extended: bool) -> Client:
        """The client of one connection."""
        session = Session(self._limits, extended=extended)
        return Client(principal=principal, session=session, kept=Kept(self._connection_bytes), **self._members)

    def admit(self, principal: Principal, key: str) -> None:
        """Whether `attach` may be called: nothing changes. Raises BadSessionKey or TooManySessions."""
        if not KEY.fullmatch(key):
            raise BadSessionKey
        if (principal.id, key) in self._sessions:
            return
        per_key, all_keys = self._bounds.max_sessions_per_key, self._bounds.max_sessions
        if self._per_key[principal.id] >= per_key and self._longest_away(principal.id) is None:
            raise TooManySessions(per_key)
        if len(self._sessions) >= all_keys and not self._away:
            raise TooManySessions(all_keys)

    def attach(self, principal: Principal, wanted: Resume, outlet: Outlet, extended: bool) -> SessionClient:
        """The session of that key, which goes on with `outlet`. Call `admit` first. For a new one, the one that is away
        for longest may have to go.
        """
        name = (principal.id, wanted.key)
        remembered = self._sessions.get(name)
        if remembered is None:
            self._make_room(principal.id)
            remembered = self._sessions[name] = Remembered(self._new(principal, name, wanted.after or 0))
            self._per_key[principal.id] += 1
        client = remembered.client
        if (old := client.outlet) is not None:
            client.leave(old)  # from here on it gets nothing more: only then can be undone what it was sent
            old.replace()
        for timer in remembered.timers:
            timer.cancel()
        remembered.timers.clear()
        self._away.pop(name, None)
        result = client.attach(outlet, wanted.after, wanted.epoch, extended)
        self.resumes[result] += 1
        if self._sweeper is None:
            self._sweeper = self._call_later(SWEEP, self._sweep)
        return client

    @property
    def sessions(self) -> Counter[str]:
        """How many are attached, and how many away."""
        return Counter(attached=len(self._sessions) - len(self._away), away=len(self._away))

    def drain(self) -> None:
        """Those that are away start nothing new."""
        for name in self._away:
            self._sessions[name].client.drain()

    def close(self) -> None:
        """Forget everybody."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for name in tuple(self._sessions):
            self._forget(name)

    def enforce(self) -> None:
        """Keep to the bytes that all may take. First goes what was sent, of whoever has most of it; then sessions that
        are away, of the key that takes most; at last what can be continued though it was not stored.
        """
        if not self._full:
            return
        clients = [remembered.client for remembered in self._sessions.values()]
        for client in sorted(clients, key=lambda each: each.finished, reverse=True):
            if not self._full or not client.finished:
                break
            client.trim()
        self._forget_away()
        for client in (remembered.client for remembered in self._sessions.values()):
            if not self._full:
                break
            client.forget_turns()

    @property
    def _full(self) -> bool:
        return self.held > self._bounds.max_total_bytes

    def _forget_away(self) -> None:
        """Sessions that are away go until all is within the bound: of the key that takes most, the longest away."""
        if not self._full:
            return
        taken: Counter[str] = Counter()
        for (principal, _), remembered in self._sessions.items():
            taken[principal] += remembered.client.held
        away: defaultdict[str, deque[tuple[str, str]]] = defaultdict(deque)
        for name in self._away:
            away[name[0]].append(name)
        most = [(-taken[principal], principal) for principal in away]
        heapify(most)
        while self._full and most:
            minus, principal = heappop(most)
            name = away[principal].popleft()
            minus += self._sessions[name].client.held
            log.info("session_forgotten", principal=principal, reason="max_total_bytes")
            self._forget(name)
            if away[principal]:
                heappush(most, (minus, principal))

    def _new(self, principal: Principal, name: tuple[str, str], after: int) -> SessionClient:
        bounds = self._bounds
        return SessionClient(
            principal=principal,
            session=Session(self._limits, resumable=True),
            kept=Kept(min(self._connection_bytes, bounds.max_session_bytes // 2)),
            epoch=self._new_epoch(),
            # A client that comes back to a session that is lost has numbers of the old one: none of ours is among them.
            sent=Sent(bounds.undo, start=after),
            max_bytes=bounds.max_session_bytes,
            ahead=self._ahead,
            shown=self._shown,
            on_left=partial(self._left, name),
            on_weighed=self._weighed,
            **self._members,
        )

    def _left(self, name: tuple[str, str]) -> None:
        self._away[name] = None
        remembered = self._sessions[name]
        remembered.timers = [
            self._call_later(self._bounds.detach_ttl, remembered.client.stop),
            self._call_later(self._bounds.resume_ttl, partial(self._forget, name)),
        ]

    def _weighed(self, more: int) -> None:
        self.held += more

    def _longest_away(self, principal: str | None = None) -> tuple[str, str] | None:
        return next((name for name in self._away if principal in (None, name[0])), None)

    def _make_room(self, principal: str) -> None:
        """For one more. There may be none to go, if several were admitted at once: then there is one too many."""
        if self._per_key[principal] >= self._bounds.max_sessions_per_key and (name := self._longest_away(principal)):
            self._forget(name)
        if len(self._sessions) >= self._bounds.max_sessions and (name := self._longest_away()):
            self._forget(name)

    def _forget(self, name: tuple[str, str]) -> None:
        remembered = self._sessions.pop(name)
        self._away.pop(name, None)
        self._per_key -= Counter({name[0]: 1})
        for timer in remembered.timers:
            timer.cancel()
        remembered.client.close()
        self.held -= remembered.client.held

    def _sweep(self) -> None:
        self.enforce()
        self._sweeper = self._call_later(SWEEP, self._sweep) if self._sessions else None
