"""The ledger's time follows the wall clock, and no jump of it that nobody confirms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota.clock import AGREES, CONFIRMS, Clock, elapsed, wall
from quota.pool import DAY, HOUR, SECOND, Micros

START: Micros = 1_800_000_000 * SECOND


class Machine:
    """A machine's two clocks, and the ledger's on it."""

    def __init__(self) -> None:
        self.wall, self.passed = START, 77
        self.clock = Clock(lambda: self.wall, lambda: self.passed)

    def pass_(self, time: Micros, wall: Micros | None = None) -> None:
        self.passed += time
        self.wall += time if wall is None else wall


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_it_follows_the_wall_as_it_is_slewed(machine: Machine) -> None:
    for _ in range(10):
        machine.pass_(HOUR, HOUR + SECOND)
        assert machine.clock.now() == machine.wall
    assert machine.wall == START + 10 * (HOUR + SECOND)


def test_sleep_counts(machine: Machine) -> None:
    machine.pass_(3 * DAY)
    assert machine.clock.now() == START + 3 * DAY
    assert not machine.clock.jumped


@pytest.mark.parametrize("jump", [DAY, AGREES + 1, -AGREES - 1, -DAY])
def test_a_jump_is_not_followed(machine: Machine, jump: Micros) -> None:
    machine.pass_(HOUR, HOUR + jump)
    assert machine.clock.now() == START + HOUR
    assert machine.clock.jumped
    machine.pass_(DAY)
    assert machine.clock.now() == START + HOUR + DAY  # however long it stays so


def test_a_date_that_agrees_confirms_a_jump_forward(machine: Machine) -> None:
    """A virtual machine stood still: nothing passed, and the wall was set when it went on."""
    machine.pass_(0, 5 * HOUR)
    assert machine.clock.now() == START
    machine.clock.confirm(machine.wall - SECOND)
    assert not machine.clock.jumped
    assert machine.clock.now() == START + 5 * HOUR


def test_after_a_confirmed_jump_back_time_stands(machine: Machine) -> None:
    machine.pass_(0, -HOUR)
    machine.clock.confirm(machine.wall)
    assert machine.clock.now() == START
    machine.pass_(HOUR)
    assert machine.clock.now() == START
    machine.pass_(SECOND)
    assert machine.clock.now() == START + SECOND


@pytest.mark.parametrize("off", [DAY, CONFIRMS + 1, -CONFIRMS - 1])
def test_a_date_alone_moves_nothing(machine: Machine, off: Micros) -> None:
    machine.pass_(0, DAY // 2)
    machine.clock.confirm(machine.wall + off)
    assert machine.clock.now() == START


def test_a_jump_that_is_taken_back_leaves_no_trace(machine: Machine) -> None:
    machine.pass_(SECOND, DAY)
    assert machine.clock.now() == START + SECOND
    machine.pass_(SECOND, 2 * SECOND - DAY)
    assert machine.clock.now() == START + 2 * SECOND
    assert not machine.clock.jumped


@given(
    st.lists(
        st.tuples(
            st.integers(0, DAY),
            st.one_of(st.just(0), st.integers(-DAY, DAY)),
            st.one_of(st.none(), st.integers(0, DAY)),
        )
    )
)
def test_time_never_goes_back_and_never_outruns(moves: list[tuple[Micros, Micros, Micros | None]]) -> None:
    machine = Machine()
    latest = machine.clock.now()
    for passes, jump, date_off in moves:
        machine.pass_(passes, passes + jump)
        if date_off is not None:
            machine.clock.confirm(machine.wall - date_off)
        now = machine.clock.now()
        confirmed = date_off is not None and date_off <= CONFIRMS
        assert latest <= now
        assert now <= latest + passes + AGREES or confirmed
        latest = now


def test_the_machines_own_clocks() -> None:
    clock = Clock()
    before = wall()
    assert clock.now() >= before
    passed = elapsed()
    assert elapsed() >= passed
