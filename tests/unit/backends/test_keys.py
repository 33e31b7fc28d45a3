"""Whose key is sent, which is next, what a refusal does, and how a file of keys is followed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from backends.errors import AuthenticationFailed, CallerKeyNeeded
from backends.http_options import looks_like_a_placeholder
from backends.key_file import LARGEST, LOOK, KeyFile, KeyFileUnusable
from backends.keys import PAUSES, KeyCounts, Keys
from backends.request import Secret

FILE = Path("keys")
MINE = Secret("mine")


def test_keys_take_turns() -> None:
    keys = Keys(["a", "b", "c"])
    assert [keys.choose() for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]


def test_a_key_that_is_named_twice_is_one() -> None:
    keys = Keys(["a", "a"])
    keys.refused("a")
    assert keys.counts == KeyCounts(0, 1), "no other is left"


def test_a_server_without_keys_is_sent_none() -> None:
    assert Keys().choose() is None
    assert Keys().choose(MINE) is None


@pytest.mark.parametrize(
    ("source", "callers", "chosen"),
    [("gateway", MINE, "ours"), ("gateway", None, "ours"), ("hybrid", MINE, "mine"), ("hybrid", None, "ours"),
     ("caller", MINE, "mine")],
)  # fmt: skip
def test_whose_key_it_is(source: str, callers: Secret | None, chosen: str) -> None:
    assert Keys(["ours"], source).choose(callers) == chosen  # type: ignore[arg-type]  # a parameter is no literal


def test_a_callers_key_that_is_missing_is_asked_for() -> None:
    for keys in (Keys(["ours"], "caller"), Keys([], "caller"), Keys([], "hybrid")):
        with pytest.raises(CallerKeyNeeded):
            keys.choose()
        assert keys.choose(of_ours=True) is None


def test_a_refused_key_is_left_out_and_the_others_go_on() -> None:
    keys = Keys(["a", "b", "c"])
    assert keys.refused("b") == 2
    assert keys.refused("b") is None
    assert keys.counts == KeyCounts(2, 1)
    assert {keys.choose() for _ in range(6)} == {"a", "c"}


def test_when_all_were_refused_one_is_tried_after_pauses_that_grow() -> None:
    keys = Keys(["a", "b"])
    keys.refused("a", now=10)
    keys.refused("b", now=20)
    now, tried = 20.0, []
    for pause in (*PAUSES, PAUSES[-1]):
        with pytest.raises(AuthenticationFailed):
            keys.choose(now=now + pause - 1)
        now += pause
        tried.append(keys.choose(now=now))
        keys.refused(tried[-1], now=now)
    assert {*tried} == {"a", "b"}
    assert keys.accepted(tried[-1]) == (1 if tried[-1] == "a" else 2)
    assert keys.accepted(tried[-1]) is None
    assert keys.counts == KeyCounts(1, 1)
    assert keys.choose(now=now + 1) == tried[-1]
    keys.refused(tried[-1], now=now)
    assert keys.choose(now=now + PAUSES[0]), "the pauses begin anew"


def test_what_tells_nothing_of_a_key_is_no_probe() -> None:
    keys = Keys(["a", "b"])
    keys.refused("a", now=10)
    assert keys.any_of_ours() == "b"
    keys.refused("b", now=10)
    assert keys.any_of_ours() == "a"
    assert keys.choose(now=10 + PAUSES[0]) in {"a", "b"}
    assert Keys(["a"], "caller").any_of_ours() is None
    assert Keys().any_of_ours() is None
    with pytest.raises(AuthenticationFailed):
        Keys(file=FILE).any_of_ours()


def test_a_key_that_was_used_too_often_rests_while_another_does_not() -> None:
    keys = Keys(["a", "b", "c"])
    assert keys.limited("a", 60, now=0)
    keys.refused("c")
    assert [keys.choose(now=1) for _ in range(3)] == ["b"] * 3
    assert not keys.limited("b", None, now=1), "all of them rest"
    assert keys.choose(now=2) == "b", "the one whose rest ends first"
    assert {keys.choose(now=60) for _ in range(3)} == {"a", "b"}
    assert not keys.limited("mine", 60, now=0)
    assert not Keys(["a"]).limited("a", 60, now=0), "there is no other"


def test_what_is_no_key_of_ours_is_neither_refused_nor_accepted() -> None:
    keys = Keys(["a"], "hybrid")
    for key in (None, "mine"):
        assert keys.refused(key) is None
        assert keys.accepted(key) is None
    assert keys.counts == KeyCounts(1, 0)


def test_keys_of_a_file_come_behind_the_others_and_new_ones_are_usable() -> None:
    keys = Keys(["a"], file=FILE)
    keys.from_file(["b", "a", "b"])
    assert [keys.choose() for _ in range(3)] == ["a", "b", "a"]
    keys.refused("a")
    keys.refused("b", now=5)
    keys.from_file(["b", "c"])
    assert keys.counts == KeyCounts(1, 2)
    assert {keys.choose(now=6) for _ in range(4)} == {"c"}
    keys.from_file(["d"])
    assert keys.counts == KeyCounts(1, 1)


def test_with_a_file_that_has_given_no_key_nothing_is_sent_without_one() -> None:
    with pytest.raises(AuthenticationFailed):
        Keys(file=FILE).choose()


# The file itself.


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def write(path: Path, text: str, at: int) -> None:
    path.write_text(text)
    os.utime(path, ns=(at, at))


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_file_is_read_once_and_again_when_it_has_changed(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "keys"
    write(path, "# ours\nsk-one\n\n  sk-two  \n", 1)
    file = KeyFile(path, clock)
    assert file.news() == ("sk-one", "sk-two")
    write(path, "sk-3\n", 2)
    assert file.news() is None  # not looked at yet
    clock.now += LOOK
    assert file.news() == ("sk-3",)
    clock.now += LOOK
    assert file.news() is None


def test_a_file_that_is_replaced_by_one_of_the_same_age_and_size(tmp_path: Path, clock: Clock) -> None:
    path, other = tmp_path / "keys", tmp_path / "new"
    write(path, "sk-one\n", 1)
    file = KeyFile(path, clock)
    assert file.news() == ("sk-one",)
    write(other, "sk-two\n", 1)
    other.rename(path)
    clock.now += LOOK
    assert file.news() == ("sk-two",)


def test_a_fault_is_told_once_and_again_after_it_was_mended(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "keys"
    file = KeyFile(path, clock)
    for _ in range(2):
        with pytest.raises(KeyFileUnusable, match="No such file"):
            file.news()
        clock.now += LOOK
        assert file.news() is None
        write(path, "sk-one\n", 1)
        clock.now += LOOK
        assert file.news() == ("sk-one",)
        path.unlink()
        clock.now += LOOK


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"sk-one\nsk two\n", "line 2 is no key"),
        ("schlüssel\n".encode(), "line 1 is no key"),
        (b"\xff\xfe", "not UTF-8"),
        (b"# nothing\n", "holds no key"),
        (b"k" * (LARGEST + 1), "larger than"),
    ],
)
def test_what_is_no_list_of_keys(tmp_path: Path, clock: Clock, content: bytes, why: str) -> None:
    path = tmp_path / "keys"
    path.write_bytes(content)
    with pytest.raises(KeyFileUnusable, match=why) as refused:
        KeyFile(path, clock).news()
    assert "two" not in str(refused.value)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, clock: Clock, make: Callable[[Path], None]) -> None:
    make(path := tmp_path / "keys")
    with pytest.raises(KeyFileUnusable, match="no regular file"):
        KeyFile(path, clock).news()


@pytest.mark.parametrize(
    "key",
    ["your-api-key", "sk-YOUR_KEY_HERE", "changeme", "<key>", "sk-xxxxxxxx", "${OPENAI_API_KEY}", "sk-...", "00000"],
)
def test_placeholders(key: str) -> None:
    assert looks_like_a_placeholder(key)


@pytest.mark.parametrize(
    "key", ["sk-proj-Ab12Cd34", "gsk_9Kq2", "token-abc123", "lm-studio", "AIzaSyD-9tSrke72PouQMnMX"]
)
def test_keys_that_may_be_real(key: str) -> None:
    assert not looks_like_a_placeholder(key)
