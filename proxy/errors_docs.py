"""Writes the page of error codes from the one table, so that neither can drift. Pure."""

from inspect import getdoc

from proxy.errors import UNEXPECTED, WIRE

_HEAD = """\
# Which errors are there, and what to do?

<!-- Written by scripts/docs from the table in proxy/errors.py. Change that, then run it again. -->

Every error has the same body, on the socket and over HTTP:

```json
{"type": "error", "status": 404, "stream_id": "main",
 "error": {"type": "invalid_request_error", "code": "model_not_found", "message": "…", "param": "model", "headers": {}}}
```

`message` says what happened and what to do; `param` names the field that was wrong. Before `response.created` it is
an `error` event; afterwards the response ends with `response.failed`, whose `error` has `code` and `message`. Over HTTP
the body is `{"error": {…}}` with that status. `headers` holds `retry-after` in seconds where that is known (over HTTP
it is the header `Retry-After`).

Retry what is 429 or 5xx, after that time or with growing pauses. Nothing else gets better by repeating it.

| code | status | type | when |
|---|---|---|---|
"""

_HTTP = """
Errors of HTTP itself, with the type `invalid_request_error`:

| code | status | when |
|---|---|---|
| `not_found` | 404 | There is nothing at this path. The message says where the API is. |
| `method_not_allowed` | 405 | The path has no such method. The header `Allow` names those that it has. |
| `upgrade_required` | 426 | A `GET` of `/v1/responses` that asks for no WebSocket. |
| `malformed_request` | 400 | Bytes that are no HTTP request, or header lines that are too long. |
| `http_error` | 4xx | Anything else that HTTP itself does not allow. |
"""


def errors_page() -> str:
    """The whole page, one row per code, in the table's order."""
    rows: dict[str, list[str]] = {}
    for error, row in WIRE.items():
        about = (getdoc(error) or "").replace("\n", " ").split(". ")[0].rstrip(".") + "."
        rows.setdefault(f"| `{row.code}` | {row.status} | `{row.type}` |", []).append(about)
    rows[f"| `{UNEXPECTED.code}` | {UNEXPECTED.status} | `{UNEXPECTED.type}` |"] = [
        "A fault of the gateway's own. Its log tells more under the request's id."
    ]
    return _HEAD + "".join(f"{key} {' Or: '.join(abouts)} |\n" for key, abouts in rows.items()) + _HTTP
