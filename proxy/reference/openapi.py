"""The OpenAPI document of the routes under /v1, from the table of operations and the types. Pure.

https://spec.openapis.org/oas/v3.1.1.html
"""

from functools import cache
from inspect import getdoc

import msgspec

import proxy
from proxy.reference.answers import ANSWERS, MessagesError
from proxy.reference.operations import ALWAYS, OPERATIONS, Operation, Parameter
from proxy.reference.requests import REF, Json, schemas_of
from proxy.reference.shapes import ErrorBody
from proxy.wire_errors import UNEXPECTED, WIRE, WireError

ABOUT = (
    "A streaming gateway to language models. Point an SDK at `/v1`: OpenAI's for Responses, chat completions, "
    "completions and embeddings, Anthropic's for messages. The events of the socket are described at `/docs`."
)
REQUEST_ID = {
    "description": "The request's own `X-Request-Id`, or a new one. The gateway's log has it too.",
    "schema": {"type": "string"},
}
RETRY_AFTER = {"description": "Seconds after which another try makes sense.", "schema": {"type": "integer"}}
UNEXPECTED_WHEN = "A fault of the gateway's own. Its log tells more under the request's id."
ANTHROPIC = "/v1/messages"  # whose clients read errors in another shape


@cache
def document() -> Json:
    """The whole document. Not to be changed."""
    _, shapes = msgspec.json.schema_components((*ANSWERS, ErrorBody, MessagesError), ref_template=f"{REF}{{name}}")
    asked = [each.asked for each in OPERATIONS if each.asked is not None]
    for each in dict.fromkeys(one.name for one in asked):
        shapes |= schemas_of(next(one for one in asked if one.name == each))
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Streamlane",
            "version": proxy.__version__,
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"bearer": []}, {"apiKey": []}],
        "tags": [{"name": group} for group in dict.fromkeys(each.group for each in OPERATIONS)],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(shapes.items())),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "Needed where keys are configured."},
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same key."},
            },
        },
    }


def described(operation: Operation) -> Json:
    """One operation object."""
    told: Json = {
        "operationId": operation.name,
        "tags": [operation.group],
        "summary": operation.summary,
        "parameters": [parameter(each) for each in operation.parameters],
        "responses": responses(operation),
    }
    if operation.about:
        told["description"] = operation.about
    if operation.asked is not None:
        ref = {"$ref": f"{REF}{operation.asked.name}Request"}
        told["requestBody"] = {"required": True, "content": {"application/json": {"schema": ref}}}
    return told


def parameter(given: Parameter) -> Json:
    """One parameter object."""
    return {
        "name": given.name,
        "in": given.place,
        "required": given.place == "path",
        "description": given.about,
        "schema": given.schema,
    }


def responses(operation: Operation) -> Json:
    """By status: the answer, and the errors with their codes."""
    if operation.answer is None:
        told: Json = {"101": {"description": "The socket is open."}}
    else:
        content: Json = {"application/json": {"schema": {"$ref": f"{REF}{operation.answer.__name__}"}}}
        if operation.stream:
            content["text/event-stream"] = {}  # OpenAPI 3.1 has no schema for the events of a stream
        stream = f" As a stream: {operation.stream}" if operation.stream else ""
        told = {
            "200": {
                "description": summary_of(operation.answer) + stream,
                "headers": {"X-Request-Id": REQUEST_ID},
                "content": content,
            }
        }
    statuses: dict[int, dict[str, str]] = {}
    for code, (status, when) in codes(operation).items():
        statuses.setdefault(status, {})[code] = when
    for status, found in sorted(statuses.items()):
        told[f"{status}"] = refusal(operation, status, found)
    return told


def codes(operation: Operation) -> dict[str, tuple[int, str]]:
    """Every error code that it may answer, with its status and when."""
    found: dict[str, tuple[int, str]] = {}
    for each in (*ALWAYS, *operation.errors):
        row: WireError = WIRE[each]
        known = found.get(row.code)
        when = summary_of(each)
        found[row.code] = (row.status, f"{known[1]} Or: {when}" if known and when not in known[1] else when)
    for status, code, when in operation.plain:
        found[code] = (status, when)
    found[UNEXPECTED.code] = (UNEXPECTED.status, UNEXPECTED_WHEN)
    return found


def refusal(operation: Operation, status: int, found: dict[str, str]) -> Json:
    """One response object of an error."""
    if operation.path.startswith(ANTHROPIC):
        schema: Json = {"$ref": f"{REF}{MessagesError.__name__}"}
    else:
        code = {"properties": {"error": {"properties": {"code": {"enum": sorted(found)}}}}}
        schema = {"allOf": [{"$ref": f"{REF}{ErrorBody.__name__}"}, code]}
    headers: Json = {"X-Request-Id": REQUEST_ID}
    if status in (429, 503):
        headers["Retry-After"] = RETRY_AFTER
    return {
        "description": "\n".join(f"- `{code}`: {when}" for code, when in found.items()),
        "headers": headers,
        "content": {"application/json": {"schema": schema}},
    }


def summary_of(described: type) -> str:
    """The first sentence of a type's docstring."""
    return (getdoc(described) or "").replace("\n", " ").split(". ")[0].rstrip(".") + "."


def first_paragraph(described: type) -> str:
    """What a type's docstring says first, in one line."""
    return (getdoc(described) or "").split("\n\n")[0].replace("\n", " ")
