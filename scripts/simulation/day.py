"""The simulated day: five backends of different price, speed and failure, and who asks them."""

from __future__ import annotations

import random

from quota.price import Price
from scripts.simulation.backend import SimulatedBackend, Speed
from scripts.simulation.weather import HOUR, Spell, Weather, always, flaps

REQUESTS = 4000  # of 24 hours
WEIGHTS = (1.0, 2.0, 2.0, 2.0, 1.0)  # for `weighted`, in the order of `backends`
WHAT = {
    "gone": "the cheapest by its list; it answered yesterday",
    "steady": "the middle; slow for an hour and a half after noon",
    "attic": "a machine of ours: 2 answers at once; its power costs",
    "budget": "cheap and slow; 6 requests a minute, then 429",
    "swift": "dear and quick; down for some minutes now and then",
}


def price(of_input: float, of_output: float) -> Price:
    """In dollars per million tokens; what a cache holds costs a quarter."""
    return Price(round(of_input * 1e6), round(of_output * 1e6), round(of_input * 25e4), "invented", "")


def backends(seed: int, hours: float) -> tuple[SimulatedBackend, ...]:
    """In the order in which the operator wrote them down. They need a running loop."""
    dice = random.Random(f"{seed}/weather")
    brown = Weather([Spell(13 * HOUR, 14.5 * HOUR, "slow", 6.0)])
    swift = flaps(dice, hours * HOUR, up=2.5 * HOUR, down=300, kind="failing")
    return (
        SimulatedBackend("gone", price=price(0.02, 0.05), weather=always("silent"), seed=seed),
        SimulatedBackend(
            "steady", speed=Speed(first=0.6, prefill=6000, pace=60), price=price(0.5, 1.5), weather=brown, seed=seed
        ),
        SimulatedBackend(
            "attic",
            speed=Speed(first=0.5, prefill=1500, pace=35, most=55),
            price=price(0.04, 0.12),
            slots=2,
            room=2,
            seed=seed,
        ),
        SimulatedBackend(
            "budget", speed=Speed(first=1.4, prefill=3000, pace=30), price=price(0.10, 0.40), per_minute=6, seed=seed
        ),
        SimulatedBackend(
            "swift", speed=Speed(first=0.25, prefill=12000, pace=150), price=price(3, 12), weather=swift, seed=seed
        ),
    )
