"""Reasoning of a chat message with what its provider wants back: `reasoning_details`, in OpenRouter's shape. Pure.

    {"type": "reasoning.text", "text": "…", "signature": "sl1.…", "id": "…", "index": 0}      text that is signed
    {"type": "reasoning.encrypted", "data": "sl1.…", "id": "…", "index": 1}                   what only its maker reads

https://openrouter.ai/docs/guides/best-practices/reasoning-tokens. The id is that of the tool call that it stands
before, because a chat message keeps no order between the two; else that of the reasoning.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backends.request import Reasoning
from proxy.wire.opaque import unpacked

Json = dict[str, Any]


def detail(item: Json, following: Json | None, index: int) -> Json:
    """One reasoning item that has such data. `following` is the item behind it."""
    calls = following is not None and "call_id" in following
    place = {"id": following["call_id"] if calls and following else item["id"], "format": "unknown", "index": index}
    if texts := [part["text"] for part in item["content"]]:
        return {"type": "reasoning.text", "text": "".join(texts), "signature": item["encrypted_content"], **place}
    return {"type": "reasoning.encrypted", "data": item["encrypted_content"], **place}


def details(output: Sequence[Json]) -> list[Json]:
    """Those of a whole answer."""
    sealed = [number for number, item in enumerate(output) if "encrypted_content" in item]
    return [
        detail(output[number], output[number + 1] if number + 1 < len(output) else None, index)
        for index, number in enumerate(sealed)
    ]


def detailed(given: Sequence[Any]) -> Iterator[tuple[str | None, Reasoning]]:
    """What a client sends back: the id, and the reasoning. What is none is left out."""
    for each in given:
        if not isinstance(each, Mapping):
            continue
        text = each.get("text") if each.get("type") == "reasoning.text" else each.get("summary")
        opaque = unpacked(each.get("signature")) or unpacked(each.get("data"))
        text = text if isinstance(text, str) else ""
        if text or opaque:
            belongs = each.get("id")
            yield belongs if isinstance(belongs, str) else None, Reasoning(text, opaque)
