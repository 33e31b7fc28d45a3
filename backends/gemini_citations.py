"""Gemini: the sources of an answer, from its citations and its grounding. Pure."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from backends.events import Citation

MOST = 256  # citations of one answer; each is looked for in the whole of it


class Cited(msgspec.Struct):
    """A CitationSource: what was said as it stands there. Its places count bytes."""

    startIndex: int = 0  # noqa: N815  # as the API has it, like all below
    endIndex: int = 0  # noqa: N815
    uri: str = ""
    title: str = ""


class CitationMetadata(msgspec.Struct):
    citationSources: tuple[Cited, ...] = ()  # noqa: N815  # of the Gemini API
    citations: tuple[Cited, ...] = ()  # of Vertex AI


class Place(msgspec.Struct):
    uri: str = ""
    title: str = ""


class Chunk(msgspec.Struct):
    """A source: of a search in the web, in documents, or on a map."""

    web: Place | None = None
    retrievedContext: Place | None = None  # noqa: N815
    maps: Place | None = None


class Segment(msgspec.Struct):
    startIndex: int = 0  # noqa: N815
    endIndex: int = 0  # noqa: N815
    text: str = ""


class Support(msgspec.Struct):
    segment: Segment = msgspec.field(default_factory=Segment)
    groundingChunkIndices: tuple[int, ...] = ()  # noqa: N815


class GroundingMetadata(msgspec.Struct):
    groundingChunks: tuple[Chunk, ...] = ()  # noqa: N815
    groundingSupports: tuple[Support, ...] = ()  # noqa: N815


def citations(answer: str, cited: Sequence[Any], grounded: Any) -> list[Citation]:
    """What every citationMetadata and the last groundingMetadata of `answer` say, each once.

    Nothing of what makes no sense.
    """
    if not cited and grounded is None:
        return []
    said = answer.encode("utf-8", "replace")
    quotes = (each for value in cited for each in quoted(said, value))
    return [*dict.fromkeys([*islice(quotes, MOST), *islice(supported(said, grounded), MOST)])]


def quoted(said: bytes, value: Any) -> Iterator[Citation]:
    try:
        found = msgspec.convert(value or {}, CitationMetadata)
    except msgspec.ValidationError:
        return
    for each in (found.citationSources or found.citations)[:MOST]:
        if each.uri and (text := piece(said, each.startIndex, each.endIndex)):
            start = len(said[: each.startIndex].decode("utf-8", "ignore"))
            yield Citation(start, start + len(text), text, each.uri, each.title)


def supported(said: bytes, value: Any) -> Iterator[Citation]:
    try:
        found = msgspec.convert(value or {}, GroundingMetadata)
    except msgspec.ValidationError:
        return
    for support in found.groundingSupports[:MOST]:
        segment = support.segment
        # Its places count bytes of one part; ours characters of the whole answer. Its text says whether they agree.
        at = segment.startIndex if piece(said, segment.startIndex, segment.endIndex) == segment.text else -1
        at = at if at >= 0 else said.find(segment.text.encode("utf-8", "replace"))
        if at < 0 or not segment.text:
            continue
        start = len(said[:at].decode("utf-8", "ignore"))
        for index in support.groundingChunkIndices:
            chunk = found.groundingChunks[index] if 0 <= index < len(found.groundingChunks) else Chunk()
            place = chunk.web or chunk.retrievedContext or chunk.maps
            if place is not None and place.uri:
                yield Citation(start, start + len(segment.text), segment.text, place.uri, place.title)


def piece(said: bytes, start: int, end: int) -> str:
    """The text of these bytes; empty where they are none."""
    return said[start:end].decode("utf-8", "ignore") if 0 <= start < end <= len(said) else ""
