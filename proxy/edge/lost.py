"""What to say to who asked for a path that the public listener does not have. Pure."""

from proxy.reference.operations import OPERATIONS

API = "The API is under /v1, and described at /docs."
FIRST = frozenset(each.path.split("/")[2] for each in OPERATIONS)  # what may follow /v1/


def where_instead(path: str) -> str:
    """The likely mistake, else where the API is."""
    first = path.split("/")[1] if path.startswith("/") else ""
    if path.startswith("/v1/v1/"):
        return "Leave /v1 out of the base URL: the client adds it by itself."
    if first in FIRST:
        return "Append /v1 to the base URL."
    if first == "metrics":
        return "Metrics are on the ops listener ([ops] port, 8766 unless it was changed)."
    return API
