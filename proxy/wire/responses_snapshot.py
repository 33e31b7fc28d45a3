"""The response object as far as it is known, read off the log. Pure."""

from typing import Any

from proxy.response_log import Mark, ResponseLog


def snapshot(log: ResponseLog) -> dict[str, Any]:
    """As the terminal event has it once there is one; until then as it began, with the items that are complete."""
    marks = [event for _, _, event in log.read(0 if not log.ended else log.head - 1) if isinstance(event, Mark)]
    responses = [mark.fields["response"] for mark in marks if "response" in mark.fields]
    response: dict[str, Any] = responses[-1]  # type: ignore[assignment]  # that is what this member holds
    if log.ended:
        return response
    return {**response, "output": [mark.fields["item"] for mark in marks if mark.type == "response.output_item.done"]}
