"""Who asks what, and when: conversations of several users, drawn before the day begins, the same for every strategy."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from scripts.simulation.weather import HOUR

Work = Literal["interactive", "agent", "batch"]
LONGEST = 1500  # tokens of an answer, and the max_output_tokens of every request
SHARES: tuple[tuple[Work, float], ...] = (("interactive", 0.75), ("agent", 0.25))
TURNS = {"interactive": 3.0, "agent": 8.0, "batch": 1.0}  # of a conversation, on average
THINKING = {"interactive": 40.0, "agent": 0.5, "batch": 0.0}  # median seconds between an answer and the next question
PROMPT = {"interactive": 120, "agent": 500, "batch": 900}  # median tokens of a question, tool results included
ANSWER = {"interactive": 450, "agent": 260, "batch": 500}  # median tokens
PATIENCE = {"interactive": 30.0, "agent": 60.0, "batch": 600.0}  # seconds until the first token; then they leave
NIGHT, AT_ONCE = 2 * HOUR, 4  # when the batch begins, and how many of its requests are asked at once


@dataclass(frozen=True)
class Turn:
    """One question after `think` seconds. `prompt` and `answer` are in tokens."""

    think: float
    prompt: int
    answer: int


@dataclass(frozen=True)
class Talk:
    """One conversation, from its first question on. `begins` is in seconds of the day. What comes later than
    `deadline_ms`, counted to the first token, is of no use to them.
    """

    name: str
    begins: float
    user: str
    work: Work
    turns: tuple[Turn, ...]
    deadline_ms: int | None = None


def shape(hour: float) -> float:
    """How busy an hour is, 1 on average: a quiet night, a peak before noon and one in the afternoon."""
    hour %= 24
    return 0.12 + 2.2 * bump(hour, 10.5, 1.9) + 2.6 * bump(hour, 15.5, 2.2) + 0.7 * bump(hour, 20.5, 1.5)


def bump(hour: float, at: float, width: float) -> float:
    """1 at `at`, and less the farther away."""
    return math.exp(-(((hour - at) / width) ** 2) / 2)


def talks(dice: random.Random, hours: float, requests: int, users: int = 20, batch: float = 0.08) -> list[Talk]:
    """About `requests` requests in `hours`; the part `batch` of them is one user's, in the night. In order."""
    found = [*conversations(dice, hours, requests * (1 - batch), users), *nightly(dice, hours, round(requests * batch))]
    return sorted(found, key=lambda each: each.begins)


def conversations(dice: random.Random, hours: float, requests: float, users: int) -> Iterator[Talk]:
    """Those of people and of programs: users ask at random, a few of them much more than the others."""
    turns = sum(share * TURNS[work] for work, share in SHARES)
    samples = [shape(hours * (step + 0.5) / 1000) for step in range(1000)]
    rate = requests / turns / (hours * HOUR) / (sum(samples) / len(samples))
    most = rate * max(samples)
    names, weights = [f"user-{number}" for number in range(1, users + 1)], [1 / n for n in range(1, users + 1)]
    now = dice.expovariate(most)
    number = 0
    while now < hours * HOUR:
        if dice.random() * most < rate * shape(now / HOUR):
            number += 1
            [work] = dice.choices([work for work, _ in SHARES], [share for _, share in SHARES])
            count = 1 + geometric(dice, TURNS[work] - 1)
            [user] = dice.choices(names, weights)
            yield Talk(f"talk-{number}", now, user, work, tuple(turn(dice, work, each) for each in range(count)))
        now += dice.expovariate(most)


def nightly(dice: random.Random, hours: float, requests: int) -> Iterator[Talk]:
    """What one user has left for the night: lists of questions that are asked one after the other."""
    if hours * HOUR <= NIGHT or not requests:
        return
    for number in range(AT_ONCE):
        turns = tuple(turn(dice, "batch", 0) for _ in range(requests // AT_ONCE))
        yield Talk(f"night-{number + 1}", NIGHT, "night", "batch", turns)


def turn(dice: random.Random, work: Work, number: int) -> Turn:
    """The first one begins the conversation, so nobody thinks before it."""
    think = THINKING[work] * spread(dice, 0.8) if number else 0.0
    return Turn(
        think, round(PROMPT[work] * spread(dice, 0.7)) + 20, min(LONGEST, round(ANSWER[work] * spread(dice, 0.7)) + 5)
    )


def spread(dice: random.Random, sigma: float) -> float:
    """A factor whose median is 1, with a long tail."""
    return math.exp(dice.gauss(0.0, sigma))


def geometric(dice: random.Random, mean: float) -> int:
    """0, 1, 2, …, `mean` on average."""
    return int(math.log(1 - dice.random()) / math.log(mean / (1 + mean))) if mean > 0 else 0
