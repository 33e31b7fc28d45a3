"""Creates as real clients send them, by client."""

from typing import Any

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
LOOK = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a place.",
    "parameters": {
        "type": "object",
        "properties": {"place": {"type": "string"}, "days": {"type": "array", "items": {"type": "integer"}}},
        "required": ["place"],
        "additionalProperties": False,
    },
    "strict": True,
}
PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}
REQUESTS: dict[str, dict[str, Any]] = {
    "one line": {"type": "response.create", "model": "m", "input": "Say hello.", "stream_id": "main", "event_id": "e1"},
    "an agent on its socket": {
        "type": "response.create",
        "model": "m",
        "instructions": "You are a careful agent.",
        "input": [
            {"role": "user", "content": "What is the weather in Rome and Oslo?"},
            {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAAA", "status": None},
            {
                "id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "phase": "commentary",
                "content": [{"type": "output_text", "text": "I look.", "annotations": [], "logprobs": []}],
            },
            {
                "id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "get_weather",
                "arguments": '{"place": "Rome"}', "status": "completed",
            },
            {"type": "function_call", "call_id": "call_2", "name": "get_weather", "arguments": '{"place": "Oslo"}'},
            {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
            {"type": "function_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "snow"}]},
        ],
        "tools": [LOOK],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "high", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "stream": True,
        "prompt_cache_key": "k",
        "text": {"verbosity": "low"},
        "truncation": "auto",
        "metadata": {"trace": "abc"},
    },
    "a coding agent": {
        "type": "response.create",
        "model": "m",
        "instructions": "Edit the code.",
        "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Fix it."}]},
            {"type": "custom_tool_call", "id": "ctc",
             "call_id": "c1", "name": "apply_patch", "input": "*** Begin\n\"x\""},
            {"type": "custom_tool_call_output", "call_id": "c1", "output": "Done."},
        ],
        "tools": [PATCH, LOOK],
        "tool_choice": {
            "type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "apply_patch"}],
        },
        "previous_response_id": "resp_1",
        "service_tier": "priority",
        "max_tool_calls": 3,
        "generate": True,
    },
    "an agent whose tools are in namespaces": {
        "model": "m",
        "input": [
            {"role": "user", "content": "Fix it, with help."},
            {"type": "function_call", "id": "fc_1", "status": "completed",
             "call_id": "c1", "name": "get_weather", "namespace": "crew", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        ],
        "tools": [LOOK, {"type": "namespace", "name": "crew", "description": "Helpers.", "tools": [LOOK, PATCH]}],
        "client_metadata": {"session_id": "s"},
    },
    "a structured extraction": {
        "model": "m",
        "input": [{"role": "user", "content": "Ada is 36."}],
        "text": {
            "format": {
                "type": "json_schema", "name": "person", "strict": True,
                "schema": {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]},
            }
        },
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 2,
        "temperature": 0.2,
        "top_p": 1,
        "max_output_tokens": 100,
        "stop": ["\n\n"],
        "seed": 7,
        "background": False,
    },
    "pictures, papers and sound": {
        "model": "m",
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What is this?"},
                    {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "low"},
                    {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="},
                    {"type": "input_file", "filename": "b.PDF", "file_data": "JVBERg=="},
                    {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
                ],
            },
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "I cannot say."}]},
            {"role": "user", "content": "Why?"},
        ],
    },
}  # fmt: skip
