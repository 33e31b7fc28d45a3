"""`streamlane free`: what it shows, what it asks before it writes, and what it writes."""

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.catalog import shipped
from proxy.cli import app
from proxy.free_docs import free_page

ROOT = Path(__file__).parents[3]
OWN = "# mine\n[server]\nport = 9000 # kept\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    for variable in ("GROQ_API_KEY", "GEMINI_API_KEY", "STREAMLANE_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def run(*words: str, says: str = "") -> tuple[int, str]:
    result = CliRunner().invoke(app, words, input=says)
    return result.exit_code, result.output


def free(*words: str, says: str = "") -> tuple[int, str]:
    return run("free", *words, says=says)


def written(folder: Path) -> list[dict[str, object]]:
    accounts: list[dict[str, object]] = tomllib.loads((folder / "streamlane.toml").read_text())["accounts"]
    return accounts


def test_the_list_has_every_provider_with_limits_terms_and_age() -> None:
    code, said = free("list")
    assert code == 0
    for name in shipped():
        assert f"\n{name} " in said
    assert "5-30 req/min*" in said
    assert "Los Angeles" in said
    assert "evaluation_only" in said
    assert "closed to new" in said
    assert "2026-09-23" in said


def test_the_list_marks_what_is_configured(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk_0123456789abcdefghij")
    (here / "streamlane.toml").write_text('[[accounts]]\nname="mine"\nprovider="groq"\napi_key="${GROQ_API_KEY}"\n')
    assert "\n> mine " in free("list")[1]
    assert "Your accounts: mine" in free("list", "groq")[1]


def test_one_provider_shows_each_models_limits() -> None:
    code, said = free("list", "groq")
    assert code == 0
    assert "openai/gpt-oss-120b" in said
    assert "200K tok/day" in said
    assert "refills all the time" in said
    assert "each organization and model" in said
    assert "streamlane free add groq" in said
    assert "plan credits: At least 10 credits were ever bought." in free("list", "openrouter")[1]


def test_terms_come_with_their_sources() -> None:
    code, said = free("terms", "gemini")
    assert code == 0
    assert "trains: may train on what you send" in said
    assert "https://ai.google.dev/gemini-api/terms" in said
    assert "Only while no billing account is attached" in said
    assert "no legal advice" in said
    assert "No terms are known" in free("terms", "groq")[1]


def test_an_unknown_provider_is_told_with_the_nearest() -> None:
    for command in ("list", "terms", "add"):
        code, said = free(command, "grok")
        assert code == 1
        assert 'There is no provider "grok". Did you mean "groq"?' in said


def test_a_problem_in_the_file_does_not_hide_the_catalog(here: Path) -> None:
    (here / "streamlane.toml").write_text("[sever]\n")
    code, said = free("list")
    assert code == 0
    assert "groq" in said
    assert "streamlane config check" in said


def test_an_account_is_added_and_the_rest_of_the_file_stays(here: Path) -> None:
    (here / "streamlane.toml").write_text(OWN.rstrip("\n"))
    code, said = free("add", "groq")
    assert code == 0
    text = (here / "streamlane.toml").read_text()
    assert text.startswith(OWN)
    assert written(here) == [{"name": "groq", "provider": "groq", "api_key": "${GROQ_API_KEY}"}]
    assert "GROQ_API_KEY is not set yet" in said


def test_a_file_is_made_where_there_is_none_and_only_its_owner_reads_it(here: Path) -> None:
    assert free("add", "groq", "--name", "me")[0] == 0
    assert (here / "streamlane.toml").stat().st_mode & 0o777 == 0o600
    assert written(here)[0]["name"] == "me"


def test_terms_are_shown_and_asked_for_before_anything_is_written(here: Path) -> None:
    code, said = free("add", "gemini", says="n\n")
    assert code == 1
    assert "people may read it" in said
    assert said.index("people may read it") < said.index("Do you accept this (trains, no_eea)?")
    assert "Nothing was changed." in said
    assert not (here / "streamlane.toml").exists()
    assert free("add", "gemini", says="y\n")[0] == 0
    assert written(here)[0]["accept"] == ["trains", "no_eea"]


def test_without_anybody_to_ask_consent_is_an_option(here: Path) -> None:
    code, said = free("add", "gemini")
    assert code == 1
    assert "repeat with --accept trains --accept no_eea" in said
    assert not (here / "streamlane.toml").exists()
    assert free("add", "gemini", "--accept", "trains", "--accept", "no_eea")[0] == 0
    assert written(here)[0]["accept"] == ["trains", "no_eea"]


def test_no_key_is_ever_written(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk_0123456789abcdefghij")
    _, said = free("add", "groq")
    assert "GROQ_API_KEY is set." in said
    assert "gsk_" not in said + (here / "streamlane.toml").read_text()
    assert free("add", "mistral", "--key-file", "keys/mistral", "--accept", "trains", "--accept", "unclear")[0] == 0
    assert written(here)[1]["api_key_file"] == "keys/mistral"
    assert "api_key" not in written(here)[1]


def test_what_is_added_is_a_configuration(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("GROQ_API_KEY", "CLOUDFLARE_API_TOKEN", "CLOUDFLARE_ACCOUNT_ID", "ANTHROPIC_API_KEY", "OPENROUTER_API_KEY")
    for name in names:
        monkeypatch.setenv(name, f"{name.lower()}_0123456789")
    for provider in ("groq", "cloudflare", "ovh", "llm7"):
        assert free("add", provider, says="y\n")[0] == 0
    assert free("add", "openrouter", "--plan", "credits", says="y\n")[0] == 0
    code, said = free("add", "anthropic", says="y\n")
    assert code == 0
    assert "Set a budget for it" in said
    code, said = run("config", "check")
    assert code == 0, said
    assert "accounts: 6" in said
    assert 'accounts[5] "anthropic": is not used: the catalog has no models of Anthropic.' in said
    assert written(here)[4]["plan"] == "credits"


def test_config_check_shows_the_terms_that_were_not_accepted(here: Path) -> None:
    (here / "streamlane.toml").write_text('[[accounts]]\nname="g"\nprovider="gemini"\napi_key="AIza0123456789abcdef"\n')
    code, said = run("config", "check")
    assert code == 0
    assert (
        'accounts[0] "g": is not used: terms of Google Gemini API (AI Studio) are not accepted: trains, no_eea.' in said
    )
    assert "people may read it" in said
    assert "AIza" not in said


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("groq",), "already has an account of Groq (Free plan): groq."),
        (("groq", "--name", "groq", "--owned-separately"), '"groq" is already a name in streamlane.toml.'),
        (("github_models",), "GitHub Models is retired."),
        (("openrouter", "--plan", "gold"), 'has no plan "gold". Plans: free, credits.'),
    ],
)
def test_what_cannot_be_added_says_why_and_changes_nothing(here: Path, words: tuple[str, ...], reason: str) -> None:
    free("add", "groq")
    before = (here / "streamlane.toml").read_bytes()
    code, said = free("add", *words)
    assert code == 1
    assert reason in said
    assert (here / "streamlane.toml").read_bytes() == before


def test_a_further_account_says_that_it_is_owned_separately(here: Path) -> None:
    free("add", "groq")
    assert free("add", "groq", "--owned-separately", "--variable", "GROQ_WORK")[0] == 0
    assert written(here)[1] == {
        "name": "groq-2",
        "provider": "groq",
        "api_key": "${GROQ_WORK}",
        "owned_separately": True,
    }


def test_a_further_account_has_a_variable_of_its_own(here: Path) -> None:
    free("add", "groq", "--name", "mine")
    assert "GROQ_API_KEY_2 is not set yet" in free("add", "groq", "--name", "work", "--owned-separately")[1]
    assert [each["api_key"] for each in written(here)] == ["${GROQ_API_KEY}", "${GROQ_API_KEY_2}"]


def test_a_term_that_there_is_not_is_told_with_the_nearest(here: Path) -> None:
    code, said = free("add", "gemini", "--accept", "trians")
    assert code == 1
    assert 'There is no term "trians". Did you mean "trains"?' in said
    assert not (here / "streamlane.toml").exists()


def test_accounts_are_shown_where_their_keys_are_not_set(here: Path) -> None:
    free("add", "groq", "--name", "mine")
    assert "\n> mine " in free("list")[1]


def test_accounts_in_another_form_are_left_alone(here: Path) -> None:
    (here / "streamlane.toml").write_text('accounts = [{ name = "a", provider = "ovh" }]\n')
    code, said = free("add", "groq")
    assert code == 1
    assert "Add this yourself" in said
    assert 'provider = "groq"' in said


def test_the_page_is_what_the_generator_writes() -> None:
    assert (ROOT / "docs" / "free-tiers.md").read_text(encoding="utf-8") == free_page(), "run scripts/docs"


def test_what_the_page_shows_is_a_configuration(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [part.partition("```")[0] for part in free_page().split("```toml\n")[1:]]
    for name in ("GROQ_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "COMPANY_KEY"):
        monkeypatch.setenv(name, f"{name.lower()}_0123456789")
    (here / "streamlane.toml").write_text("\n".join(blocks))
    code, said = run("config", "check")
    assert code == 0, said
    assert "not used" not in said
