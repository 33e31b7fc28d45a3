"""What a request looks like is told right: its question, its size, what it holds, who asks."""

from datetime import UTC, datetime

import pytest

from backends.request import (
    Audio,
    File,
    Image,
    JsonFormat,
    Message,
    Prompt,
    Request,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    said,
)
from proxy.languages import LANGUAGES
from proxy.outcome import Call, Principal
from proxy.routing.facts import facts_of, question_of
from proxy.routing.language import language_detector
from proxy.routing.values import Facts
from proxy.wire.extras import RouteWish

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def facts(request: Request, **more: object) -> Facts:
    call = Call(Principal("key_a"), "req_1", headers={"x-team": "a"})
    return facts_of(request, call, model="auto", at=NOW, groups={"key_a": frozenset({"staff"})}, **more)  # type: ignore[arg-type]  # what a test gives


def asked(*messages: Message) -> Request:
    return Request("m", messages, 100)


def test_the_question_is_the_last_text_of_the_user_and_no_tool_result() -> None:
    call = Message("assistant", (ToolCall("c1", "weather", "{}"),))
    result = Message("user", (ToolResult("c1", (Text("It rains."),)),))
    talk = asked(
        said("system", "Be brief."), said("user", "Hi"), said("assistant", "?"), said("user", "Rain?"), call, result
    )
    assert question_of(talk) == "Rain?"
    assert facts(talk).turns == 2
    parts = Message("user", (Text("one"), Image("image/png", "AAAA"), Text("two")))
    assert question_of(asked(parts)) == "one\ntwo"
    assert question_of(asked(result)) == ""
    assert question_of(Request("m", prompt=Prompt("Once upon"))) == "Once upon"


def test_a_long_question_is_its_first_and_last_2000_characters() -> None:
    question = question_of(asked(said("user", "a" * 5000 + "b" * 5000)))
    assert question == "a" * 2000 + "b" * 2000


def test_tokens_are_about_those_of_the_whole_prompt() -> None:
    english = facts(asked(said("system", "You are a helpful assistant. " * 100), said("user", "Hi")))
    assert 600 < english.tokens < 850  # 601 by the tokenizer of GPT-4
    assert facts(asked(said("user", "Hi"))).tokens == 1
    assert facts(asked(Message("user", (Text("What is it?"), Image("image/png", "AAAA"))))).tokens > 500


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("What is the capital of Australia?", set()),
        ("Import the file from the folder; return it later.", set()),
        ("Fix this:\n```python\nx = y\n```", {"code"}),
        ("def f(x):\n    return g(x)", {"code"}),
        ("What is wrong?\nfor (;;) {\n  run();\n}", {"code"}),
        ("Solve $x^2 = 4$ for me.", {"math"}),
        ("What is 12 * 7?", {"math"}),
        ("One costs $5 and the other $6.", set()),
        ("It went from $5-$6 to $7.", set()),
        ("What is $n$ if $2n=4$?", {"math"}),
        (r"Show that \frac{1}{2} is rational.", {"math"}),
        ("∫ sin", {"math"}),
    ],
)
def test_code_and_mathematics_are_seen_in_the_question(text: str, kinds: set[str]) -> None:
    assert facts(asked(said("user", text))).kinds == kinds


def test_pictures_recordings_files_and_a_wish_for_json_are_seen_anywhere() -> None:
    first = Message(
        "user", (Image("image/png", "AAAA"), Audio("wav", "AAAA"), File("a.pdf", "application/pdf", "AAAA"))
    )
    request = Request("m", (first, said("assistant", "Yes."), said("user", "And now?")), 100, format=JsonFormat())
    assert facts(request).kinds == {"image", "audio", "file", "json"}


def test_the_caller_and_his_wishes() -> None:
    wish = RouteWish(work="batch", data="confidential", deadline_ms=1500, max_cost_usd_micros=20)
    found = facts(Request("m", (said("user", "Hi"),), 100, tools=(Tool("f"),), extras={"sl_route": wish}))
    assert (found.work, found.data, found.deadline, found.max_cost) == ("batch", "confidential", 1.5, 20)
    assert (found.user, found.groups, found.headers) == ("key_a", {"staff"}, {"x-team": "a"})
    assert found.tools
    assert found.output_tokens == 100
    assert not facts(Request("m", (said("user", "Hi"),), 100, tools=(Tool("f"),), tool_choice="none")).tools
    again = facts(asked(said("user", "Hi"), said("assistant", "Hello."), said("user", "And?")))
    assert again.conversation == found.conversation, "it began alike"


def test_the_language_is_told_only_where_it_is_asked_for() -> None:
    looked: list[str] = []
    request = asked(said("user", "Wie geht es dir?"))
    assert facts(request).language is None
    assert facts(request, language=lambda text: looked.append(text) or "de").language == "de"  # type: ignore[func-returns-value]  # None, then "de"
    assert looked == ["Wie geht es dir?"]


def test_languages_are_told_apart_and_what_is_none_is_not_guessed() -> None:
    language = language_detector()
    for code, text in {
        "de": "Was ist die Hauptstadt von Australien?",
        "en": "What is the capital of Australia?",
        "fr": "Quelle est la capitale de l'Australie ?",
        "es": "¿Cuál es la capital de Australia?",
        "ru": "Какая столица Австралии?",
        "zh": "请告诉我澳大利亚的首都",
    }.items():
        assert language(text) == code
        assert code in LANGUAGES
    for nothing in ("", "ok", "12345", "x = 1", "def f(x):\n    return sorted(x)"):
        assert language(nothing) is None
