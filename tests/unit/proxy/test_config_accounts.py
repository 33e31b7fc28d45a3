"""[[accounts]] and [catalog.PROVIDER] in a file: what they become, and the sentence that each mistake gets."""

from pathlib import Path

import pytest

from proxy.accounts import build
from proxy.catalog import merged
from proxy.config import Config
from proxy.config_error import ConfigError
from proxy.config_free import AccountLimit, Rates
from proxy.config_load import load
from proxy.config_show import as_data, as_text

HOME = {"HOME": "/home/streamlane", "GROQ_API_KEY": "gsk_0123456789abcdefghijklmn"}
GROQ = '[[accounts]]\nname = "me"\nprovider = "groq"\napi_key = "${GROQ_API_KEY}"\n'
WHOLE = f"""
[free]
when_spent = ["local"]
local = ["local/any"]
[quota]
synchronous = "normal"
[[backends]]
kind = "fake"
name = "local"
{GROQ}
models = ["openai/gpt-oss-20b"]
limits = [{{ metric = "requests", amount = 10, window = "minute" }}]
[[accounts]]
name = "claude"
provider = "anthropic"
api_key = "sk-ant-0123456789abcdefghij"
accept = ["card"]
prices = {{ haiku = {{ input = 1, output = 5.5 }} }}
limits = [{{ metric = "usd", amount = 2.5, window = "month", reset = "fixed", timezone = "Europe/Berlin" }}]
[catalog.groq.models."openai/gpt-oss-20b"]
quality = 0.4
[catalog.company]
base_url = "https://llm.example.com/v1"
[models.cheap]
targets = ["me/openai/gpt-oss-20b", "local/any"]
"""


def config_of(folder: Path, text: str) -> Config:
    (folder / "streamlane.toml").write_text(text, encoding="utf-8")
    return load(None, HOME, folder).config


def problems(folder: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        config_of(folder, text)
    return caught.value.problems


def test_a_file_becomes_accounts_and_facts(tmp_path: Path) -> None:
    config = config_of(tmp_path, WHOLE)
    me, claude = config.accounts
    assert me.api_key == HOME["GROQ_API_KEY"]
    assert me.limits == (AccountLimit(metric="requests", amount=10, window="minute"),)
    assert claude.prices == {"haiku": Rates(input=1, output=5.5)}
    assert (config.free.when_spent, config.free.wait) == (("local",), 30)
    assert config.quota.synchronous == "normal"
    assert merged(config.catalog)["groq"].models["openai/gpt-oss-20b"].quality == 0.4
    pools = {pool.id: pool.cap for pool in build(config, merged(config.catalog)).pools}
    assert pools["me/requests/minute/openai/gpt-oss-20b"] == 10
    assert pools["claude/usd_micros/month"] == 2_500_000


def test_what_is_shown_loads_again_and_has_no_secret(tmp_path: Path) -> None:
    (tmp_path / "streamlane.toml").write_text(WHOLE)
    loaded = load(None, HOME, tmp_path)
    text = as_text(loaded)
    assert "[[accounts]]" in text
    assert "[catalog.groq]" in text
    for shown in (text, str(as_data(loaded))):
        assert HOME["GROQ_API_KEY"] not in shown
        assert "sk-ant-0123456789abcdefghij" not in shown
    (tmp_path / "again").mkdir()
    again = config_of(tmp_path / "again", text.replace("…", "-"))
    assert [each.limits for each in again.accounts] == [each.limits for each in loaded.config.accounts]
    assert again.catalog == loaded.config.catalog


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('accounts = "groq"', "accounts: expected tables [[accounts]], with two brackets, got text"),
        ("catalog = 1", "catalog: expected tables [catalog.PROVIDER], got a whole number"),
        ('[[accounts]]\nname = "a"', "accounts[0].provider: missing. Add it."),
        (f"{GROQ}modles = []", 'accounts[0].modles: unknown key. Did you mean "models"?'),
        (f"{GROQ}base_url = 'nonsense'", "accounts[0].base_url: expected an http(s) URL without user, query and"),
        (f"{GROQ}api_key_file = 1", "accounts[0].api_key_file: expected a path in quotes"),
        (
            GROQ.replace('"groq"', '"cohere"') + "account_id = 'x'",
            "accounts[0].account_id: Cohere (trial key) has no place for it. Take it out",
        ),
        (f"{GROQ}accept = ['train']", 'accounts[0].accept[0]: expected one of "trains", "evaluation_only"'),
        (f"{GROQ}accept = ['train']", 'got "train". Did you mean "trains"?'),
        (f"{GROQ}plan = 'fre'", 'accounts[0].plan: no such plan: "fre". Did you mean "free"? Plans: free.'),
        (
            f"{GROQ}limits = [{{ metric = 'request', amount = 1, window = 'day' }}]",
            'accounts[0].limits[0].metric: expected one of "requests"',
        ),
        (
            f"{GROQ}limits = [{{ metric = 'requests', amount = 1, windows = 'day' }}]",
            'accounts[0].limits[0].windows: unknown key. Did you mean "window"?',
        ),
        (
            f"{GROQ}limits = [{{ metric = 'requests', amount = 1 }}]",
            "accounts[0].limits[0]: window: expected second, minute, hour",
        ),
        (
            f"{GROQ}limits = [{{ metric = 'requests', amount = 1, window = '5x' }}]",
            'or a length such as 5h, got "5x"',
        ),
        (
            f"{GROQ}limits = [{{ metric = 'requests', amount = 1.5, window = 'day' }}]",
            "amount: expected a whole number",
        ),
        (
            f"{GROQ}limits = [{{ metric = 'requests', amount = inf, window = 'day' }}]",
            "amount: expected a whole number",
        ),
        (
            f"{GROQ}limits = [{{ metric = 'requests', amount = 1, window = '5h', reset = 'fixed' }}]",
            "reset: fixed needs one of the windows second, minute",
        ),
        (
            f"{GROQ}limits = [{{ metric = 'requests', amount = 1, window = 'day', timezone = 'Mars/Base' }}]",
            'timezone: expected a name such as "America/Los_Angeles", got "Mars/Base"',
        ),
        (
            f"{GROQ}limits = [{{ metric = 'requests', amount = 1, window = '5h', timezone = 'UTC' }}]",
            "a time zone needs one of the windows",
        ),
        (
            f"{GROQ}limits = [{{ metric = 'concurrent_requests', amount = 1, window = 'day' }}]",
            "window: concurrent_requests has none: take it out",
        ),
        (
            f"{GROQ}limits = [{{ metric = 'requests', amount = 1, window = 'day', model = 'groq/compoun' }}]",
            'accounts[0].limits[0].model: "groq/compoun" is none of its models. Did you mean "groq/compound"?',
        ),
        (
            GROQ.replace('"groq"', '"grok"'),
            'accounts[0].provider: no such provider: "grok". Did you mean "groq"? Known: gemini, groq,',
        ),
        (
            '[[accounts]]\nname = "cf"\nprovider = "cloudflare"\napi_key = "abcdefghijklmnop"',
            "accounts[0].account_id: expected the id of your account there",
        ),
        (
            GROQ.replace('"me"', '"free"'),
            'accounts: "free" is the name by which all accounts are asked. Rename the account "free".',
        ),
        (
            f'[[backends]]\nkind = "fake"\nname = "me"\n{GROQ}',
            'accounts[0].name: "me" is already the name of backends[0]. Choose another.',
        ),
        (f"{GROQ}{GROQ}", 'accounts[1].name: "me" is already the name of accounts[0]. Choose another.'),
        (
            GROQ + GROQ.replace('"me"', '"you"'),
            'accounts[1]: "you" has the credential of "me": one account, one quota. Remove one.',
        ),
        (
            GROQ + GROQ.replace('"me"', '"you"').replace("${GROQ_API_KEY}", "gsk_another_one_abcdef"),
            'accounts[1]: "you" is a further account of groq, beside "me".',
        ),
        (
            2 * '[[accounts]]\nname = "a"\nprovider = "ovh"\nowned_separately = true\n'.replace('"a"', '"b"'),
            "has the credential of",
        ),
        (
            '[catalog.grok]\nname = "x"',
            'catalog.grok: no such provider. Did you mean "groq"? One of your own needs its',
        ),
        ('[catalog.groq]\nkind = "gemni"', 'catalog.groq.kind: unknown kind "gemni". Did you mean "gemini"?'),
        ("[catalog.groq.models.m]\nqualty = 1", 'catalog.groq.models.m.qualty: unknown key. Did you mean "quality"?'),
        ("[catalog.groq.models.m]\nquality = 2", "catalog.groq.models.quality: expected a number <= 1"),
        ('[free]\nlocal = ["nobody/m"]', 'free.local[0]: no backend is named "nobody". There are no [[backends]].'),
        ('[free]\nwhen_spent = ["wai"]', "free.when_spent"),
        ("[free]\nagent_floor = 2", "free.agent_floor: expected a number <= 1"),
    ],
)
def test_each_mistake_says_where_and_what_to_do(tmp_path: Path, text: str, problem: str) -> None:
    found = problems(tmp_path, text)
    assert any(problem in each for each in found), found
    assert all(each.startswith("streamlane.toml: ") for each in found)
    assert HOME["GROQ_API_KEY"] not in str(found)


def test_a_further_account_that_is_owned_separately_is_fine(tmp_path: Path) -> None:
    other = GROQ.replace('"me"', '"work"').replace("${GROQ_API_KEY}", "gsk_another_one_abcdef")
    assert len(config_of(tmp_path, f"{GROQ}{other}owned_separately = true").accounts) == 2


def test_a_key_file_is_a_path_from_the_files_folder(tmp_path: Path) -> None:
    [account] = config_of(tmp_path, '[[accounts]]\nname = "a"\nprovider = "groq"\napi_key_file = "key"').accounts
    assert account.api_key_file == tmp_path / "key"


def test_the_environment_sets_the_keys_of_free(tmp_path: Path) -> None:
    loaded = load(None, {**HOME, "STREAMLANE_FREE_WHEN_SPENT": "paid,wait", "STREAMLANE_FREE_WAIT": "5"}, tmp_path)
    assert (loaded.config.free.when_spent, loaded.config.free.wait) == (("paid", "wait"), 5)
