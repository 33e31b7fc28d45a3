"""Converse as Amazon Bedrock reads it: the other side of what our encoder does, with what it refuses."""

import re
from collections.abc import Iterator
from typing import Any

from backends.json import dumps, loads
from backends.request import (
    Audio,
    File,
    Image,
    JsonFormat,
    Message,
    NamedTool,
    Opaque,
    Part,
    Reasoning,
    Request,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from tests.providers.anthropic_words import Refused, check_schema, need

MEMBERS = {
    "messages",
    "system",
    "inferenceConfig",
    "toolConfig",
    "additionalModelRequestFields",
    "outputConfig",
}
ID, NAME = re.compile(r"[a-zA-Z0-9_.:-]{1,64}"), re.compile(r"[a-zA-Z0-9_-]{1,64}")
TITLE = re.compile(r"(?!.*\s\s)[a-zA-Z0-9\s()\[\]-]{1,200}")
IMAGES = {"png", "jpeg", "gif", "webp"}
DOCUMENTS = {"pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"}


def request_of(model: str, body: dict[str, Any]) -> Request:
    """A body of Converse. Raises Refused, and KeyError for what is missing."""
    for name in body.keys() - MEMBERS:
        raise Refused(f"Malformed input request: extraneous key [{name}] is not permitted")
    config = body["inferenceConfig"]
    need(config["maxTokens"] >= 1, "inferenceConfig.maxTokens: must be greater than or equal to 1")
    tools = body.get("toolConfig", {})
    need(tools.get("tools", True), "toolConfig.tools: must have length greater than or equal to 1")
    messages = tuple(conversation(body["messages"], "toolConfig" in body))
    form = body.get("outputConfig", {}).get("textFormat")
    schema = None
    if form is not None:
        need(form["type"] == "json_schema", "outputConfig.textFormat.type")
        schema = loads(form["structure"]["jsonSchema"]["schema"])
        check_schema(schema)
    system = tuple(Text(part["text"]) for part in body.get("system", ()))
    need(all(part.text.strip() for part in system), "The text field in the ContentBlock object at system is blank.")
    return Request(
        model,
        ((Message("system", system),) if system else ()) + messages,
        config["maxTokens"],
        tuple(config.get("stopSequences", ())),
        Sampling(temperature=config.get("temperature"), top_p=config.get("topP")),
        tools=tuple(tool_of(tool["toolSpec"]) for tool in tools.get("tools", ())),
        tool_choice=choice_of(tools.get("toolChoice", {"auto": {}})),
        format=None if schema is None else JsonFormat(schema),
        reasoning_effort=body.get("outputConfig", {}).get("effort"),
    )


def choice_of(choice: dict[str, Any]) -> Any:
    [(kind, value)] = choice.items()
    return NamedTool(value["name"]) if kind == "tool" else {"auto": "auto", "any": "required"}[kind]


def tool_of(spec: dict[str, Any]) -> Tool:
    need(NAME.fullmatch(spec["name"]), "toolSpec.name: failed to satisfy constraint")
    need(spec.get("description", "x"), "toolSpec.description: must have length greater than or equal to 1")
    schema = spec["inputSchema"]["json"]
    need(schema["type"] == "object", "toolSpec.inputSchema.json.type must be one of the following: object.")
    if spec.get("strict"):
        check_schema(schema)
    return Tool(spec["name"], spec.get("description"), schema, spec.get("strict"))


def conversation(given: list[dict[str, Any]], tools: bool) -> Iterator[Message]:
    """The messages: they alternate, and every call has its result in the next one."""
    need(given and given[0]["role"] == "user", "A conversation must start with a user message.")
    waiting: set[str] = set()
    names: list[str] = []
    for index, message in enumerate(given):
        need(
            message["role"] == ("user", "assistant")[index % 2],
            "A conversation must alternate between user and assistant.",
        )
        content = message["content"]
        need(content, f"The content field in the Message object at messages.{index} is empty.")
        said = [part_of(block) for block in content]
        results = {part.call_id for part in said if isinstance(part, ToolResult)}
        need(waiting == results, "Expected toolResult blocks at messages: the ids of the last turn's toolUse")
        waiting = {part.id for part in said if isinstance(part, ToolCall)}
        need(
            tools or not (waiting | results),
            "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
        )
        documents = [block["document"]["name"] for block in content if "document" in block]
        names += documents
        need(not documents or any("text" in block for block in content), "A text block must be included with documents")
        need("reasoningContent" not in content[-1], "The final block in an assistant message cannot be `thinking`.")
        if index == len(given) - 1 and message["role"] == "assistant" and isinstance(said[-1], Text):
            need(said[-1].text == said[-1].text.rstrip(), "final assistant content cannot end with trailing whitespace")
        yield Message(message["role"], tuple(said))
    need(len(names) == len(set(names)), "Messages contain duplicate document names.")


def part_of(block: dict[str, Any]) -> Part:
    [(kind, value)] = block.items()
    match kind:
        case "text":
            need(value.strip(), "The text field in the ContentBlock object is blank.")
            return Text(value)
        case "reasoningContent" if "redactedContent" in value:
            return Reasoning("", Opaque("bedrock", f"redacted.{value['redactedContent']}"))
        case "reasoningContent":
            thought = value["reasoningText"]
            return Reasoning(thought["text"], Opaque("bedrock", thought["signature"]))
        case "image":
            need(value["format"] in IMAGES, "image.format")
            return Image(f"image/{value['format']}", value["source"]["bytes"])
        case "audio":
            return Audio(value["format"], value["source"]["bytes"])
        case "document":
            need(value["format"] in DOCUMENTS, "document.format")
            need(TITLE.fullmatch(value["name"]), "The document file name can only contain alphanumeric characters, …")
            return File(value["name"], value["format"], value["source"]["bytes"])
        case "toolUse":
            need(ID.fullmatch(value["toolUseId"]), "toolUse.toolUseId: failed to satisfy constraint")
            need(isinstance(value["input"], dict), "toolUse.input: the format is invalid. Provide a json object.")
            return ToolCall(value["toolUseId"], value["name"], dumps(value["input"]).decode())
        case "toolResult":
            parts = tuple(part_of(inner) for inner in value["content"])
            need(not any(isinstance(part, Audio) for part in parts), "toolResult.content.audio")
            return ToolResult(value["toolUseId"], parts)  # type: ignore[arg-type]  # what is in it was made by the above
    raise Refused(f"Malformed input request: {kind}")
