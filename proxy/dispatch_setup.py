"""The dispatcher and who chooses for it, as the configuration has them. Learned weights are read only for a ladder."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

import msgspec

from backends.base import Backend, Load
from proxy import configured_router
from proxy.chooser import NO_SCORERS, Chooser, Scorer
from proxy.config import Config
from proxy.config_router import Router
from proxy.conversations import Conversations
from proxy.deadlines import Deadlines
from proxy.discovery import Discovery
from proxy.dispatcher import Dispatcher
from proxy.outcome import Outcome
from proxy.places import Places
from proxy.ports import StartError
from proxy.router_names import SHIPPED
from proxy.routing.choosing import State
from proxy.routing.hedging import Hedges
from proxy.routing.rules import Rules
from proxy.routing.strategies import Busy
from proxy.routing.vitals import Vitals
from proxy.spending import Spending

if TYPE_CHECKING:
    from proxy.learned.router import PairRouter

STICKY = 1800.0  # seconds that a conversation stays where it was: a prompt cache is rarely kept longer


class Quantiles(msgspec.Struct):
    """What is used of a file that `streamlane router calibrate` wrote."""

    version: Literal[1]
    router_hash: str
    strong: str
    weak: str
    quantiles: tuple[float, ...]


def dispatcher_of(
    config: Config,
    discovery: Discovery,
    *,
    rules: Rules,
    vitals: Vitals,
    places: Places,
    spending: Spending | None,
    on_outcome: Sequence[Callable[[Outcome], None]],
) -> Dispatcher:
    """Runs calls as the configuration says. Raises StartError."""
    waits, router = config.deadlines, config.router
    return Dispatcher(
        runtime=lambda: discovery.runtime,
        deadlines=Deadlines(
            queue=waits.queue,
            first_event=waits.first_event,
            idle=waits.idle,
            total=waits.total,
            retry=waits.retry,
        ),
        places=places,
        vitals=vitals,
        chooser=chooser_of(config, rules, vitals, places, discovery.load),
        default_max_output_tokens=config.limits.default_max_output_tokens,
        on_outcome=on_outcome,
        spending=spending,
        hedges=None if router.hedge_after is None else Hedges(router.hedge_share, router.hedge_after),
    )


def chooser_of(
    config: Config, rules: Rules, vitals: Vitals, places: Places, load: Callable[[str], Load | None]
) -> Chooser:
    """Chooses as the configuration says. Raises StartError."""
    options = config.router
    state = State(vitals, Conversations(STICKY), random.random, busy_with(places, load), config.privacy.own_backends)
    language = None
    if rules.ask_language:
        from proxy.routing.language import language_detector  # noqa: PLC0415  # it takes a second and 100 MB

        language = language_detector()
    return Chooser(
        state=state,
        rules=rules,
        groups=configured_router.groups(options),
        scorers=scorers_of(options),
        language=language,
        at=partial(datetime.now, ZoneInfo(options.timezone)),
    )


def scorers_of(options: Router) -> Mapping[str, Scorer]:
    """The learned routers by name: that of the ladders, and those of router-NAME-THRESHOLD. Raises StartError."""
    if not configured_router.router(options).ladders:
        return NO_SCORERS
    found: dict[str, Scorer] = {SHIPPED: scorer_of(options.weights_file, options, options.calibration)}
    for name, path in options.names.items():
        found[name] = scorer_of(path, None, None)
    return found


def scorer_of(path: Path | None, heads: Router | None, calibration: Path | None) -> Scorer:
    """One learned router, with the heads that the configuration names, if any. Raises StartError."""
    from proxy.learned.router import LearnedRouter, WeightsUnusable  # noqa: PLC0415  # with numpy
    from proxy.scorer import LearnedScorer  # noqa: PLC0415

    try:
        learned = LearnedRouter.load(path)
        pair = learned.pair(heads.strong_model, heads.weak_model) if heads else learned.pair()
    except WeightsUnusable as error:
        raise StartError(f"[router]: {error}") from None
    except ValueError as error:
        raise StartError(f"[router] strong_model, weak_model: {error}.") from None
    return LearnedScorer(pair, None if calibration is None else quantiles_of(calibration, learned.hash, pair))


def quantiles_of(path: Path, router_hash: str, pair: "PairRouter") -> Sequence[float]:
    """Those of a calibration file for these weights and models. Raises StartError."""
    again = "Write it anew with streamlane router calibrate, or take [router] calibration out."
    try:
        made = msgspec.json.decode(path.read_bytes(), type=Quantiles)
    except OSError as error:
        raise StartError(f"[router] calibration: {path} cannot be read ({error.strerror}). {again}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StartError(f"[router] calibration: {path} holds no calibration ({error}). {again}") from None
    if made.router_hash != router_hash:
        raise StartError(f"[router] calibration: {path} was made for other weights. {again}")
    if (made.strong, made.weak) != (pair.strong, pair.weak):
        told = (
            f"made for {made.strong} and {made.weak}, and strong_model and weak_model are {pair.strong} and {pair.weak}"
        )
        raise StartError(f"[router] calibration: {path} was {told}. {again}")
    if len(made.quantiles) < 2 or list(made.quantiles) != sorted(made.quantiles):
        raise StartError(f"[router] calibration: the quantiles of {path} are not in order. {again}")
    return made.quantiles


def busy_with(places: Places, load: Callable[[str], Load | None]) -> Callable[[Backend], Busy]:
    """How busy a backend is: by our own places, and by what its server says where it does."""

    def busy(backend: Backend) -> Busy:
        gate = places.gate(backend)
        wait = gate.wait(gate.waiting + 1) if gate.running >= gate.limit else 0.0
        return Busy(gate.running, gate.waiting, gate.limit, wait, load(backend.name))

    return busy


def watched(vitals: Vitals) -> Callable[[str, bool | None, str], None]:
    """Tells the vitals what probes say of backends."""
    return lambda backend, up, why: vitals.probed(backend, up, time.monotonic(), why)
