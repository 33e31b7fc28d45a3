"""Tickets let in once, for a while, and never more of them are kept than a number."""

import pytest

from proxy.edge.tickets import Tickets
from proxy.outcome import Principal

ANNA, BEN = Principal("anna"), Principal("ben")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_ticket_lets_its_principal_in_once(clock: Clock) -> None:
    tickets = Tickets(now=clock)
    annas, bens = tickets.issue(ANNA), tickets.issue(BEN)
    assert tickets.redeem(bens) == BEN
    assert tickets.redeem(annas) == ANNA
    assert tickets.redeem(annas) is None
    assert tickets.redeem("") is None


def test_a_ticket_is_good_until_its_time_is_over(clock: Clock) -> None:
    tickets = Tickets(now=clock, seconds=30)
    early, late = tickets.issue(ANNA), tickets.issue(ANNA)
    clock.now += 29.9
    assert tickets.redeem(early) == ANNA
    clock.now += 0.1
    assert tickets.redeem(late) is None


def test_the_oldest_goes_when_there_are_too_many(clock: Clock) -> None:
    tickets = Tickets(now=clock, limit=3)
    issued = [tickets.issue(ANNA) for _ in range(5)]
    assert len(tickets) == 3
    assert [tickets.redeem(ticket) for ticket in issued] == [None, None, ANNA, ANNA, ANNA]


def test_who_asks_for_many_takes_nothing_from_the_others(clock: Clock) -> None:
    tickets = Tickets(now=clock, limit=10)
    bens = tickets.issue(BEN)
    annas = [tickets.issue(ANNA) for _ in range(100)]
    assert len(tickets) == 10
    assert tickets.redeem(bens) == BEN
    assert [tickets.redeem(ticket) for ticket in annas] == [None] * 91 + [ANNA] * 9


def test_expired_tickets_take_no_room(clock: Clock) -> None:
    tickets = Tickets(now=clock, seconds=30)
    for _ in range(10):
        tickets.issue(ANNA)
    clock.now += 31
    tickets.issue(ANNA)
    assert len(tickets) == 1


def test_tickets_are_long_all_different_and_fit_into_a_url(clock: Clock) -> None:
    tickets = Tickets(now=clock)
    issued = {tickets.issue(ANNA) for _ in range(1000)}
    assert len(issued) == 1000
    assert all(len(ticket) >= 43 and ticket.replace("-", "").replace("_", "").isalnum() for ticket in issued)


def test_what_is_kept_is_no_ticket(clock: Clock) -> None:
    tickets = Tickets(now=clock)
    ticket = tickets.issue(ANNA)
    assert ticket not in repr(vars(tickets))
