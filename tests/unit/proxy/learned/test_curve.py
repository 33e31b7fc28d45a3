"""The picture of the curve: a well-formed file that says what was measured."""

from xml.etree import ElementTree as ET

import numpy as np
import pytest

from proxy.learned.curve import Picture, svg, ticks
from proxy.learned.measures import Prices, Ranking, of_oracle

DICE = np.random.default_rng(0)
STRONG, WEAK = (DICE.random(300) < 0.8) + 0.0, (DICE.random(300) < 0.6) + 0.0


def picture(strong: str = "big", title: str = "Exams") -> Picture:
    curve = Ranking(STRONG - WEAK + DICE.normal(size=300), STRONG, WEAK).curve()
    levels = curve.at(np.linspace(0, 1, 101))
    return Picture(title, strong, "small", Prices(), curve, of_oracle(STRONG, WEAK), levels - 0.02, levels + 0.02)


def words(text: str) -> list[str]:
    return ["".join(each.itertext()) for each in ET.fromstring(text).iter("{http://www.w3.org/2000/svg}text")]


def test_it_names_the_models_their_quality_and_what_is_saved() -> None:
    said = words(svg(picture()))
    assert "Exams" in said
    assert f"big: {STRONG.mean() * 100:.1f} %" in said
    assert f"small: {WEAK.mean() * 100:.1f} %" in said
    assert any("% strong calls: saves" in line for line in said)


def test_names_cannot_break_the_file() -> None:
    said = words(svg(picture(strong='<b>&"big"', title='a "quoted" <title>')))
    assert any(line.startswith('<b>&"big"') for line in said)


def test_every_point_is_within_the_picture() -> None:
    for each in ET.fromstring(svg(picture())).iter():
        for pair in each.get("points", "").split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= 760
            assert 0 <= y <= 480


@pytest.mark.parametrize(("low", "high"), [(0.68, 0.91), (0, 1), (0.5, 0.5), (0.801, 0.803), (-0.1, 12)])
def test_ticks_are_round_and_enclose_what_is_drawn(low: float, high: float) -> None:
    found = ticks(low, high)
    assert found[0] <= low + 1e-9
    assert found[-1] >= high - 1e-9
    assert 2 <= len(found) <= 11
    assert len(set(np.round(np.diff(found), 9))) == 1
