"""Content parts of chat messages, read as the parts of a message. Pure."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from backends.request import Audio, File, Image, Refusal, Text
from proxy.errors import BadParameter, Unsupported
from proxy.wire.convert import convert, kind_of
from proxy.wire.inline_data import base64, data_url, file_data

Content = Text | Refusal | Image | Audio | File


class TextPart(Struct, frozen=True):
    """What was said."""

    text: str


class RefusalPart(Struct, frozen=True):
    """What the model said instead of an answer."""

    refusal: str


class Picture(Struct, frozen=True):
    """A `data:` URL."""

    url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImagePart(Struct, frozen=True):
    """A picture."""

    image_url: Picture


class Recording(Struct, frozen=True):
    """Base64, and what it holds."""

    data: str
    format: Literal["mp3", "wav"]


class AudioPart(Struct, frozen=True):
    """A recording."""

    input_audio: Recording


class Document(Struct, frozen=True):
    """A `data:` URL or base64."""

    file_data: str | None = None
    filename: Annotated[str, Meta(max_length=512)] | None = None
    file_id: str | None = None


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
            return document(convert(part, FilePart, path).file, f"{path}.file")
        case kind:
            raise Unsupported(f"Content of type '{kind}'", path)


def document(file: Document, path: str) -> File:
    """A document. Raises Unsupported where it is named, not sent."""
    if file.file_id is not None:
        raise Unsupported("A stored file", f"{path}.file_id", "Send the file itself as 'file_data'.")
    if file.file_data is None:
        raise BadParameter(f"'{path}.file_data' is missing.", f"{path}.file_data")
    return File(file.filename, *file_data(file.file_data, file.filename, f"{path}.file_data"))
