"""The whole dispatcher in virtual time: what callers pay for dead, slow, busy and dear backends, and what is left."""

import asyncio
import dataclasses
import logging
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import get_args

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.retry import MOST_ATTEMPTS
from proxy.routing.hedging import Hedges
from proxy.runtime import Route, Sticky, Strategy
from quota.price import Price
from scripts.simulation.backend import SimulatedBackend, Speed
from scripts.simulation.traffic import Talk, Turn, Work, talks
from scripts.simulation.virtual_time import virtually
from scripts.simulation.weather import HOUR, Kind, Spell, Weather, always
from scripts.simulation.world import Ended, World


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of attempts fail here; a line of log for each would take longer than all the rest."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
MINUTE = 60.0
QUICK = Speed(first=0.3, pace=100, jitter=0.1)


def steadily(
    every: float, until: float, since: float = 0.0, answer: int = 50, work: Work = "interactive"
) -> list[Talk]:
    """One question after the other, each from somebody else."""
    count = int((until - since) / every)
    return [
        Talk(f"talk-{number}", since + number * every, f"user-{number % 7}", work, (Turn(0.0, 40, answer),))
        for number in range(count)
    ]


def lived(
    backends: Callable[[], Sequence[SimulatedBackend]],
    people: Sequence[Talk],
    strategy: Strategy = "ordered",
    weights: tuple[float, ...] = (),
) -> World:
    """What became of them."""

    async def live() -> World:
        world = World(backends(), strategy, weights=weights)
        await world.day(people)
        return world

    return virtually(live())


def attempts(world: World) -> Mapping[str, Counter[str]]:
    """Of each request: how often it asked which backend. Who asks one alone may ask it again, after a wait."""
    made: dict[str, Counter[str]] = defaultdict(Counter)
    for backend in world.backends:
        for asked in backend.asked:
            made[asked.request][backend.name] += 1
    return made


def waits(ended: Sequence[Ended]) -> list[float]:
    """Seconds to the first token, in order."""
    return sorted(each.waited for each in ended if each.waited is not None)


def p95(ended: Sequence[Ended]) -> float:
    found = waits(ended)
    return found[int(len(found) * 0.95)]


def nothing_is_left(world: World) -> None:
    """No call, no place, no line."""
    assert len(world.outcomes) == len(world.ended)
    assert len({each.request_id for each in world.outcomes}) == len(world.outcomes)
    for backend in world.backends:
        assert (backend.running, backend.waiting) == (0, 0), backend.name
    for name, gate in world.places.gates().items():
        assert (gate.running, gate.waiting) == (0, 0), name


@pytest.mark.parametrize(
    ("strategy", "kind"), [*((each, "silent") for each in STRATEGIES), ("ordered", "refused"), ("weighted", "refused")]
)
def test_no_request_pays_for_a_backend_that_is_dead_from_the_start(strategy: Strategy, kind: Kind) -> None:
    """After the first few, that is: before a probe, or their failures, have told."""

    def backends() -> list[SimulatedBackend]:
        dead = SimulatedBackend("dead", weather=always(kind), price=Price(0, 0))
        return [dead, SimulatedBackend("well", speed=QUICK, price=Price(9, 9))]

    world = lived(backends, steadily(5.0, 12 * MINUTE), strategy)
    assert {each.how for each in world.ended} == {"answered"}
    first, late = world.ended[:10], world.ended[10:]
    asked = {each.request for each in world.backends[0].asked}
    assert asked <= {each.name for each in first}
    assert max(waits(late)) < 1.0


@pytest.mark.parametrize("kind", ["failing", "stalling"])
def test_a_backend_of_which_no_probe_says_that_it_is_dead_is_asked_seldom(kind: Kind) -> None:
    """A request has to find out: one at a time, and ever more seldom."""

    def backends() -> list[SimulatedBackend]:
        return [SimulatedBackend("dead", weather=always(kind)), SimulatedBackend("well", speed=QUICK)]

    world = lived(backends, steadily(4.0, 20 * MINUTE))
    assert {each.how for each in world.ended} == {"answered"}
    asked = [each for each in world.backends[0].asked if each.came > 5 * MINUTE]
    assert 1 <= len(asked) <= 15
    for one, following in pairwise(asked):
        assert following.came - one.left > 30, "one probe at a time, and seldom"


def test_callers_who_leave_a_backend_that_hangs_spare_the_others() -> None:
    """They have less patience than any deadline; from the fifth on it is known that nobody is answered there."""

    def backends() -> list[SimulatedBackend]:
        return [SimulatedBackend("hanging", weather=always("hanging")), SimulatedBackend("well", speed=QUICK)]

    world = lived(backends, steadily(4.0, 20 * MINUTE))
    hows = Counter(each.how for each in world.ended)
    assert set(hows) == {"answered", "left"}
    assert hows["left"] <= 25


def test_a_target_that_is_alone_and_dead_is_refused_at_once_and_found_again() -> None:
    dies, heals = 10 * MINUTE, 40 * MINUTE
    weather = Weather([Spell(dies, heals, "silent")])
    world = lived(lambda: [SimulatedBackend("only", speed=QUICK, weather=weather)], steadily(3.0, HOUR))
    [only] = world.backends
    while_open = [each for each in world.ended if dies + 3 * MINUTE < each.came < heals]
    assert {each.how for each in while_open} == {"refused"}
    at_once = [each for each in while_open if each.ended - each.came < 0.01]
    assert len(at_once) >= len(while_open) * 0.95
    asked = [each for each in only.asked if dies + 3 * MINUTE < each.came < heals]
    assert len(asked) < 60, "probes come seldom"
    for one, following in pairwise(asked):
        assert one.left <= following.came, "one probe at a time"
    later = [each for each in world.ended if each.came > heals + 3 * MINUTE]
    assert later
    assert {each.how for each in later} == {"answered"}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_request_asks_a_target_twice_and_attempts_are_bounded(strategy: Strategy) -> None:
    dice = random.Random(5)

    def backends() -> list[SimulatedBackend]:
        spells = [
            Spell(begin * MINUTE, (begin + 3) * MINUTE, kind)
            for begin, kind in zip(range(2, 60, 5), ["failing", "full", "silent", "hanging"] * 3, strict=True)
        ]
        return [
            SimulatedBackend("one", weather=Weather(spells), price=Price(1, 1)),
            SimulatedBackend("two", per_minute=3, price=Price(2, 2)),
            SimulatedBackend("three", room=1, price=Price(3, 3)),
            SimulatedBackend(
                "four", weather=Weather(Spell(each.begins + 60, each.ends + 60, each.kind) for each in spells)
            ),
            SimulatedBackend("five", weather=always("refused")),
        ]

    world = lived(backends, talks(dice, 1.0, 160, batch=0), strategy)
    made = attempts(world)
    assert len(made) > 80
    assert all(max(each.values()) == 1 for each in made.values() if len(each) > 1)
    assert 1 < max(each.total() for each in made.values()) <= MOST_ATTEMPTS
    nothing_is_left(world)


def test_a_backend_that_has_recovered_is_given_its_share_slowly() -> None:
    heals = 10 * MINUTE

    def backends() -> list[SimulatedBackend]:
        weather = Weather([Spell(0.0, heals, "refused")])
        return [SimulatedBackend("sick", speed=QUICK, weather=weather), SimulatedBackend("well", speed=QUICK)]

    world = lived(backends, steadily(0.5, 18 * MINUTE, since=9 * MINUTE, answer=10), "round_robin")
    answers = [each for each in world.ended if each.how == "answered"]
    healed = min(each.came for each in answers if each.backend == "sick")
    assert healed < heals + 2 * MINUTE

    def share(since: float, until: float) -> float:
        of = [each.backend for each in answers if healed + since <= each.came < healed + until]
        return of.count("sick") / len(of)

    assert share(0, 8) < 0.35
    assert share(300, 400) == pytest.approx(0.5, abs=0.05)


def test_what_a_429_says_is_obeyed() -> None:
    def backends() -> list[SimulatedBackend]:
        return [
            SimulatedBackend("limited", speed=QUICK, per_minute=5, price=Price(1, 1)),
            SimulatedBackend("other", speed=QUICK, price=Price(9, 9)),
        ]

    world = lived(backends, steadily(1.5, 12 * MINUTE), "lowest_cost")
    limited = world.backends[0]
    refusals = [each for each in limited.asked if each.how == "limited"]
    assert 9 <= len(refusals) <= 13, "one of a minute tells all"
    for refusal in refusals:
        until = (refusal.came // 60 + 1) * 60
        assert not [each for each in limited.asked if refusal.left < each.came < until]
    assert sum(each.how == "well" for each in limited.asked) >= 54, "what it allows is used"
    assert {each.how for each in world.ended} == {"answered"}


def test_least_busy_is_quicker_than_round_robin_when_one_backend_is_slow() -> None:
    def backends() -> list[SimulatedBackend]:
        return [
            SimulatedBackend("slow", speed=Speed(first=1.0, pace=6, jitter=0.1), slots=4, room=4),
            SimulatedBackend("one", speed=QUICK, slots=4, room=4),
            SimulatedBackend("two", speed=QUICK, slots=4, room=4),
        ]

    people = steadily(0.6, 5 * MINUTE, answer=80)
    slow, quick = lived(backends, people, "round_robin"), lived(backends, people, "least_busy")
    assert p95(quick.ended) < p95(slow.ended) / 2
    assert len(waits(quick.ended)) >= len(waits(slow.ended))


def test_lowest_latency_finds_the_quick_one() -> None:
    def backends() -> list[SimulatedBackend]:
        return [
            SimulatedBackend("slow", speed=Speed(first=2.0)),
            SimulatedBackend("quick", speed=QUICK),
            SimulatedBackend("middle", speed=Speed(first=0.9)),
        ]

    world = lived(backends, steadily(2.0, 12 * MINUTE), "lowest_latency")
    last = [each.backend for each in world.ended[-200:]]
    assert last.count("quick") >= 160


def test_lowest_cost_spends_least() -> None:
    def backends() -> list[SimulatedBackend]:
        return [
            SimulatedBackend("dear", speed=QUICK, price=Price(3_000_000, 12_000_000)),
            SimulatedBackend("cheap", speed=Speed(first=1.0), price=Price(100_000, 400_000)),
            SimulatedBackend("unpriced", speed=QUICK),
            SimulatedBackend("middle", speed=QUICK, price=Price(500_000, 1_500_000)),
        ]

    people = steadily(3.0, 5 * MINUTE)
    spent = {each: sum(ended.cost for ended in lived(backends, people, each).ended) for each in STRATEGIES}
    assert (
        0
        < spent["lowest_cost"]
        <= min(spent["ordered"], spent["weighted"], spent["two_choices"], spent["least_busy"]) / 2
    )
    world = lived(backends, people, "lowest_cost")
    assert {each.backend for each in world.ended} == {"cheap"}, "what is unknown is not taken for free"


SPELLS = st.lists(
    st.tuples(
        st.floats(0, 300),
        st.floats(1, 120),
        st.sampled_from(["refused", "silent", "failing", "hanging", "full", "slow"]),
    ),
    max_size=4,
)


def apart(drawn: Sequence[tuple[float, float, Kind]]) -> Iterator[Spell]:
    """One after the other."""
    end = 0.0
    for gap, length, kind in drawn:
        yield Spell(end + gap, end + gap + length, kind, 5.0 if kind == "slow" else 1.0)
        end += gap + length


@settings(max_examples=10)
@given(
    strategy=st.sampled_from(STRATEGIES),
    weather=st.lists(SPELLS, min_size=1, max_size=4),
    rooms=st.lists(st.sampled_from([None, 1, 2]), min_size=4, max_size=4),
    limits=st.lists(st.sampled_from([None, None, 4]), min_size=4, max_size=4),
    cancels=st.lists(st.floats(0.0, 25.0), min_size=1, max_size=40),
    sticky=st.sampled_from(get_args(Sticky)),
    sets=st.integers(1, 3),
    hedges=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_every_call_ends_once_and_nothing_is_left_over(
    *,
    strategy: Strategy,
    weather: list[list[tuple[float, float, Kind]]],
    rooms: list[int | None],
    limits: list[int | None],
    cancels: list[float],
    sticky: Sticky,
    sets: int,
    hedges: bool,
    seed: int,
) -> None:
    """Callers leave at random moments, while backends fail at random; afterwards each backend is found well again."""
    dice = random.Random(seed)

    async def live() -> None:
        backends = [
            SimulatedBackend(
                f"backend-{number}",
                weather=Weather(apart(spells)),
                slots=rooms[number],
                room=rooms[number] or 50,
                per_minute=limits[number],
                seed=seed,
            )
            for number, spells in enumerate(weather)
        ]
        rivals = Hedges(0.5, 1.0) if hedges else None
        world = World(backends, strategy, sticky=sticky, hedges=rivals, seed=seed)
        [among] = world.route.sets
        parts = [among.candidates[number::sets] for number in range(sets)]
        world.route = Route(tuple(replace(among, name=part[0].model, candidates=part) for part in parts if part))
        loop = asyncio.get_running_loop()
        now, unheard = loop.time, list[object]()
        loop.set_exception_handler(lambda _, context: unheard.append(context))
        async with asyncio.TaskGroup() as people:
            for number in range(60):
                await asyncio.sleep(dice.expovariate(0.5))
                [talk] = steadily(1.0, 1.0, answer=dice.randint(1, 200))
                deadline = dice.choice((None, None, 3000))
                caller = people.create_task(
                    world.talk(dataclasses.replace(talk, name=f"{number}", begins=now(), deadline_ms=deadline))
                )
                if dice.random() < 0.5:
                    loop.call_later(dice.choice(cancels), caller.cancel)
        assert len(world.outcomes) == 60, "one outcome for each call"
        assert len({each.request_id for each in world.outcomes}) == 60
        for backend in backends:
            assert (backend.running, backend.waiting) == (0, 0)
        for gate in world.places.gates().values():
            assert (gate.running, gate.waiting) == (0, 0)
        assert all(max(each.values()) == 1 for each in attempts(world).values() if len(each) > 1)
        # No probe, no place, no cooldown outlives its time: all are well now, and each answers when it is alone.
        await asyncio.sleep(max(0.0, 2500 - now()))
        await found_again(world)
        assert not unheard

    virtually(live())


async def found_again(world: World) -> None:
    """Each backend answers when it is the only one; who was broken may need a probe before it does."""
    for backend in world.backends:
        alone = World.__new__(World)
        alone.__dict__.update(world.__dict__)
        alone.route = world.route.only(lambda each, backend=backend: each.backend is backend)
        for number in range(3):
            [talk] = steadily(1.0, 1.0)
            await alone.talk(Talk(f"again-{backend.name}-{number}", 0.0, "user", "interactive", talk.turns))
            await asyncio.sleep(70)
        assert alone.ended[-1].how == "answered", backend.name


def test_when_both_of_a_hedged_request_fail_the_caller_hears_of_it() -> None:
    async def live() -> World:
        backends = [
            SimulatedBackend("silent", weather=always("silent")),
            SimulatedBackend("full", weather=always("full")),
        ]
        world = World(backends, hedges=Hedges(1.0, 1.0))
        await world.talk(*steadily(1.0, 1.0))
        return world

    world = virtually(live())
    assert [each.how for each in world.ended] == ["refused"]
    assert {each.backend for each in world.outcomes[0].failed_attempts} | {world.outcomes[0].backend} == {
        "silent",
        "full",
    }
