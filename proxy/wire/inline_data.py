"""What a request carries inside itself: pictures, documents and recordings as base64. Pure; nobody fetches a URL."""

import re
from string import ascii_letters, digits

from proxy.errors import BadParameter, Unsupported

HEAD = re.compile(r"(?i:data):([\w.+-]{1,80}/[\w.+-]{1,80})(?:;[\w.+=-]{1,80}){0,4};base64,", re.ASCII)  # RFC 2397
DIGITS = f"{ascii_letters}{digits}+/".encode()  # RFC 4648, section 4
OCTETS = "application/octet-stream"


def data_url(url: str, path: str) -> tuple[str, str]:
    """Media type and base64 of a `data:` URL. Raises Unsupported for any other URL, BadParameter for a broken one."""
    if url[:5].lower() != "data:":
        raise Unsupported("Fetching a URL", path, "Send the data itself: 'data:MEDIA/TYPE;base64,...'.")
    if not HEAD.match(url):
        raise BadParameter(f"'{path}' is no data: URL in base64. Expected 'data:MEDIA/TYPE;base64,...'.", path)
    media_type, data = split_data_url(url)
    return media_type, base64(data, path)


def base64(data: str, path: str) -> str:
    """`data`, once it is known to be base64. Raises BadParameter. Millions of characters take milliseconds."""
    padding = len(data) - len(data[-2:].rstrip("=")) - len(data[:-2])
    if len(data) % 4 or not data.isascii() or data[: len(data) - padding].encode().translate(None, DIGITS):
        raise BadParameter(f"'{path}' is not valid base64.", path)
    return data


def file_data(data: str, name: str | None, path: str) -> tuple[str, str]:
    """Media type and base64 of a document: a `data:` URL, or base64 alone. Raises as the other two."""
    if ":" in data[:20]:  # no character of base64
        return data_url(data, path)
    base64(data, path)
    return split_file_data(data, name)


def split_data_url(url: str) -> tuple[str, str]:
    """Media type and base64 of a `data:` URL that was checked before."""
    head = HEAD.match(url)
    assert head is not None
    return head[1].lower(), url[head.end() :]


def split_file_data(data: str, name: str | None) -> tuple[str, str]:
    """Media type and base64 of a document that was checked before. Without a `data:` URL its name tells the type."""
    if ":" in data[:20]:
        return split_data_url(data)
    return "application/pdf" if name is not None and name.lower().endswith(".pdf") else OCTETS, data
