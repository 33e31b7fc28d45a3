"""The training format: what a row may say, and which line is wrong and why."""

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.learned.rows import BadRow, key_of, read, rows

LINE = b'{"prompt": "What is 2 + 2?", "scores": {"big": 1, "small": 0.5}}\n'


def test_a_row_needs_a_prompt_and_scores_alone() -> None:
    [row] = rows([LINE, b"\n"])
    assert (row.prompt, dict(row.scores), row.weight, row.fold) == ("What is 2 + 2?", {"big": 1, "small": 0.5}, 1, None)
    assert row.key == key_of("what is 2+2")


def test_all_fields_are_read() -> None:
    [row] = rows(
        [
            '{"prompt":"p","scores":{"a":true},"id":7,"key":"k","group":"g","bench":"b","license":"MIT","weight":2,"fold":3}'
        ]
    )
    assert (row.id, row.key, row.group, row.bench, row.license, row.weight, row.fold) == (
        "7",
        "k",
        "g",
        "b",
        "MIT",
        2,
        3,
    )


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nothing", "line 2: not JSON"),
        ("[1]", "expected an object"),
        ('{"scores": {"a": 1}}', "`prompt` must be a text"),
        ('{"prompt": " ", "scores": {"a": 1}}', "`prompt` must be a text that is not empty"),
        ('{"prompt": "p"}', "`scores` must name at least one model"),
        ('{"prompt": "p", "scores": {}}', "`scores` must name at least one model"),
        ('{"prompt": "p", "scores": {"a": 2}}', "`scores.a` must be a number from 0 to 1"),
        ('{"prompt": "p", "scores": {"a": "1"}}', "`scores.a` must be a number from 0 to 1"),
        ('{"prompt": "p", "scores": {"a": 1}, "weight": -1}', "`weight` must be a number from 0"),
        ('{"prompt": "p", "scores": {"a": 1}, "fold": -1}', "`fold` must be a whole number"),
        ('{"prompt": "p", "scores": {"a": 1}, "group": []}', "`group` must be a text"),
    ],
)
def test_a_bad_line_is_one_error_with_its_number(line: str, problem: str) -> None:
    with pytest.raises(BadRow) as caught:
        list(rows([LINE, line]))
    assert str(caught.value).startswith("line 2: ")
    assert problem in str(caught.value)


def test_the_bad_line_is_not_quoted() -> None:
    with pytest.raises(BadRow) as caught:
        list(rows(['{"prompt": "my secret", "scores": 1}']))
    assert "secret" not in str(caught.value)


def test_files_may_be_packed(tmp_path: Path) -> None:
    for name, data in (("a.jsonl", LINE), ("a.jsonl.gz", gzip.compress(LINE)), ("a.jsonl.xz", lzma.compress(LINE))):
        (tmp_path / name).write_bytes(data)
        assert [row.prompt for row in read(tmp_path / name)] == ["What is 2 + 2?"]


@pytest.mark.parametrize("name", ["broken.gz", "broken.xz"])
def test_a_damaged_file_is_an_error_of_the_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not packed at all")
    with pytest.raises(OSError, match=r"broken|gzip"):
        read(tmp_path / name)


def test_half_a_packed_file_is_an_error_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "half.gz").write_bytes(gzip.compress(LINE * 100)[:-12])
    with pytest.raises(OSError, match="half"):
        read(tmp_path / "half.gz")


@pytest.mark.parametrize(("name", "pack"), [("torn.gz", gzip.compress), ("torn.xz", lzma.compress)])
def test_a_packed_file_with_a_wrong_byte_is_an_error_of_the_file(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    data = bytearray(pack(b"".join(b'{"prompt": "%d", "scores": {"a": 1}}\n' % number for number in range(2000))))
    data[len(data) // 2] ^= 0xFF
    data[20] ^= 0xFF
    (tmp_path / name).write_bytes(data)
    with pytest.raises(OSError, match=r"torn.*cannot be unpacked"):
        read(tmp_path / name)
