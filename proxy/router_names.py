"""The names of the router, auto, auto:PROFILE and router-NAME-THRESHOLD, and the sets of targets behind them. Pure."""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from msgspec import Struct

from proxy.choice_words import Sticky, Strategy

AUTO = "auto"
OF_PROFILE = "auto:"
BY_THRESHOLD = "router-"
SHIPPED = "streamlane"  # the router whose weights come along
ROUTELLM = ("mf", "sw_ranking", "bert", "causal_llm", "random")  # https://github.com/lm-sys/RouteLLM, routers.py

_THRESHOLD = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE]-?\d+)?", re.ASCII)


class Targets(Struct, frozen=True):
    """Targets that may stand for each other: BACKEND/MODEL each, or a single free/…; and how one of them is chosen."""

    name: str
    targets: tuple[str, ...]
    strategy: Strategy = "ordered"
    weights: tuple[float, ...] = ()
    sticky: Sticky = "none"


class Ladder(Struct, frozen=True):
    """Sets for the learned router to choose among, the weakest first, and the share of the calibrated mix of each."""

    sets: tuple[Targets, ...]
    shares: tuple[float, ...]


class Use(Struct, frozen=True):
    """Whom a rule asks. Each entry is BACKEND/MODEL, an alias, free/…, a set of the ladder, or alone a name of the
    router's.

    They are tried in order; with a `strategy` they are one set. Who costs more than `max_price`, in micro-dollars per
    million tokens of answer, is passed over.
    """

    name: str
    entries: tuple[str, ...]
    strategy: Strategy | None = None
    weights: tuple[float, ...] = ()
    sticky: Sticky = "none"
    max_price: int | None = None


class Router(Struct, frozen=True):
    """What the router's names lead to. `ladders` are by profile, that of plain "auto" under this name.

    `weights` are the names of the learned routers. `otherwise` is for auto where there is no ladder: the rule that is
    for whatever no other matches.
    """

    ladders: Mapping[str, Ladder] = MappingProxyType({})
    weights: tuple[str, ...] = (SHIPPED,)
    otherwise: Use | None = None

    def names(self) -> Iterator[str]:
        """Those that can be listed: each profile's, not each threshold's."""
        if AUTO in self.ladders or self.otherwise is not None:
            yield AUTO
        yield from (f"{OF_PROFILE}{profile}" for profile in self.ladders if profile != AUTO)

    def profile(self, name: str) -> str | None:
        """The profile that `name` asks for, if there is one."""
        profile = name.removeprefix(OF_PROFILE)
        return profile if profile in self.ladders and (name == AUTO) == (profile == AUTO) else None

    def threshold(self, name: str) -> tuple[str, float] | str:
        """The learned router that `name` asks for, and the score from which on the strongest set answers; or why there
        is none.
        """
        said = name.removeprefix(BY_THRESHOLD)
        known = next((each for each in self.weights if said.startswith(f"{each}-")), None)
        if known is not None:
            text = said.removeprefix(f"{known}-")
            good = _THRESHOLD.fullmatch(text) and 0 <= float(text) <= 1
            return (known, float(text)) if good else "the threshold is no number from 0 to 1"
        if (given := said.rpartition("-")[0] or said) in ROUTELLM:
            return f"'{given}' is a router of RouteLLM's, whose thresholds do not carry over to another"
        return "no router here has that name"

    def choices(self) -> list[str]:
        """All names, for who asked for a wrong one."""
        return [*(f"{BY_THRESHOLD}{each}-THRESHOLD" for each in self.weights), *self.names()]


NO_ROUTER = Router()


def is_router_name(name: str) -> bool:
    """Whether the router decides who answers to that name."""
    return name == AUTO or name.startswith((OF_PROFILE, BY_THRESHOLD))
