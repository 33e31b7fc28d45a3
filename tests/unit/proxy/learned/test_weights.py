"""The weights file: what is written is read again, the shipped one is what its card says, and a bad one is refused."""

import io
import re
import zipfile
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from proxy.learned.router import LearnedRouter
from proxy.learned.weights import SHIPPED, Weights, WeightsUnusable, packed, read, unpacked, write
from tests.unit.proxy.learned.outcomes import STRONG, WEAK

CARD = Path(__file__).parents[4] / "docs" / "router-card.md"


@pytest.fixture(scope="module")
def shipped() -> Weights:
    return read()[0]


def test_what_is_written_is_read_again(shipped: Weights, tmp_path: Path) -> None:
    write(shipped, tmp_path / "w.npz")
    again, name = read(tmp_path / "w.npz")
    assert packed(again) == packed(shipped)
    assert name == read()[1]
    for first, second in zip(shipped.panels, again.panels, strict=True):
        for each in fields(first):
            assert np.array_equal(getattr(first, each.name), getattr(second, each.name))


def test_the_shipped_file_is_small_and_is_that_of_the_card(shipped: Weights) -> None:
    assert SHIPPED.stat().st_size <= 1_000_000
    assert f"`{read()[1]}`" in CARD.read_text()
    assert f"`{shipped.card['data']}`" in CARD.read_text()
    assert shipped.default == (STRONG, WEAK)
    assert set(shipped.card["licenses"]) == {"MIT", "Apache-2.0"}


def test_the_data_is_that_of_the_card(shipped: Weights) -> None:
    from hashlib import sha256

    from tests.unit.proxy.learned.outcomes import OUTCOMES

    assert sha256(OUTCOMES.read_bytes()).hexdigest().startswith(shipped.card["data"])


def test_the_card_says_what_the_figures_do_not() -> None:
    assert re.search(r"\*\*Chat\.\*\*.*\*\*Today's models\.\*\*", CARD.read_text(), re.DOTALL)


def refused(data: bytes) -> str:
    with pytest.raises(WeightsUnusable) as caught:
        unpacked(data, "w.npz")
    assert str(caught.value).startswith("w.npz ")
    assert "train-router" in str(caught.value)
    return str(caught.value)


def changed(weights: Weights, **arrays: object) -> bytes:
    with np.load(io.BytesIO(packed(weights))) as file:
        buffer = io.BytesIO()
        np.savez(buffer, **({**file} | arrays))
        return buffer.getvalue()


def test_what_is_no_weights_file_is_refused(shipped: Weights) -> None:
    for data in (b"", b"nothing", b"PK\x03\x04", packed(shipped)[:-5000], packed(shipped)[:100_000]):
        assert "holds no router weights" in refused(data)
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as file:
        file.writestr("about.npy", b"x")
    refused(other.getvalue())


def test_flipped_bytes_are_noticed(shipped: Weights) -> None:
    data = bytearray(packed(shipped))
    data[len(data) // 2] ^= 0xFF
    refused(bytes(data))


def test_no_pickle_is_opened(shipped: Weights) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, about=np.array([object()], dtype=object))
    assert "holds no router weights" in refused(buffer.getvalue())


def test_wrong_sizes_and_numbers_are_refused(shipped: Weights) -> None:
    assert "wrong size" in refused(changed(shipped, center=np.zeros(3, np.float32)))
    assert "numbers that are none" in refused(changed(shipped, spread=np.full_like(shipped.spread, np.nan)))
    assert "default" in refused(packed(replace(shipped, default=("strong", "nobody"))))
    assert "router weights" in refused(changed(shipped, about=np.zeros(4, np.uint8)))


@pytest.mark.parametrize("name", ["familiar_0", "outputs_0", "outcomes_0", "hashed_0", "center"])
def test_arrays_without_rows_are_refused(shipped: Weights, name: str) -> None:
    refused(changed(shipped, **{name: np.zeros((), np.float32)}))
    refused(changed(shipped, **{name: np.zeros((0, 2), np.float32)}))


def test_a_panel_without_a_sample_or_with_bounds_that_are_none_is_refused(shipped: Weights) -> None:
    first, *others = shipped.panels
    for wrong in (
        replace(first, outputs=first.outputs[:0], outcomes=first.outcomes[:0]),
        replace(first, bounds=(1.0, 1.0)),
        replace(first, bounds=(2.0, 1.0)),
        replace(first, bounds=(float("nan"), 1.0)),
    ):
        refused(packed(replace(shipped, panels=(wrong, *others))))


@pytest.mark.parametrize(
    "shape", ["(10**12,)", "(1000000000000,)", f"({10**30},)", "(-1,)", "(3,", "(" * 3000, "-" * 5000]
)
def test_headers_that_ask_for_too_much_are_refused(shipped: Weights, shape: str) -> None:
    said = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    said += b" " * (63 - (len(said) + 10) % 64) + b"\n"
    data = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(packed(shipped))) as old, zipfile.ZipFile(data, "w") as new:
        for each in old.namelist():
            hostile = b"\x93NUMPY\x01\x00" + len(said).to_bytes(2, "little") + said
            new.writestr(each, hostile if each == "center.npy" else old.read(each))
    assert "holds no router weights" in refused(data.getvalue())


def test_a_small_file_that_unpacks_to_a_large_one_is_refused(shipped: Weights) -> None:
    data = io.BytesIO()
    np.savez_compressed(data, center=np.zeros(20 << 20, np.float32))
    assert len(data.getvalue()) < 1 << 20
    assert "larger" in refused(data.getvalue())


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnusable, match="cannot be read"):
        LearnedRouter.load(tmp_path / "nowhere.npz")
