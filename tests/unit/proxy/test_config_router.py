"""[router] in a file: what is right becomes ladders and rules, and each mistake gets its sentence."""

from datetime import UTC, datetime, time
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy import configured_router
from proxy.cli import app
from proxy.config_error import ConfigError
from proxy.config_load import load
from proxy.config_router import Router as Options
from proxy.router_names import Ladder, Targets, Use
from proxy.routing.rules import Times, When

HOME = {"HOME": "/home/streamlane"}
BACKENDS = "".join(f'[[backends]]\nkind = "fake"\nname = "{name}"\n' for name in ("gpu", "local"))
PAIR = 'router.strong = ["gpu/llama"]\nrouter.weak = ["local/small"]\n'
RULE = '[[router.rules]]\nname = "r"\nuse = ["gpu/llama"]\n'
LADDER = "".join(
    f'[[router.ladder]]\nname = "{name}"\ntargets = ["gpu/{name}"]\nshare = {share}\n'
    for name, share in (("small", 0.5), ("middle", 0.25), ("large", 0.25))
)


def read(folder: Path, text: str) -> Options:
    (folder / "streamlane.toml").write_text(text, encoding="utf-8")
    return load(None, HOME, folder).config.router


def problem(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    [only] = caught.value.problems
    return only.removeprefix("streamlane.toml: ")


def test_strong_and_weak_and_profiles_are_ladders(tmp_path: Path) -> None:
    text = PAIR + "router.strong_share = 0.25\nrouter.profiles.cheap = 0\n" + BACKENDS
    text += '[router.profiles.own]\nstrong_share = 1\nweak = ["gpu/tiny"]\n'
    router = configured_router.router(read(tmp_path, text))
    weak, strong = Targets("weak", ("local/small",)), Targets("strong", ("gpu/llama",))
    assert router.ladders["auto"] == Ladder((weak, strong), (0.75, 0.25))
    assert router.ladders["cheap"] == Ladder((weak, strong), (1, 0))
    assert router.ladders["own"] == Ladder((Targets("weak", ("gpu/tiny",)), strong), (0, 1))
    assert list(router.names()) == ["auto", "auto:cheap", "auto:own"]


def test_a_ladder_has_its_shares_and_a_number_scales_them(tmp_path: Path) -> None:
    router = configured_router.router(read(tmp_path, f"router.profiles.best = 0.7\n{BACKENDS}{LADDER}"))
    assert [each.name for each in router.ladders["auto"].sets] == ["small", "middle", "large"]
    assert router.ladders["auto"].shares == (0.5, 0.25, 0.25)
    assert router.ladders["best"].shares == pytest.approx((0.2, 0.1, 0.7))


def test_a_rule_is_read_whole(tmp_path: Path) -> None:
    text = PAIR + 'router.timezone = "Europe/Berlin"\nrouter.groups = { staff = ["key_a"], all = ["key_a", "key_b"] }\n'
    text += BACKENDS + '[models.fast]\ntargets = ["gpu/llama"]\n' + RULE.replace('"gpu/llama"', '"weak", "fast"')
    text += 'strategy = "two_choices"\nmax_price = 2.5\n'
    text += (
        '[router.rules.when]\ngroups = ["staff"]\nheaders = { X-Team = "a*" }\nhours = "22:00-24:00"\ndays = ["fri"]\n'
    )
    options = read(tmp_path, text)
    [rule] = configured_router.rules(options).rules
    assert rule.use == Use("r", ("weak", "fast"), "two_choices", max_price=2_500_000)
    when = When(groups=("staff",), headers={"x-team": "a*"}, times=Times(time(22), time(0), ("fri",)))
    assert rule.when == when
    assert configured_router.groups(options) == {"key_a": {"staff", "all"}, "key_b": {"all"}}
    assert rule.when.times is not None
    assert rule.when.times.hold(datetime(2026, 11, 20, 23, 59, tzinfo=UTC))
    assert not rule.when.times.hold(datetime(2026, 11, 21, 0, 0, tzinfo=UTC))


def test_rules_alone_are_enough_where_one_is_for_everything(tmp_path: Path) -> None:
    rest = RULE.replace('"r"', '"rest"')
    router = configured_router.router(read(tmp_path, f"{BACKENDS}{RULE}when.tools = true\n{rest}"))
    assert router.otherwise == Use("rest", ("gpu/llama",))


@pytest.mark.parametrize(
    ("text", "path", "sentence"),
    [
        ('router.weak = ["gpu/a"]\n', "router.strong", "missing. The router chooses between strong and weak: add it."),
        (
            PAIR.replace("gpu/", "gpo/"),
            "router.strong[0]",
            'no backend is named "gpo". Did you mean "gpu"? Backends: gpu, local.',
        ),
        (PAIR.replace("gpu/llama", "llama"), "router.strong[0]", 'expected "BACKEND/MODEL", got "llama"'),
        (
            PAIR.replace("gpu/llama", "free/auto"),
            "router.strong[0]",
            '"free/auto" needs [[accounts]], and there are none. Add one: streamlane free add.',
        ),
        (PAIR + LADDER, "router.ladder", "is in place of strong and weak. Take them out, or it."),
        (LADDER.replace("0.5", "0.6"), "router.ladder", "the shares must be 1 together, and are 1.1."),
        (LADDER.replace("share = 0.5\n", ""), "router.ladder[0].share", "missing. All steps have a share, or none."),
        (LADDER.replace("middle", "large"), "router.ladder[2].name", '"large" is there twice. Choose another.'),
        (
            LADDER.replace('"small"\n', '"small"\nstrategy = "weighted"\nweights = [1, 2]\n', 1),
            "router.ladder[0].weights",
            "expected 1 numbers, one for each of targets, got 2",
        ),
        (LADDER.replace("share = 0.5", "shar = 0.5"), "router.ladder[0].shar", 'unknown key. Did you mean "share"?'),
        (
            "router.ladder = 1\n",
            "router.ladder",
            "expected tables [[router.ladder]], with two brackets, got a whole number",
        ),
        (
            "router.profiles.cheap = 0.2\n",
            "router.profiles.cheap",
            "has no models to choose among: add strong and weak to [router], or here.",
        ),
        (
            PAIR + "router.profiles.cheap = 1.5\n",
            "router.profiles.cheap",
            "expected a strong share, a number from 0 to 1, or a table, got 1.5",
        ),
        (
            PAIR + "router.profiles.auto = 0.5\n",
            "router.profiles.auto",
            '"auto" itself is what [router] says. Choose another name.',
        ),
        (
            PAIR + "[router.profiles.x]\nstrong_shar = 1\n",
            "router.profiles.x.strong_shar",
            'unknown key. Did you mean "strong_share"?',
        ),
        (
            PAIR + 'router.names.my-own = "w.npz"\n',
            "router.names.my-own",
            'expected letters, digits, "_" and ".", because router-NAME-THRESHOLD has the "-", got "my-own"',
        ),
        (
            PAIR + 'router.names.streamlane = "w.npz"\n',
            "router.names.streamlane",
            '"streamlane" is the router that comes along. To replace it, set router.weights_file.',
        ),
        (
            PAIR + 'router.timezone = "Berlin"\n',
            "router.timezone",
            'expected a name such as "Europe/Berlin", got "Berlin"',
        ),
        (
            PAIR + '[models.auto]\ntargets = ["gpu/llama"]\n',
            "models.auto",
            "hides a name of the router's. Rename the alias.",
        ),
        (
            PAIR + "router.sticky = 'never'\n",
            "router.sticky",
            'expected one of "none", "conversation", "hash", got "never".',
        ),
        (
            PAIR + RULE.replace("gpu/llama", "storng"),
            "router.rules[0].use[0]",
            (
                'no alias and no set is named "storng". Did you mean "strong"? There are: strong, weak. A '
                'model is "BACKEND/MODEL".'
            ),
        ),
        (
            PAIR + RULE.replace("gpu/llama", "auto:cheap"),
            "router.rules[0].use[0]",
            "no profile of that name. There are: auto.",
        ),
        (
            PAIR + RULE.replace('["gpu/llama"]', '["auto", "gpu/llama"]'),
            "router.rules[0].use[0]",
            '"auto" stands alone: the learned router has an order of its own.',
        ),
        (
            PAIR + RULE + 'strategy = "weighted"\n',
            "router.rules[0].weights",
            "expected 1 numbers, one for each of use, got 0",
        ),
        (
            PAIR + RULE + "weights = [1]\n",
            "router.rules[0].weights",
            'is for strategy = "weighted". Set that, or take it out.',
        ),
        (
            PAIR + RULE.replace("gpu/llama", "auto") + 'strategy = "least_busy"\n',
            "router.rules[0].strategy",
            "cannot order free/… or auto: these order themselves. Take it out.",
        ),
        (PAIR + RULE + RULE, "router.rules[1].name", '"r" is already the name of router.rules[0].'),
        (PAIR + RULE + "stiky = 'hash'\n", "router.rules[0].stiky", 'unknown key. Did you mean "sticky"?'),
        (
            RULE + "when.tools = true\n",
            "router.rules",
            (
                "nobody answers auto where no rule matches. Add strong and weak to [router], or a last rule "
                "without when."
            ),
        ),
        (
            RULE + 'when.models = ["auto*"]\nwhen.tools = true\n',
            "router.rules",
            (
                "nobody answers auto where no rule matches. Add strong and weak to [router], or a last rule "
                "without when."
            ),
        ),
        (
            PAIR + RULE + "when.max_promt_tokens = 1\n",
            "router.rules[0].when.max_promt_tokens",
            'unknown key. Did you mean "max_prompt_tokens"?',
        ),
        (PAIR + RULE + "when.max_turns = 0\n", "router.rules[0].when.max_turns", "expected a whole number >= 1"),
        (
            PAIR + RULE + "when.min_turns = 3\nwhen.max_turns = 2\n",
            "router.rules[0].when.max_turns",
            "2 is less than min_turns, 3: no request is both.",
        ),
        (
            PAIR + RULE + 'when.hours = "8-18"\n',
            "router.rules[0].when.hours",
            'expected two times such as "08:00-18:00", got "8-18"',
        ),
        (
            PAIR + RULE + 'when.hours = "08:00-25:00"\n',
            "router.rules[0].when.hours",
            'expected two times such as "08:00-18:00", got "08:00-25:00"',
        ),
        (
            PAIR + RULE + 'when.days = ["sunday"]\n',
            "router.rules[0].when.days[0]",
            ('expected one of "mon", "tue", "wed", "thu", "fri", "sat", "sun", got "sunday". Did you mean "sun"?'),
        ),
        (
            PAIR + RULE + 'when.languages = ["German"]\n',
            "router.rules[0].when.languages[0]",
            'expected an ISO 639-1 code such as "de", got "German". Did you mean "de"?',
        ),
        (
            PAIR + RULE + 'when.groups = ["staf"]\n[router.groups]\nstaff = []\n',
            "router.rules[0].when.groups[0]",
            'no group is named "staf". Did you mean "staff"? Groups: staff.',
        ),
        (
            PAIR + RULE + 'when.headers = { Authorization = "*" }\n',
            "router.rules[0].when.headers.Authorization",
            "headers that hold keys or cookies are never read. Use users or groups.",
        ),
        (
            PAIR + RULE + 'when.headers = { x-streamlane-key-openai = "*" }\n',
            "router.rules[0].when.headers.x-streamlane-key-openai",
            "headers that hold keys or cookies are never read. Use users or groups.",
        ),
        (
            PAIR + RULE + 'when.holds = ["pictures"]\n',
            "router.rules[0].when.holds[0]",
            'expected one of "code", "math", "image", "audio", "file", "json", got "pictures".',
        ),
        (
            '[models.m]\ntargets = ["gpu/a", "local/b"]\nstrategy = "weighted"\nweights = [1]\n',
            "models.m.weights",
            "expected 2 numbers, one for each of targets, got 1",
        ),
    ],
)
def test_each_mistake_has_its_sentence(tmp_path: Path, text: str, path: str, sentence: str) -> None:
    flat = "".join(line + "\n" for line in text.splitlines() if line.startswith("router."))
    rest = "".join(line + "\n" for line in text.splitlines() if not line.startswith("router."))
    assert problem(tmp_path, flat + BACKENDS + rest) == f"{path}: {sentence}"


def test_every_rule_with_a_mistake_is_told(tmp_path: Path) -> None:
    text = PAIR + BACKENDS + RULE + "when.max_turns = 0\n" + RULE.replace('"r"', '"s"') + "max_price = -1\n"
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert [each.split(": ")[1] for each in caught.value.problems] == [
        "router.rules[0].when.max_turns",
        "router.rules[1].max_price",
    ]


def test_the_rules_are_shown_as_sentences_and_a_useless_one_is_told(tmp_path: Path) -> None:
    file = tmp_path / "streamlane.toml"
    file.write_text(
        f'{PAIR}router.strong_share = 0.3\nrouter.weights_file = "gone.npz"\n{BACKENDS}'
        f"{RULE}when.min_prompt_tokens = 2000\n"
        + RULE.replace('"r"', '"never"')
        + "when.min_prompt_tokens = 2000\nwhen.tools = true\n"
    )
    shown = CliRunner().invoke(app, ["router", "rules", "--config", str(file)])
    assert shown.exit_code == 0
    assert "  1  r: when the prompt has at least 2,000 tokens, ask gpu/llama.\n" in shown.stdout
    assert "auto: 30% to strong (gpu/llama), 70% to weak (local/small)." in shown.stdout
    assert 'warning: router.rules "never" never matches' in shown.stderr
    refused = CliRunner().invoke(app, ["config", "check", "--config", str(file)])
    assert isinstance(refused.exception, ConfigError)
    assert "router.weights_file: There is no file" in str(refused.exception)
    file.write_text(file.read_text().replace('router.weights_file = "gone.npz"\n', ""))
    checked = CliRunner().invoke(app, ["config", "check", "--config", str(file)])
    assert checked.exit_code == 0
    assert 'warning: router.rules "never" never matches' in checked.stderr


def test_the_documented_example_is_one_and_says_what_the_page_says(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "routing.md").read_text(encoding="utf-8")
    example, ladder, profile, privacy = (block.partition("```")[0] for block in page.split("```toml\n")[1:])
    names = ("openai", "vllm", "vllm2", "custom", "localai", "local", "gpu")
    backends = "".join(f'[[backends]]\nkind = "fake"\nname = "{name}"\n' for name in names)
    account = '[[accounts]]\nname = "groq-me"\nprovider = "groq"\napi_key = "gsk-0123456789"\n'
    file = tmp_path / "streamlane.toml"
    file.write_text(f"{example}\n{backends}{account}", encoding="utf-8")
    shown = CliRunner().invoke(app, ["router", "rules", "--config", str(file)])
    assert shown.exit_code == 0, shown.exception
    told = page.split("says it like this:\n\n```\n")[1].partition("```")[0]
    assert told in shown.stdout
    assert len(read(tmp_path, f"{ladder}{profile}{privacy}{backends}").ladder) == 3
