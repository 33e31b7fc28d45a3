"""What an engine is asked is made to fit it; what makes no sense is refused."""

from dataclasses import replace

import pytest

from backends.errors import InvalidRequest
from backends.llama_cpp.abilities import fitted
from backends.request import Message, NamedTool, Request, Tool, ToolCall, said

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
        replace(ASK, messages=(Message("assistant", (ToolCall("a", "clock", "{"),)),)),
    ],
)
def test_tools_that_make_no_sense_are_the_clients_fault(request_: Request) -> None:
    with pytest.raises(InvalidRequest):
        fitted(request_, tools=True)
