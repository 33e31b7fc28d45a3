"""How rows are split for an evaluation, and what a router that knows all, or nothing, gets out of it."""

from dataclasses import dataclass

import numpy as np
import pytest

from proxy.learned import evaluation
from proxy.learned.evaluation import BENCH, DRAWS, FEW, FOLDS, GROUPS, IN_DOMAIN, LITTLE, UNGUARDED, Rows
from proxy.learned.measures import Floats, Ints, Prices


def rows(size: int = 4000, seed: int = 0) -> Rows:
    """Rows of two benchmarks of a pair and of one that the pair did not answer; each question stands twice."""
    dice = np.random.default_rng(seed)
    key = np.arange(size) // 2
    bench = np.array(["exam", "exam", "exam", "maths", "other"])[dice.integers(0, 5, size)]
    ease = dice.random(size)
    strong, weak = ((dice.random(size) < chance).astype(np.float64) for chance in ((ease + 1) / 2, ease))
    strong[bench == "other"] = np.nan
    group = np.char.add("subject ", (key % 7).astype(str))
    return Rows(strong, weak, key, key % FOLDS, bench, group)


@dataclass
class Knows:
    """Scores with what a function says of the rows; its guard lets everything be the same."""

    said: Floats

    def scores(self, rows: Ints, *, guard: bool = True) -> Floats:
        return np.zeros(len(rows)) if guard else self.said[rows]

    def threshold(self, strong_share: float) -> float:
        return 0.0


ALL = rows()


def test_no_question_trains_and_tests() -> None:
    planned = evaluation.splits(ALL, ())
    for split in planned:
        assert not np.intersect1d(ALL.key[split.train], ALL.key[split.test]).size
    assert [split.protocol for split in planned] == [
        *[IN_DOMAIN] * FOLDS, *[LITTLE] * DRAWS, *[GROUPS] * FOLDS, BENCH, BENCH,
    ]  # fmt: skip


def test_every_row_is_tested_once_in_the_folds() -> None:
    tested = [split.test for split in evaluation.splits(ALL, (), quick=True)]
    assert sorted(np.concatenate(tested).tolist()) == list(range(len(ALL.key)))


def test_few_prompts_and_groups_keep_to_the_largest_benchmark_of_the_pair() -> None:
    for split in evaluation.splits(ALL, ()):
        if split.protocol in (LITTLE, GROUPS):
            assert set(ALL.bench[split.train]) == set(ALL.bench[split.test]) == {"exam"}
        if split.protocol == LITTLE:
            assert len(split.train) == FEW
        if split.protocol == GROUPS:
            assert not set(ALL.group[split.train]) & set(ALL.group[split.test])


def test_a_benchmark_that_is_left_out_trains_nothing() -> None:
    left_out = [split for split in evaluation.splits(ALL, ()) if split.protocol == BENCH]
    assert [set(ALL.bench[split.test]) for split in left_out] == [{"exam"}, {"maths"}]
    assert all(not set(ALL.bench[split.train]) & set(ALL.bench[split.test]) for split in left_out)


def test_only_the_benchmarks_that_are_asked_for_are_tested() -> None:
    report = evaluation.evaluate(
        ALL, lambda _: Knows(ALL.weak), evaluation.splits(ALL, ["maths"], quick=True), ["maths"], Prices(), resamples=10
    )
    assert {line.bench for line in report.lines} == {"maths"}
    assert report.lines[0].prompts == (ALL.bench == "maths").sum()


def test_little_data_leaves_out_what_it_cannot_measure() -> None:
    small = rows(400)
    assert {split.protocol for split in evaluation.splits(small, ())} == {IN_DOMAIN, GROUPS, BENCH}
    assert evaluation.splits(rows(20), ()) == []


def test_who_knows_all_is_the_oracle_and_who_knows_nothing_is_random() -> None:
    """The guard of this router makes all scores the same, so what is measured with it is chance."""
    seen: list[str] = []
    gain = np.nan_to_num(ALL.strong - ALL.weak)
    report = evaluation.evaluate(
        ALL,
        lambda _: Knows(gain),
        evaluation.splits(ALL, ()),
        (),
        Prices(),
        resamples=20,
        step=lambda split: seen.append(split.protocol),
    )
    found = {(line.protocol, line.bench): line for line in report.lines}
    assert found[IN_DOMAIN, "exam + maths"].apgr.value == pytest.approx(0.5)
    assert found[IN_DOMAIN, "exam"].apgr.value == pytest.approx(0.5)
    assert found[BENCH, "maths"].apgr.value == pytest.approx(0.5)
    assert found[UNGUARDED, "maths"].apgr.value > 1
    oracle, chance = found["oracle", "exam + maths"], found["random", "exam + maths"]
    assert oracle.saving95.value > chance.saving95.value
    assert chance.apgr.value == pytest.approx(0.5)
    assert [share.got for share in report.shares] == [1, 1, 1]  # the scores are all at the threshold
    assert len(seen) == 17
    assert (report.low <= report.high).all()


def test_given_scores_are_measured_as_they_are() -> None:
    gain = np.nan_to_num(ALL.strong - ALL.weak)
    report = evaluation.measure(ALL, gain, (), Prices(), resamples=20)
    found = {line.protocol: line for line in report.lines if line.bench == "exam + maths"}
    assert found[evaluation.AS_IT_IS].apgr.value == pytest.approx(found["oracle"].apgr.value)
    assert not report.shares


def test_the_score_is_compared_with_how_often_the_strong_model_does_better() -> None:
    said = np.full(len(ALL.key), np.nanmean(ALL.strong[ALL.labelled()] > ALL.weak[ALL.labelled()]))
    assert evaluation.measure(ALL, said, (), Prices(), resamples=2).calibration_error == pytest.approx(0, abs=1e-9)
