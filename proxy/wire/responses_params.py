"""What each parameter of a Responses create does here. Pure; docs/compatibility.md is held to these tables.

A feature that we do not speak is an error that names it, because leaving it out would change the answer. A knob that
only tunes is accepted and has no effect.
"""

from collections.abc import Mapping

from proxy.wire.extras import Extras

SUPPORTED = frozenset(Extras.__struct_fields__) | frozenset(
    {
        "background", "event_id", "frequency_penalty", "generate", "include", "input", "instructions",
        "max_output_tokens", "max_tool_calls", "metadata", "min_p", "model", "parallel_tool_calls",
        "presence_penalty", "previous_response_id", "reasoning", "seed", "stop", "store", "stream", "stream_id",
        "temperature", "text", "tool_choice", "tools", "top_k", "top_logprobs", "top_p", "type",
    }
)  # fmt: skip
IGNORED = frozenset(
    {
        "access_programs", "client_metadata", "context_management", "image", "prompt_cache_key",
        "prompt_cache_options", "prompt_cache_retention", "safety_identifier", "service_tier", "stream_options",
        "truncation", "user",
    }
)  # fmt: skip
REFUSED: Mapping[str, str] = {
    "conversation": "A stored conversation",
    "moderation": "Moderation",
    "prompt": "A stored prompt",
}
KNOWN = SUPPORTED | IGNORED | frozenset(REFUSED)

LOGPROBS = "message.output_text.logprobs"
INCLUDES = frozenset(
    {
        LOGPROBS,
        # The others have no effect: output that only hosted tools have, and what is shown anyway: pictures, and what
        # a provider wants back of its reasoning.
        "code_interpreter_call.outputs", "computer_call_output.output.image_url", "file_search_call.results",
        "message.input_image.image_url", "reasoning.encrypted_content", "web_search_call.action.sources",
        "web_search_call.results",
    }
)  # fmt: skip
