"""Requests as real clients of the older APIs send them, by client."""

from typing import Any

from tests.unit.proxy.wire.responses_requests import LOOK, PIXEL

FUNCTION = {"type": "function", "function": {key: LOOK[key] for key in ("name", "description", "parameters", "strict")}}
CHAT: dict[str, dict[str, Any]] = {
    "one line": {"model": "m", "messages": [{"role": "user", "content": "Say hello."}]},
    "a chat application": {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
            ]},
            {"role": "assistant", "content": "A pixel.", "refusal": None, "reasoning_content": "Small."},
            {"role": "user", "name": "ann", "content": [
                {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PIXEL}"}},
                {"type": "input_audio", "input_audio": {"data": PIXEL, "format": "wav"}},
            ]},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.7,
        "top_p": 1,
        "max_tokens": 100,
        "stop": ["\n\n"],
        "seed": 7,
        "n": 2,
        "user": "ann",
    },
    "an agent": {
        "model": "m",
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "Use tools."}]},
            {"role": "user", "content": "Weather in Rome?"},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}},
                {"id": "call_2", "type": "custom", "custom": {"name": "note", "input": "Rome"}},
            ]},
            {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
            {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "noted"}]},
        ],
        "tools": [FUNCTION, {"type": "custom", "custom": {"name": "note", "format": {
            "type": "grammar", "grammar": {"syntax": "regex", "definition": "[a-z]+"}}}}],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {
            "mode": "required", "tools": [{"type": "function", "function": {"name": "get_weather"}}]}},
        "parallel_tool_calls": False,
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {
            "name": "answer", "schema": {"type": "object"}, "strict": True}},
        "logprobs": True,
        "top_logprobs": 2,
        "max_completion_tokens": 50,
    },
}  # fmt: skip
COMPLETIONS: dict[str, dict[str, Any]] = {
    "one line": {"model": "m", "prompt": "Once upon", "max_tokens": 5},
    "a code editor": {
        "model": "m", "prompt": ["def f():", "def g():"], "suffix": "\n", "n": 2, "best_of": 2, "stop": "\n\n",
        "temperature": 0, "logprobs": 1, "stream": True, "seed": 1,
    },
}  # fmt: skip
EMBEDDINGS: dict[str, dict[str, Any]] = {
    "one text": {"model": "m", "input": "a", "encoding_format": "base64"},
    "several": {"model": "m", "input": ["a", "b"], "dimensions": 2, "user": "ann"},
    "token ids": {"model": "m", "input": [[1, 2], [3]]},
}
MESSAGES: dict[str, dict[str, Any]] = {
    "one line": {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "Say hello."}]},
    "a coding agent": {
        "model": "m",
        "max_tokens": 8000,
        "system": [{"type": "text", "text": "You edit code.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "Look."},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
                {"type": "document", "title": "a", "source": {
                    "type": "base64", "media_type": "application/pdf", "data": PIXEL}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "plain"}},
            ]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "s"},
                {"type": "redacted_thinking", "data": "x"},
                {"type": "text", "text": "I read."},
                {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {"path": "a"}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True, "content": [
                    {"type": "text", "text": "no such file"}]},
                {"type": "text", "text": "Go on."},
            ]},
        ],
        "tools": [{"name": "read", "description": "Reads.", "input_schema": LOOK["parameters"],
                   "cache_control": {"type": "ephemeral"}}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "thinking": {"type": "enabled", "budget_tokens": 2000},
        "stop_sequences": ["END"],
        "stream": True,
        "temperature": 1,
        "top_k": 5,
        "top_p": 0.9,
        "metadata": {"user_id": "u"},
    },
    "structured": {
        "model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "x"}],
        "output_config": {"effort": "max", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        "tools": [{"type": "custom", "name": "read", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "tool", "name": "read"},
    },
}  # fmt: skip
