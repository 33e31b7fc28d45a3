"""Generations as one chat completion: chunks while they run, or the whole at their end. Pure.

https://platform.openai.com/docs/api-reference/chat-streaming. One id for all chunks, the role first, the usage in a
chunk of its own before [DONE]. What fails in the middle ends the stream with an error, without [DONE].
"""

from collections.abc import Sequence

from proxy.response_log import Entry, ResponseLog
from proxy.wire.chat_choice import Choice, Json, all_logprobs, data, finish_reason, message_of, usage_of
from proxy.wire.failure import failure
from proxy.wire_errors import error_body

DONE = b"data: [DONE]\n\n"


def head_of(response: Json, prefix: str, kind: str) -> Json:
    """What every chunk repeats. The id is the response's own, so that logs and chunks can be matched."""
    return {
        "id": f"{prefix}-{response['id'].removeprefix('resp_')}",
        "object": kind,
        "created": response["created_at"],
        "model": response["model"],
        "system_fingerprint": None,
    }


def chat_completion(responses: Sequence[Json], *, extended: bool = False) -> Json:
    """The whole, of responses that ended well."""
    choices = [
        {
            "index": index,
            "message": message_of(response),
            "logprobs": all_logprobs(response),
            "finish_reason": finish_reason(response),
        }
        for index, response in enumerate(responses)
    ]
    head = head_of(responses[0], "chatcmpl", "chat.completion")
    return {**head, "choices": choices, "usage": usage_of(list(responses), extended=extended)}


class ChatStream:
    """Encodes several logs as one stream. `response` is the first one's response object."""

    def __init__(
        self, response: Json, logs: Sequence[ResponseLog], *, include_usage: bool, extended: bool = False
    ) -> None:
        self._head = head_of(response, "chatcmpl", "chat.completion.chunk")
        if include_usage:
            self._head["usage"] = None
        self._choices = [Choice(log) for log in logs]
        self._include_usage, self._extended = include_usage, extended
        self._failed = False

    def frames(self, index: int, entries: Sequence[Entry]) -> bytes:
        """What choice `index` says. Nothing follows an error."""
        choice = self._choices[index]
        chunks = []
        for entry in entries:
            if self._failed:
                break
            chunks += [data({**self._head, "choices": [{"index": index, **each}]}) for each in choice.feed(entry)]
            if choice.response is not None and (error := failure(choice.response)) is not None:
                self._failed = True
                chunks.append(data({"error": error}))
        return b"".join(chunks)

    def end(self) -> bytes:
        """The usage where it was asked for, and [DONE]."""
        if self._failed:
            return b""
        usage = usage_of([each.response for each in self._choices if each.response], extended=self._extended)
        if not self._include_usage or usage is None:
            return DONE
        return data({**self._head, "choices": [], "usage": usage}) + DONE

    def failed(self, error: Exception) -> bytes:
        """An error of ours."""
        return b"" if self._failed else data({"error": error_body(error)})
