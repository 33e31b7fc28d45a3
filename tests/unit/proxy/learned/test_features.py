"""What the router reads of a prompt: any text has features, and the same text always the same."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.learned.features import extract, extract_all, text_of
from proxy.learned.hashing import BUCKETS, named
from proxy.learned.lexical import NAMES
from proxy.learned.question import capped

TEXTS = st.text(st.characters(codec=None), max_size=400)  # lone surrogates too


@given(TEXTS)
def test_any_text_has_features(text: str) -> None:
    found = extract(text)
    assert found.lexical.shape == (len(NAMES),)
    assert all(abs(value) < 1e6 for value in found.lexical.tolist())
    assert found.buckets.tolist() == sorted(set(found.buckets.tolist()))
    assert not found.buckets.size or 0 <= found.buckets[0] <= found.buckets[-1] < BUCKETS


@given(TEXTS)
def test_every_bucket_of_a_prompt_has_a_name(text: str) -> None:
    assert set(named(text_of(text)[1])) == set(extract(text).buckets.tolist())


def test_a_table_holds_what_each_prompt_has() -> None:
    prompts = ["", "One question?", "Another one: 12 + 3", "\n\n"]
    table = extract_all(prompts)
    assert len(table) == len(prompts)
    for row, prompt in enumerate(prompts):
        alone = extract(prompt)
        assert table[row].lexical.tolist() == alone.lexical.tolist()
        assert table[row].buckets.tolist() == alone.buckets.tolist()


def test_a_long_prompt_counts_with_its_ends_alone() -> None:
    start, end = "What follows? " * 500, "\nWhat came before?" * 500
    assert extract(start + "in the middle" * 10_000 + end).lexical.tolist() == extract(start + end).lexical.tolist()
    assert len(capped("x" * 100_000)) == 4_000


def test_the_closing_cue_of_an_exam_says_nothing() -> None:
    question = "Which is a noble gas?\nA. Neon\nB. Iron"
    assert extract(question).buckets.tolist() == extract(question + "\nAnswer: ").buckets.tolist()


def test_options_are_seen() -> None:
    found = dict(zip(NAMES, extract("How many?\nA. 12\nB. 13 of them\n(C) 4\nD) 5").lexical.tolist(), strict=True))
    assert found["number of options"] == 4
    assert found["options that begin with a number"] == 1
    assert found["the question ends with '?'"] == 1


def test_names_of_words_and_pairs_are_for_people() -> None:
    assert {"'of'", "the pair 'of the'"} <= set(named(b"state of the art").values())
