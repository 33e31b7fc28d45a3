"""Writes the page of error codes from the one table, so that neither can drift. Pure."""

from inspect import getdoc

from backends.errors import BackendError
from proxy.wire_errors import UNEXPECTED, WIRE

_HEAD = """\
# Which errors are there, and what to do?

<!-- Written by scripts/docs from the table in proxy/wire_errors.py. Change that, then run it again. -->

Every error has the same body, on the socket and over HTTP:

```json
{"type": "error", "status": 404, "stream_id": "main",
 "error": {"type": "invalid_request_error", "code": "model_not_found", "message": "…", "param": "model", "headers": {}}}
```

`message` says what happened and what to do; `param` names the field that was wrong. Before `response.created` it is
an `error` event; afterwards the response ends with `response.failed`, whose `error` has `code` and `message`. Over HTTP
the body is `{"error": {…}}` with that status. `headers` holds `retry-after` in seconds where that is known (over HTTP
it is the header `Retry-After`).

Retry what is 429 or 5xx, after that time or with growing pauses. Nothing else gets better by repeating it, nor does
`insufficient_quota` without a time. The gateway has then tried again itself, as far as that made sense:
[retries](retries.md). Over HTTP the header `X-Should-Retry: false` keeps OpenAI's and Anthropic's SDKs from repeating
what would be in vain, or only after more than a minute.

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

_BACKENDS = """
## What a backend's error means for its other targets

Before the first content of an answer the gateway can still go elsewhere. "Whose" is whose fault it is: only a
`provider` or the `network` may do better in a moment. "Elsewhere" says whether another target may answer where this one
did not, and "with it" what would fail in the same way: this `request` anywhere, what is sent with this `key`, this
`model`, all of this `backend`, or all of the provider's `account`. [Retries](retries.md) has the order.

| code | when | whose | elsewhere | with it |
|---|---|---|---|---|
"""


def errors_page() -> str:
    """The whole page, one row per code, in the table's order; then one per error of a backend."""
    rows: dict[str, list[str]] = {}
    for error, row in WIRE.items():
        rows.setdefault(f"| `{row.code}` | {row.status} | `{row.type}` |", []).append(about(error))
    rows[f"| `{UNEXPECTED.code}` | {UNEXPECTED.status} | `{UNEXPECTED.type}` |"] = [
        "A fault of the gateway's own. Its log tells more under the request's id."
    ]
    codes = "".join(f"{key} {' Or: '.join(abouts)} |\n" for key, abouts in rows.items())
    backends = "".join(
        f"| `{row.code}` | {about(error)} | {error.owner.value} | {'yes' if error.retryable else 'no'} "
        f"| {error.scope.value} |\n"
        for error, row in WIRE.items()
        if issubclass(error, BackendError)
    )
    return _HEAD + codes + _HTTP + _BACKENDS + backends


def about(error: type[Exception]) -> str:
    """The first sentence of its docstring."""
    return (getdoc(error) or "").replace("\n", " ").split(". ")[0].rstrip(".") + "."
