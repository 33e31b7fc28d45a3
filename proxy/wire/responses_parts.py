"""Content parts of the Responses API: checked, written in one form, and read as the parts of a message. Pure.

Checking comes first and once; what `parts_of` reads was checked, or written by us.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from backends.request import Audio, File, Image, Refusal, Text
from proxy.errors import BadParameter, Unsupported
from proxy.wire.convert import convert, kind_of
from proxy.wire.inline_data import (
    base64,
    data_url,
    file_data,
    split_data_url,
    split_file_data,
)

Content = Text | Refusal | Image | Audio | File


class TextPart(Struct, frozen=True, kw_only=True):
    """Text, whoever said it."""

    type: Literal["input_text", "output_text", "text"]
    text: str


class RefusalPart(Struct, frozen=True, kw_only=True):
    """What the model said instead of an answer."""

    type: Literal["refusal"]
    refusal: str


class ImagePart(Struct, frozen=True, kw_only=True):
    """A picture, as a `data:` URL."""

    image_url: str | None = None
    detail: Literal["auto", "low", "high", "original"] | None = None
    file_id: str | None = None


class FilePart(Struct, frozen=True, kw_only=True):
    """A document, as a `data:` URL or base64."""

    file_data: str | None = None
    filename: Annotated[str, Meta(max_length=512)] | None = None
    file_id: str | None = None
    file_url: str | None = None


class Recording(Struct, frozen=True, kw_only=True):
    """Base64, and what it holds."""

    data: str
    format: Literal["mp3", "wav"]


class AudioPart(Struct, frozen=True, kw_only=True):
    """A recording."""

    input_audio: Recording


def checked(content: object, role: str, path: str) -> list[dict[str, Any]]:
    """The parts of `content`, a string or a list, as the API shows them. Raises BadParameter or Unsupported."""
    if isinstance(content, str):
        return [shown_text(content, role)]
    if not isinstance(content, list):
        raise BadParameter(f"Invalid value for '{path}': expected a string, or a list of parts.", path)
    return [checked_part(part, role, f"{path}[{index}]") for index, part in enumerate(content)]


def checked_part(part: object, role: str, path: str) -> dict[str, Any]:
    """One part."""
    match kind_of(part, path):
        case "input_text" | "output_text" | "text":
            return shown_text(convert(part, TextPart, path).text, role)
        case "refusal":
            refusal = convert(part, RefusalPart, path).refusal
            return {"type": "refusal", "refusal": refusal} if role == "assistant" else shown_text(refusal, role)
        case "input_image":
            return checked_image(convert(part, ImagePart, path), path)
        case "input_file":
            return checked_file(convert(part, FilePart, path), path)
        case "input_audio":
            audio = convert(part, AudioPart, path).input_audio
            base64(audio.data, f"{path}.input_audio.data")
            return {"type": "input_audio", "input_audio": {"data": audio.data, "format": audio.format}}
        case kind:
            raise Unsupported(f"Content of type '{kind}'", path)


def checked_image(part: ImagePart, path: str) -> dict[str, Any]:
    """A picture. Raises Unsupported where it is named, not sent."""
    if part.file_id is not None:
        raise Unsupported("A stored file", f"{path}.file_id", "Send the picture itself as 'image_url', a data: URL.")
    if part.image_url is None:
        raise BadParameter(f"'{path}.image_url' is missing.", f"{path}.image_url")
    data_url(part.image_url, f"{path}.image_url")
    return {"type": "input_image", "detail": part.detail or "auto", "image_url": part.image_url}


def checked_file(part: FilePart, path: str) -> dict[str, Any]:
    """A document as the API shows it."""
    inline_file(part, path)
    return {"type": "input_file", "filename": part.filename, "file_data": part.file_data}


def inline_file(part: FilePart, path: str) -> tuple[str, str]:
    """A document's media type and base64. Raises BadParameter, or Unsupported where it is named, not sent."""
    for name in ("file_id", "file_url"):
        if getattr(part, name) is not None:
            what = "A stored file" if name == "file_id" else "Fetching a URL"
            raise Unsupported(what, f"{path}.{name}", "Send the file itself as 'file_data'.")
    if part.file_data is None:
        raise BadParameter(f"'{path}.file_data' is missing.", f"{path}.file_data")
    return file_data(part.file_data, part.filename, f"{path}.file_data")


def shown_text(text: str, role: str) -> dict[str, Any]:
    """Text as it stands in an item: what a model said is output, all else input."""
    if role == "assistant":
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "input_text", "text": text}


def parts_of(content: str | Sequence[Mapping[str, Any]]) -> tuple[Content, ...]:
    """The parts of checked content."""
    if isinstance(content, str):
        return (Text(content),)
    return tuple(part_of(part) for part in content)


def part_of(part: Mapping[str, Any]) -> Content:
    """One checked part."""
    match part["type"]:
        case "refusal":
            return Refusal(part["refusal"])
        case "input_image":
            return Image(*split_data_url(part["image_url"]), detail=part["detail"])
        case "input_file":
            name = part["filename"]
            return File(name, *split_file_data(part["file_data"], name))
        case "input_audio":
            return Audio(part["input_audio"]["format"], part["input_audio"]["data"])
        case _:
            return Text(part["text"])
