"""`streamlane models`: what it prints, and what it exits with."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli import app
from tests.gguf_files import tiny_model


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["models", *words])
    return result.exit_code, result.output


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STREAMLANE_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def test_with_no_models_it_says_what_can_be_pulled() -> None:
    code, said = run("list")
    assert code == 0
    assert "No models are pulled yet" in said
    assert "Can be pulled: smollm2" in said


def test_a_pulled_model_is_listed_with_its_size_and_context(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny.gguf")
    folder = tmp_path / "data" / "models"
    assert run("pull", str(model)) == (0, f"tiny is ready, in {folder}.\n")
    assert run("pull", str(model)) == (0, f"tiny is already pulled, in {folder}.\n")
    code, said = run("list")
    assert code == 0
    row = next(line for line in said.splitlines() if line.startswith("tiny"))
    assert row.split() == ["tiny", "1.8", "kB", "2,048", "llama"]


def test_a_model_whose_file_went_away_is_listed_with_the_reason(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny.gguf")
    run("pull", str(model))
    model.unlink()
    code, said = run("list")
    assert code == 0
    assert "cannot be read" in said


def test_an_unknown_name_fails_and_names_what_there_is() -> None:
    code, said = run("pull", "gpt-5")
    assert code == 1
    assert (
        said == "Cannot pull: There is no model 'gpt-5' to pull. Pull one of: smollm2; or hf:ORG/REPO/FILE.gguf; "
        "or give a .gguf file's path.\n"
    )


def test_a_foreign_file_fails(tmp_path: Path) -> None:
    (tmp_path / "cat.gguf").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, said = run("pull", str(tmp_path / "cat.gguf"))
    assert code == 1
    assert "is not a GGUF model file" in said
