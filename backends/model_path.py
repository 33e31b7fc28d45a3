"""The id of a model as one segment of a URL's path: a request names the model, and must not choose the path. Pure."""

from urllib.parse import quote

from backends.errors import ModelNotFound


def segment(model: str, safe: str = "") -> str:
    """`model` quoted, but for the characters in `safe`. Raises ModelNotFound for the names that a path is changed by.

    RFC 3986, 6.2.2.3: "." and ".." are taken away by whoever normalizes a URL, and quoting does not help.
    """
    if model in {"", ".", ".."}:
        raise ModelNotFound(model)
    return quote(model, safe=safe)
