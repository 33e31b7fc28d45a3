"""Generations as one completion of raw text: chunks while they run, or the whole at their end. Pure.

https://platform.openai.com/docs/api-reference/completions/object. What a model thinks has no place in it.
"""

from collections.abc import Sequence
from typing import Any

from proxy.response_log import Entry, Mark, ResponseLog
from proxy.wire.chat_choice import Json, data, finish_reason, usage_of
from proxy.wire.chat_chunks import DONE, head_of
from proxy.wire.failure import failure
from proxy.wire_errors import error_body

TEXTS = ("response.output_text.delta", "response.refusal.delta")


def completion(responses: Sequence[Json], *, extended: bool = False) -> Json:
    """The whole, of responses that ended well."""
    choices = []
    for index, response in enumerate(responses):
        parts = [part for item in response["output"] for part in item.get("content") or () if item["type"] == "message"]
        given = [each for part in parts for each in part.get("logprobs") or ()]
        text = "".join(part["refusal" if part["type"] == "refusal" else "text"] for part in parts)
        choices.append(choice(index, text, finish_of(response), legacy_logprobs(given, 0) if given else None))
    return {
        **head_of(responses[0], "cmpl", "text_completion"),
        "choices": choices,
        "usage": usage_of(list(responses), extended=extended),
    }


class CompletionStream:
    """Encodes several logs as one stream. `response` is the first one's response object."""

    def __init__(
        self, response: Json, logs: Sequence[ResponseLog], *, include_usage: bool, extended: bool = False
    ) -> None:
        self._head = head_of(response, "cmpl", "text_completion")
        if include_usage:
            self._head["usage"] = None
        self._logs = logs
        self._offsets = [0] * len(logs)
        self._responses: list[Json] = []
        self._include_usage, self._extended = include_usage, extended
        self._failed = False

    def frames(self, index: int, entries: Sequence[Entry]) -> bytes:
        """What choice `index` says. Nothing follows an error."""
        return b"".join([self._frame(index, entry) for entry in entries if not self._failed])

    def _frame(self, index: int, entry: Entry) -> bytes:
        _, part, event = entry
        if not isinstance(event, Mark):
            return self._text(index, event) if self._logs[index].parts[part - 1].type in TEXTS else b""
        if event.type in TEXTS:
            return self._text(index, str(event.fields["delta"]), event.fields.get("logprobs"))
        if not event.terminal:
            return b""
        response: Json = event.fields["response"]  # type: ignore[assignment]  # a Mark's members are JSON
        self._responses.append(response)
        if (error := failure(response)) is not None:
            self._failed = True
            return data({"error": error})
        return data({**self._head, "choices": [choice(index, "", finish_of(response))]})

    def _text(self, index: int, text: str, given: Any = None) -> bytes:
        probabilities = legacy_logprobs(given, self._offsets[index]) if given else None
        self._offsets[index] += len(text)
        return data({**self._head, "choices": [choice(index, text, None, probabilities)]})

    def end(self) -> bytes:
        """The usage where it was asked for, and [DONE]."""
        if self._failed:
            return b""
        usage = usage_of(self._responses, extended=self._extended)
        if not self._include_usage or usage is None:
            return DONE
        return data({**self._head, "choices": [], "usage": usage}) + DONE

    def failed(self, error: Exception) -> bytes:
        """An error of ours."""
        return b"" if self._failed else data({"error": error_body(error)})


def choice(index: int, text: str, finish: str | None, logprobs: Json | None = None) -> Json:
    """One choice, whole or in part."""
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}


def finish_of(response: Json) -> str | None:
    """How it ended. This API has no tools, and so no word for an end that calls them."""
    reason = finish_reason(response)
    return "stop" if reason == "tool_calls" else reason


def legacy_logprobs(given: Sequence[Json], offset: int) -> Json:
    """Log probabilities as this API has them: lists side by side. `offset` is the first token's place in the text."""
    offsets = []
    for each in given:
        offsets.append(offset)
        offset += len(each["token"])
    return {
        "tokens": [each["token"] for each in given],
        "token_logprobs": [each["logprob"] for each in given],
        "top_logprobs": [{one["token"]: one["logprob"] for one in each["top_logprobs"]} for each in given],
        "text_offset": offsets,
    }
