"""A dispatcher with all its parts, for tests of single files and simulations: no rules, no learned router."""

import random
import time
from collections.abc import Callable
from typing import Any

from proxy.chooser import Chooser
from proxy.conversations import Conversations
from proxy.deadlines import Deadlines
from proxy.dispatcher import Dispatcher
from proxy.places import Places
from proxy.routing.breaker import Rules as BreakerRules
from proxy.routing.choosing import State
from proxy.routing.vitals import Vitals
from proxy.runtime import Runtime


def dispatcher(
    runtime: Callable[[], Runtime],
    *,
    deadlines: Deadlines = Deadlines(),  # noqa: B008  # it is frozen
    places: Places | None = None,
    vitals: Vitals | None = None,
    chooser: Chooser | None = None,
    now: Callable[[], float] = time.monotonic,
    dice: Callable[[], float] = random.random,
    **others: Any,
) -> Dispatcher:
    """One that asks the backends of `runtime`; what is not given is as a gateway has it by default."""
    vitals = vitals or Vitals(BreakerRules(), dice)
    state = State(vitals, Conversations(1800.0), dice)
    return Dispatcher(
        runtime=runtime,
        deadlines=deadlines,
        places=places or Places(seconds=deadlines.queue),
        vitals=vitals,
        chooser=chooser or Chooser(state=state, now=now),
        default_max_output_tokens=others.pop("default_max_output_tokens", 9),
        on_outcome=others.pop("on_outcome", ()),
        now=now,
        dice=dice,
        **others,
    )
