"""Content parts of chat messages, read as the parts of a message. Pure."""

from typing import Any, Literal

from msgspec import Struct

from backends.request import Audio, File, Image, Refusal, Text
from proxy.errors import Unsupported
from proxy.wire.convert import convert, kind_of
from proxy.wire.inline_data import base64, data_url
from proxy.wire.responses_parts import AudioPart, Content, RefusalPart, inline_file
from proxy.wire.responses_parts import FilePart as Document


class TextPart(Struct, frozen=True):
    """What was said."""

    text: str


class Picture(Struct, frozen=True):
    """A `data:` URL."""

    url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImagePart(Struct, frozen=True):
    """A picture."""

    image_url: Picture


class FilePart(Struct, frozen=True):
    """A document."""

    file: Document


def chat_parts(content: str | list[Any] | None, path: str) -> tuple[Content, ...]:
    """The parts of a message's content. Raises BadParameter or Unsupported."""
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(content),)
    return tuple(chat_part(part, f"{path}[{index}]") for index, part in enumerate(content))


def chat_part(part: Any, path: str) -> Content:
    """One part."""
    match kind_of(part, path):
        case "text":
            return Text(convert(part, TextPart, path).text)
        case "refusal":
            return Refusal(convert(part, RefusalPart, path).refusal)
        case "image_url":
            image = convert(part, ImagePart, path).image_url
            return Image(*data_url(image.url, f"{path}.image_url.url"), detail=image.detail)
        case "input_audio":
            audio = convert(part, AudioPart, path).input_audio
            return Audio(audio.format, base64(audio.data, f"{path}.input_audio.data"))
        case "file":
            file = convert(part, FilePart, path).file
            return File(file.filename, *inline_file(file, f"{path}.file"))
        case kind:
            raise Unsupported(f"Content of type '{kind}'", path)
