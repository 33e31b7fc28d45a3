"""Model files: what is refused before an engine sees it, and what widening keeps."""

from contextlib import suppress
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import EngineUnavailable
from backends.llama_cpp.gguf_file import check, read_header
from backends.llama_cpp.widen import widen
from tests.gguf_files import CONTEXT, tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny.gguf")


def refusal(path: Path) -> str:
    with pytest.raises(EngineUnavailable) as refused:
        check(path, read_header(path))
    return str(refused.value)


def test_a_whole_file_is_accepted_and_known(model: Path) -> None:
    header = read_header(model)
    check(model, header)
    assert (header.architecture, header.context) == ("llama", CONTEXT)
    assert [tensor.name for tensor in header.tensors] == ["matrix", "vector", "plain"]


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    picture = tmp_path / "cat.gguf"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert "is not a GGUF model file. Point `model` to a .gguf file." in refusal(picture)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.gguf").touch()
    assert "is not a GGUF model file" in refusal(tmp_path / "empty.gguf")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "nothing.gguf")
    assert "cannot be read" in refusal(tmp_path)


def test_an_unknown_version_is_refused(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(b"GGUF" + (9).to_bytes(4, "little") + model.read_bytes()[8:])
    assert "GGUF version 9" in refusal(other)


def test_a_file_that_ends_in_its_data_is_told_as_cut_short(model: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(model.read_bytes()[:-100])
    assert "cut short" in refusal(cut)


@given(data=st.data())
def test_a_file_cut_anywhere_is_refused_in_a_sentence(model: Path, data: st.DataObject) -> None:
    whole = model.read_bytes()
    needed = read_header(model).data_start + 3 * 64 * 4  # the writer pads what comes after the last value
    cut = model.with_name("cut.gguf")
    cut.write_bytes(whole[: data.draw(st.integers(0, needed - 1))])
    assert refusal(cut).endswith(".")


@given(data=st.data())
def test_a_damaged_header_is_read_or_refused_and_nothing_else(model: Path, data: st.DataObject) -> None:
    damaged = bytearray(model.read_bytes())
    for at in data.draw(st.lists(st.integers(8, read_header(model).data_start - 1), min_size=1, max_size=4)):
        damaged[at] = data.draw(st.integers(0, 255))
    path = model.with_name("damaged.gguf")
    path.write_bytes(damaged)
    with suppress(EngineUnavailable):
        check(path, read_header(path))


def test_widening_keeps_every_metadatum_but_the_type(model: Path, tmp_path: Path) -> None:
    wide = tmp_path / "wide.gguf"
    steps: list[tuple[int, int]] = []
    widen(model, wide, lambda done, total: steps.append((done, total)))
    before, after = gguf.GGUFReader(model), gguf.GGUFReader(wide)
    contents = {name: field.contents() for name, field in before.fields.items()}
    contents["general.file_type"] = gguf.LlamaFileType.MOSTLY_F16
    assert {name: field.contents() for name, field in after.fields.items()} == contents
    assert steps[-1] == (wide.stat().st_size, wide.stat().st_size)


def test_widening_keeps_the_weights(model: Path, tmp_path: Path) -> None:
    wide = tmp_path / "wide.gguf"
    widen(model, wide, lambda done, total: None)
    before = {tensor.name: tensor for tensor in gguf.GGUFReader(model).tensors}
    after = {tensor.name: tensor for tensor in gguf.GGUFReader(wide).tensors}
    assert {name: tensor.tensor_type.name for name, tensor in after.items()} == {
        "matrix": "F16",
        "vector": "F32",  # norms and biases stay as they are
        "plain": "F16",
    }
    for name, tensor in after.items():
        was = gguf.quants.dequantize(before[name].data, before[name].tensor_type)
        assert np.allclose(was, tensor.data, rtol=1e-3, atol=1e-3)
