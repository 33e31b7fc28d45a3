"""The figures that the learned router must reach, on the outcomes that come with it. Takes a minute or two."""

from pathlib import Path

import pytest

from proxy.learned import evaluation
from proxy.learned.evaluation import BENCH, GROUPS, IN_DOMAIN, LITTLE, UNGUARDED, Line, Report
from proxy.learned.labels import as_rows
from proxy.learned.measures import Prices
from proxy.learned.rows import read

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

OUTCOMES = Path(__file__).parents[4] / "scripts" / "router" / "outcomes.jsonl.xz"
EXAMS = ("gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1")
HARDER = ("gemini-1.5-pro", "llama-3.1-8b-it")


def evaluated(strong: str, weak: str) -> Report:
    from proxy.learned.learner import Learner

    rows = read(OUTCOMES)
    table = as_rows(rows, strong, weak)
    planned = evaluation.splits(table, ())
    return evaluation.evaluate(table, Learner(rows, strong, weak).fit, planned, (), Prices())


@pytest.fixture(scope="module")
def exams() -> Report:
    return evaluated(*EXAMS)


def line(report: Report, protocol: str, bench: str) -> Line:
    [found] = [each for each in report.lines if (each.protocol, each.bench) == (protocol, bench)]
    return found


def test_the_order_of_exam_questions_recovers_most_of_the_gap(exams: Report) -> None:
    """RouteLLM's own routers have 0.57 to 0.60, a random order 0.5."""
    assert line(exams, IN_DOMAIN, "mmlu").apgr.value >= 0.65
    assert line(exams, LITTLE, "mmlu").apgr.value >= 0.62
    assert line(exams, GROUPS, "mmlu").apgr.value >= 0.60


def test_half_of_the_price_is_saved_at_95_percent_of_the_quality(exams: Report) -> None:
    assert line(exams, IN_DOMAIN, "mmlu + gsm8k").saving95.value >= 0.50


def test_an_unknown_benchmark_is_not_routed_worse_than_by_chance(exams: Report) -> None:
    for report, benches in ((exams, ("mmlu", "gsm8k")), (evaluated(*HARDER), ("mmlu_pro",))):
        for bench in benches:
            assert line(report, UNGUARDED, bench).apgr.low >= 0.45
            assert line(report, BENCH, bench).apgr.low >= 0.45
            assert line(report, BENCH, bench).apgr.value >= 0.49


def test_a_strong_share_is_kept_on_the_same_mix(exams: Report) -> None:
    assert [share.wanted for share in exams.shares] == [0.2, 0.5, 0.8]
    assert all(abs(share.got - share.wanted) <= 0.02 for share in exams.shares)


def test_scores_are_probabilities(exams: Report) -> None:
    assert exams.calibration_error <= 0.03
