"""Requests that schemathesis makes up from the OpenAPI document, right ones and wrong ones, against a whole gateway.

Whatever comes, the gateway answers as the document says: no 5xx, no status, type or member that is not in it, and what
breaks the schema is refused. The fake backend answers, so that a right request is a whole response.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from backends.fake import FakeBackend
from proxy.reference.openapi import document
from tests.gateway import gateway

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
)  # not the header Allow: it names what /v1/responses/{response_id} can, where the id is "input_tokens"


def asking_for(model: str) -> dict[str, Any]:
    """The document, for clients who know only this model."""
    changed: dict[str, Any] = json.loads(json.dumps(document()))
    for name, schema in changed["components"]["schemas"].items():
        if name.endswith("Request"):
            schema["properties"]["model"] = {"enum": [model]}
    return changed


async def run(tmp_path: Path, *arguments: str) -> None:
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(asking_for("fake")))
    async with gateway("", [FakeBackend("fake")]) as started:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("st")),
            "run",
            str(file),
            "--url",
            started.base_url.removesuffix("/v1"),
            "--checks",
            ",".join(CHECKS),
            "--exclude-operation-id=connect",  # the socket
            "--warnings=off",
            "--no-color",
            "--continue-on-failure",
            *arguments,
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
    assert process.returncode == 0, output.decode(errors="replace")[-10_000:]


async def test_a_few_of_each_kind(tmp_path: Path) -> None:
    counts = ("countInputTokens", "countMessageTokens")  # they take the bodies of two others: left to the long run
    chosen = [f"--exclude-operation-id={name}" for name in counts]
    await run(tmp_path, "--phases=coverage", "--generation-deterministic", *chosen)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_many_and_in_sequence(tmp_path: Path) -> None:
    await run(tmp_path, "--phases=examples,coverage,fuzzing,stateful", "--max-time=180", "--generation-database=none")
