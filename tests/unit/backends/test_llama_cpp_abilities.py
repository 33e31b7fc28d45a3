"""What an engine is asked is made to fit it; what makes no sense is refused."""

import pytest
from msgspec.structs import replace

from backends.errors import InvalidRequest
from backends.llama_cpp.abilities import fitted
from backends.request import JsonFormat, Message, NamedTool, Request, Text, Tool, ToolCall, said

ASK = Request("tiny", (said("user", "Hi."),), max_output_tokens=10)
CALL = Message("assistant", (ToolCall("a", "clock", "{}"),))
CLOCK = Tool("clock")


def test_a_named_tool_is_the_only_one_there_is() -> None:
    found = fitted(replace(ASK, tools=(Tool("x"), CLOCK), tool_choice=NamedTool("clock")), tools=True)
    assert (found.tools, found.tool_choice) == ((CLOCK,), "required")
    assert fitted(replace(ASK, tools=(CLOCK,), tool_choice="none"), tools=False).tools == ()
    assert fitted(replace(ASK, messages=(CALL,), tools=(CLOCK,)), tools=True).tools == (CLOCK,)


@pytest.mark.parametrize(
    "request_",
    [
        replace(ASK, tools=(CLOCK,), tool_choice=NamedTool("other")),
        replace(ASK, tools=(Tool("clock", None, {"type": "string", "minLength": 20_000_000}),)),
        replace(ASK, format=JsonFormat({"type": "array", "items": {"type": "string"}, "maxItems": 2001})),
        replace(ASK, format=JsonFormat({"properties": {"a": {"pattern": "^a{3,20_000_000}$"}}})),
        replace(ASK, format=JsonFormat({"anyOf": [{"type": "string", "maxLength": 2000}] * 201})),
    ],
)
def test_tools_and_schemas_that_make_no_sense_are_the_clients_fault(request_: Request) -> None:
    with pytest.raises(InvalidRequest):
        fitted(request_, tools=True)


def test_a_schema_of_common_lengths_is_taken() -> None:
    schema = {"properties": {"body": {"type": "string", "maxLength": 65_536, "pattern": "^[a-z]{1,200}$"}}}
    request = replace(ASK, tools=(Tool("mail", None, schema),), format=JsonFormat(schema))
    assert fitted(request, tools=True) == request


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("", "{}"),
        (" ", "{}"),
        ('{"a": 1}', '{"a": 1}'),
        ('{"a": ', '{"input":"{\\"a\\": "}'),
        ("Oslo", '{"input":"Oslo"}'),
    ],
)
def test_arguments_of_earlier_calls_are_json(given: str, shown: str) -> None:
    calls = Message("assistant", (Text("Well."), ToolCall("a", "clock", given)))
    [message] = fitted(replace(ASK, messages=(calls,)), tools=True).messages
    assert message.parts == (Text("Well."), ToolCall("a", "clock", shown))
