"""`streamlane router`: what it prints, what it writes, and what it exits with."""

import gzip
import json
import lzma
import random
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from proxy.cli import app
from proxy.learned.router import LearnedRouter
from proxy.learned.weights import SHIPPED

NOUNS = ("river", "theorem", "engine", "novel", "market", "cell", "vector", "treaty", "molecule", "contract", "planet")
FAMILIAR = "A shop sells pens at 3 dollars each. Tom buys 4 pens and pays with 20 dollars. How much does he get back?"
OUTCOMES = Path(__file__).parents[3] / "scripts" / "router" / "outcomes.jsonl.xz"
PROOF = "Prove that the sum of two odd integers is even, and find every exception."
NAMES = ("Tom", "Ada and her two brothers", "The teacher", "Every child", "She")
PAIR = ("--strong", "gpt-4-1106-preview", "--weak", "mixtral-8x7b-instruct-v0.1")


def run(*words: str, said: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["router", *words], input=said)


def lines(count: int, seed: int = 0, **models: float) -> str:
    """Prompts, the long ones of which need the strong model; each model's number is its chance on a long one."""
    dice = random.Random(seed)
    said = []
    for number in range(count):
        long = dice.random() < 0.5
        words = " ".join(dice.choices(NOUNS, k=60 if long else 6))
        scores = {model: int(dice.random() < (chance if long else 0.95)) for model, chance in models.items()}
        row = {"prompt": f"{number}: {words}?", "bench": "exam", "group": f"subject {number % 6}"}
        said.append(json.dumps({**row, "scores": scores} if models else row))
    return "\n".join(said) + "\n"


def asked(number: int) -> str:
    """A prompt like those that trained the shipped weights."""
    return json.dumps({"prompt": FAMILIAR.replace("3", str(number)).replace("Tom", NAMES[number % 5])}) + "\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_score_for_each_prompt_and_nothing_else(here: Path) -> None:
    (here / "some.jsonl").write_text(lines(30))
    result = run("score", "some.jsonl")
    assert result.exit_code == 0
    pair = LearnedRouter.load().pair()
    prompts = [json.loads(line)["prompt"] for line in lines(30).splitlines()]
    assert [float(line) for line in result.stdout.splitlines()] == pytest.approx(list(pair.scores(prompts)), abs=1e-7)
    assert result.stderr == ""
    assert run("score", "-", said=lines(30)).stdout == result.stdout
    assert run("score", "-", *PAIR, said=lines(30)).stdout.count("\n") == 30


def test_prompts_of_any_kind_have_a_score() -> None:
    strange = ["", " ", "\x00", "😀" * 5000, "a" * 1_000_000, "Was ist das?", "\u202e" * 10]
    result = run("score", "-", said="\n".join(json.dumps({"prompt": prompt}) for prompt in strange))
    assert all(0 <= float(line) <= 1 for line in result.stdout.splitlines())
    assert result.stdout.count("\n") == len(strange)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ('{"prompt": 3}', "expected an object with a text as `prompt`"),
        ('["prompt"]', "expected an object"),
        ('{"prompt": "cut', "not JSON"),
        ('{"text": "x"}', "expected an object"),
    ],
)
def test_a_bad_line_is_one_error_with_its_number(bad: str, why: str) -> None:
    result = run("score", "-", said=lines(2) + bad + "\n" + lines(1))
    assert result.exit_code == 2
    assert result.stderr.startswith("Line 3: ")
    assert why in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["torn.gz", "torn.xz", "half.gz"])
def test_a_file_that_cannot_be_unpacked_is_one_sentence(here: Path, name: str) -> None:
    data = bytearray((lzma if name.endswith("xz") else gzip).compress(lines(3000).encode()))
    data[len(data) // 2] ^= 0xFF
    (here / name).write_bytes(data[:-20] if name.startswith("half") else data)
    result = run("score", name)
    assert result.exit_code == 2
    assert f"{name} cannot be unpacked" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_calibration_is_by_the_weights_and_models_of_the_configuration(here: Path) -> None:
    (here / "streamlane.toml").write_text(
        '[[backends]]\nname = "a"\nkind = "fake"\n\n[router]\nstrong = ["a/x"]\nweak = ["a/y"]\n'
        'strong_model = "gemini-1.5-pro"\nweak_model = "llama-3.1-8b-it"\n'
    )
    (here / "traffic.jsonl").write_text("".join(asked(number) for number in range(300)))
    words = ("calibrate", "--strong-share", "0.3", "--data", "traffic.jsonl")
    assert run(*words).exit_code == 0
    made = json.loads((here / "router-calibration.json").read_text())
    assert (made["strong"], made["weak"]) == ("gemini-1.5-pro", "llama-3.1-8b-it")
    assert run(*words, *PAIR).exit_code == 0
    made = json.loads((here / "router-calibration.json").read_text())
    assert (made["strong"], made["weak"]) == (PAIR[1], PAIR[3])


def test_what_cannot_be_read_or_is_not_known_is_one_sentence(here: Path) -> None:
    (here / "weights").write_bytes(b"no weights")
    for words, why in (
        (["score", "away.jsonl"], "Cannot open away.jsonl: No such file or directory."),
        (["score", "-", "--weights", "weights"], "holds no router weights"),
        (["score", "-", "--strong", "gpt-4-1106-preview"], "Name both models"),
        (["score", "-", "--strong", "gpt-9", "--weak", "x"], "gpt-4-1106-preview"),
        (["eval", "--data", "away.jsonl"], "No such file"),
        (["calibrate", "--data", "away.jsonl"], "Give either --strong-share or --quality"),
    ):
        result = run(*words, said="")
        assert result.exit_code == 2
        assert why in result.stderr
        assert "Traceback" not in result.stderr


def test_an_explanation_adds_up_and_names_the_choice() -> None:
    for share, choice in (("0", PAIR[3]), ("1", PAIR[1])):
        result = run("explain", PROOF, *PAIR, "--strong-share", share)
        assert result.exit_code == 0
        assert result.stdout.startswith(f"{choice} answers: score 0.")
    told = json.loads(run("explain", PROOF, "--json").stdout)
    total = told["bias"] + sum(part["value"] for part in told["contributions"])
    assert total == pytest.approx(told["logit"], abs=1e-6)
    table = [float(number) for number in re.findall(r" ([+-]\d+\.\d+)", result.stdout)]
    assert sum(table[:-1]) == pytest.approx(table[-1], abs=0.01)


def test_an_explanation_says_when_the_guard_spoke() -> None:
    assert "The guard spoke" in run("explain", "\n".join(["{}[]|$#@" * 40] * 30)).stdout
    assert "The guard spoke" not in run("explain", FAMILIAR).stdout


def test_a_calibration_is_a_file_to_review(here: Path) -> None:
    (here / "traffic.jsonl").write_text("".join(asked(number) for number in range(400)))
    result = run("calibrate", "--strong-share", "0.3", "--data", "traffic.jsonl", "--out", "new.json")
    assert result.exit_code == 0
    assert "for 30 % strong calls, from 400 prompts." in result.stdout
    assert result.stdout.endswith('[router]\ncalibration = "new.json"\n')
    made = json.loads((here / "new.json").read_text())
    assert (made["version"], made["n"], len(made["quantiles"])) == (1, 400, 201)
    assert made["router_hash"] == LearnedRouter.load().hash
    threshold = float(re.match(r"Threshold (\S+)", result.stdout)[1])
    scores = [float(line) for line in run("score", "traffic.jsonl").stdout.splitlines()]
    assert sum(score >= threshold for score in scores) / 400 == pytest.approx(0.3, abs=0.02)
    assert run("calibrate", "--strong-share", "0.3", "--data", "traffic.jsonl", "--out", "again.json").exit_code == 0
    assert (here / "again.json").read_text() == (here / "new.json").read_text()


def test_a_calibration_from_few_prompts_is_refused_and_writes_nothing(here: Path) -> None:
    (here / "few.jsonl").write_text(lines(199))
    result = run("calibrate", "--strong-share", "0.3", "--data", "few.jsonl")
    assert result.exit_code == 2
    assert "199 prompts are too few" in result.stderr
    assert [each.name for each in here.iterdir()] == ["few.jsonl"]


def test_a_quality_is_kept_on_labelled_prompts(here: Path) -> None:
    (here / "labelled.jsonl").write_text(lines(400, **{PAIR[1]: 0.9, PAIR[3]: 0.5}))
    result = run("calibrate", "--quality", "0.9", "--data", "labelled.jsonl", *PAIR)
    assert result.exit_code == 0
    assert "% strong calls keep 90 % of the strong model's quality" in result.stdout
    result = run("calibrate", "--quality", "0.9", "--data", "labelled.jsonl", "--strong", "strong", "--weak", "weak")
    assert result.exit_code == 2
    assert "has no outcomes of strong and weak" in result.stderr


def test_an_evaluation_of_own_data_finds_what_there_is_to_learn(here: Path) -> None:
    """The strong model is needed for long prompts alone, which any router must find."""
    (here / "own.jsonl").write_text(lines(500, big=0.9, small=0.3))
    result = run(
        "eval", "--data", "own.jsonl", "--json", "--svg", "own.svg", "--price-strong", "10", "--price-weak", "1"
    )
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert (told["strong"], told["weak"]) == ("big", "small")
    found = {line["protocol"]: line for line in told["lines"]}
    assert set(found) == {"folds by question", "whole groups left out", "random", "oracle"}
    assert 0.6 < found["folds by question"]["apgr"]["low"] < found["folds by question"]["apgr"]["high"] < 1
    assert found["random"]["apgr"]["value"] == pytest.approx(0.5)
    assert 0.3 < found["folds by question"]["saving95"]["value"] < 0.7  # half of the calls, at a tenth of the price
    assert len(told["curve"]["quality"]) == len(told["curve"]["low"]) == 101
    assert told["published"]["lines"] == []
    assert ET.parse(here / "own.svg").getroot().tag.endswith("svg")
    assert "reading the prompts" in result.stderr


def test_an_evaluation_says_what_it_does_not_say(here: Path) -> None:
    (here / "own.jsonl").write_text(lines(300, big=0.9, small=0.3))
    result = run("eval", "--data", "own.jsonl", "--quick")
    assert result.exit_code == 0, result.stderr
    assert "What these figures do not say:" in result.stdout
    assert "Strong share on other prompts of the same mix: 20 % gave" in result.stdout
    assert "The curve is in router-curve.svg." in result.stdout
    assert (here / "router-curve.svg").exists()
    assert all(len(line) <= 80 for line in result.stdout.split("\n\n")[1].splitlines())


def test_given_weights_are_measured_as_they_are(here: Path) -> None:
    (here / "own.jsonl").write_text(lines(300, **{PAIR[1]: 0.9, PAIR[3]: 0.3}))
    result = run("eval", "--data", "own.jsonl", "--weights", str(SHIPPED), "--json")
    assert [line["protocol"] for line in json.loads(result.stdout)["lines"]] == ["these weights", "random", "oracle"]


def test_an_evaluation_needs_two_models_and_some_prompts(here: Path) -> None:
    (here / "one.jsonl").write_text(lines(300, big=0.9))
    (here / "few.jsonl").write_text(lines(60, big=0.9, small=0.3))
    (here / "none.jsonl").write_text("")
    for words, why in (
        (["--data", "one.jsonl"], "No row has outcomes of two models"),
        (["--data", "few.jsonl"], "too few to measure"),
        (["--data", "none.jsonl"], "has no rows"),
        (
            ["--data", "few.jsonl", "--strong", "big", "--weak", "tiny"],
            'no outcomes of "tiny". It has those of: big, small',
        ),
        (["--data", "few.jsonl", "--strong", "big"], "Name both models"),
        (["--data", "few.jsonl", "--bench", "chess"], "They have some on: exam"),
    ):
        result = run("eval", *words)
        assert result.exit_code == 2
        assert why in result.stderr


def test_prompts_that_trained_the_weights_do_not_measure_them() -> None:
    for words in (
        ["eval", "--weights", str(SHIPPED), "--data", str(OUTCOMES)],
        ["calibrate", "--quality", "0.9", "--data", str(OUTCOMES)],
    ):
        result = run(*words)
        assert result.exit_code == 2
        assert "trained these weights" in result.stderr


def configured(folder: Path, line: str = "") -> Path:
    """A configuration with a strong and a weak model, and one more line for [router]."""
    file = folder / "streamlane.toml"
    file.write_text(
        f'[[backends]]\nkind = "fake"\nname = "one"\nmodels = ["big", "small"]\n\n'
        f'[router]\nstrong = ["one/big"]\nweak = ["one/small"]\n{line}\n'
    )
    return file


def test_an_explanation_by_a_configuration_names_its_own_models(here: Path) -> None:
    result = run("explain", FAMILIAR, "--config", str(configured(here)))
    assert result.exit_code == 0
    assert "one/big" in result.stdout
    assert " answers: score" not in result.stdout  # the models of the weights answer nobody here
    assert "could be scored" in run("explain", "", "--config", str(configured(here))).stdout


@pytest.mark.parametrize("line", ['weights_file = "streamlane.toml"', 'strong_model = "gpt-0"'])
def test_weights_that_cannot_be_used_are_one_sentence_before_the_start(here: Path, line: str) -> None:
    file = str(configured(here, line))
    checked = CliRunner().invoke(app, ["config", "check", "--config", file])
    explained = run("explain", "Hello", "--config", file)
    assert "[router]" in str(checked.exception or "") + checked.output
    assert explained.exit_code == 1
    assert "[router]" in explained.output
