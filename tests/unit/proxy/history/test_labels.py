"""What feedback means for learning: whose answer was good or bad, how sure that is, and how much one person may say."""

from typing import Any

import pytest

from proxy.history.labels import HINT, PER_PRINCIPAL, Kept, label, rows_for_training


def row(**facts: Any) -> Kept:
    blank: dict[str, Any] = dict.fromkeys(Kept.__struct_fields__)
    given = {
        "principal": "me",
        "answered": "local/small",
        "status": "completed",
        "first_event": 0.1,
        "sets": (),
        "failed": (),
        "features": b"features",
    }
    return Kept(**{**blank, **given, **facts})


@pytest.mark.parametrize(
    ("facts", "meant"),
    [
        ({}, None),
        ({"rating": 1}, ({"local/small": 1}, 1)),
        ({"rating": -1}, ({"local/small": 0}, 1)),
        ({"rating": -1, "preferred": "cloud/large"}, ({"local/small": 0, "cloud/large": 1}, 1)),
        ({"rating": -1, "preferred": "local/small"}, ({"local/small": 0}, 1)),
        ({"again": "cloud/large"}, ({"local/small": 0}, HINT)),
        ({"again": "cloud/large", "rating": 1}, ({"local/small": 1}, 1)),
        ({"again": "local/small"}, None),
        ({"failed": (("cloud", "large", "backend_overloaded"),), "rating": 1}, ({"local/small": 1}, 1)),
        ({"rating": -1, "first_event": None}, None),
        ({"rating": -1, "answered": None}, None),
    ],
)
def test_what_was_said_or_done_is_a_label_of_who_answered(facts: dict[str, Any], meant: object) -> None:
    assert label(row(**facts)) == meant


def test_nobody_teaches_more_than_its_share_and_nothing_is_learned_of_a_question_that_is_not_kept() -> None:
    mine = [row(rating=1, features=b"%d" % number) for number in range(PER_PRINCIPAL + 5)]
    others = [row(rating=-1, principal="you"), row(rating=1, principal="they", features=None), row(principal="them")]
    learned = list(rows_for_training([*mine, *others]))
    assert [each.features for each in learned[:-1]] == [each.features for each in mine[:PER_PRINCIPAL]]
    assert (learned[-1].features, learned[-1].scores) == (b"features", {"local/small": 0})


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, ""),
        ({"rating": 1}, "up"),
        ({"rating": -1, "preferred": "cloud/large"}, "down, cloud/large preferred"),
        ({"again": "cloud/large"}, "asked cloud/large again"),
    ],
)
def test_a_row_says_it_in_words(facts: dict[str, Any], said: str) -> None:
    assert row(**facts).feedback == said
