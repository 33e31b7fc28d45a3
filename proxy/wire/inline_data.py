"""What a request carries inside itself: pictures, documents and recordings as base64. Pure; nobody fetches a URL."""

import re
from binascii import Error, a2b_base64

from proxy.errors import BadParameter, Unsupported

HEAD = re.compile(r"data:([\w.+-]{1,80}/[\w.+-]{1,80})(?:;[\w.+=-]{1,80}){0,4};base64,", re.ASCII)  # RFC 2397
OCTETS = "application/octet-stream"


def data_url(url: str, path: str) -> tuple[str, str]:
    """Media type and base64 of a `data:` URL. Raises Unsupported for any other URL, BadParameter for a broken one."""
    if not url[:5].lower() == "data:":
        raise Unsupported("Fetching a URL", path, "Send the data itself: 'data:MEDIA/TYPE;base64,...'.")
    head = HEAD.match(url)
    if head is None:
        raise BadParameter(f"'{path}' is no data: URL in base64. Expected 'data:MEDIA/TYPE;base64,...'.", path)
    return head[1].lower(), base64(url[head.end() :], path)


def base64(data: str, path: str) -> str:
    """`data`, once it is known to be base64. Raises BadParameter."""
    try:
        a2b_base64(data, strict_mode=True)
    except (Error, ValueError):
        raise BadParameter(f"'{path}' is not valid base64.", path) from None
    return data


def file_data(data: str, name: str | None, path: str) -> tuple[str, str]:
    """Media type and base64 of a document: a `data:` URL, or base64 alone, whose type its name tells."""
    if ":" in data[:20]:  # no character of base64
        return data_url(data, path)
    known = "application/pdf" if name is not None and name.lower().endswith(".pdf") else OCTETS
    return known, base64(data, path)
