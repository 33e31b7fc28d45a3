"""What chooses who answers, as the configuration has it. Learned weights are read only where a model name asks them."""

import random
from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from backends.base import Backend, Load
from proxy.backend_state import BackendState
from proxy.chooser import Chooser, Scorer
from proxy.config_router import Router
from proxy.conversations import Conversations
from proxy.places import Places
from proxy.ports import StartError
from proxy.router_names import SHIPPED
from proxy.routing.choosing import State
from proxy.routing.strategies import Busy
from proxy.routing.vitals import Vitals

if TYPE_CHECKING:
    from collections.abc import Sequence

STICKY = 1800.0  # seconds that a conversation stays where it was: a prompt cache is rarely kept longer


def busy_with(places: Places, states: Callable[[], "Sequence[BackendState]"]) -> Callable[[Backend], Busy]:
    """How busy a backend is: by our own places, and by what its server says where it does."""

    def load_of(name: str) -> Load | None:
        return next((each.load for each in states() if each.name == name), None)

    def busy(backend: Backend) -> Busy:
        gate = places.gate(backend)
        full = gate.running >= gate.limit
        wait = gate.wait(gate.waiting + 1) if full else 0.0
        return Busy(gate.running, gate.waiting, gate.limit, wait, load_of(backend.name))

    return busy
