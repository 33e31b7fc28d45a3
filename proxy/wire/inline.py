"""Images, recordings and documents that a request carries in itself; nobody fetches what it only names. Pure."""

import re
from typing import Any

from msgspec import Struct

from backends.request import Audio, File, Image, Text
from proxy.errors import BadParameter
from proxy.wire.fields import convert

DATA_URL = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[^;,]*)*;base64,(?P<data>.+)", re.DOTALL)


def data_url(url: str, path: str) -> tuple[str, str]:
    """The media type and the base64 data of a data URL. Raises BadParameter for any other."""
    found = DATA_URL.match(url)
    if found is None:
        raise BadParameter(
            f"'{path}' must be a data URL (data:image/png;base64,…). The gateway fetches no other: "
            "send the content itself.",
            path,
        )
    return found["type"] or "application/octet-stream", found["data"]


class ImageUrl(Struct, frozen=True):
    url: str
    detail: str | None = None


class ImagePart(Struct, frozen=True):
    image_url: ImageUrl


class Recording(Struct, frozen=True):
    data: str
    format: str


class AudioPart(Struct, frozen=True):
    input_audio: Recording


class Document(Struct, frozen=True):
    file_data: str | None = None
    filename: str | None = None
    file_id: str | None = None


class FilePart(Struct, frozen=True):
    file: Document


class TextPart(Struct, frozen=True):
    text: str


def chat_part(kind: str, part: Any, path: str) -> Text | Image | Audio | File | None:
    """A content part of a chat message; None for a kind that is none. Raises BadParameter."""
    match kind:
        case "text":
            return Text(convert(part, TextPart, path).text)
        case "image_url":
            image = convert(part, ImagePart, path).image_url
            return Image(*data_url(image.url, f"{path}.image_url.url"), image.detail)
        case "input_audio":
            recording = convert(part, AudioPart, path).input_audio
            return Audio(recording.format, recording.data)
        case "file":
            return chat_file(convert(part, FilePart, path).file, f"{path}.file")
        case _:
            return None


def chat_file(file: Document, path: str) -> File:
    """A document; OpenAI's SDK sends a data URL."""
    if not file.file_data:
        raise BadParameter(f"'{path}.file_data' is missing: this gateway keeps no uploaded files.", f"{path}.file_data")
    return File(file.filename, *data_url(file.file_data, f"{path}.file_data"))
