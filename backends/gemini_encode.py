"""Gemini: the bodies of requests (ai.google.dev/api/generate-content). Pure."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from backends.errors import UnsupportedFeature
from backends.json import JsonError, loads
from backends.request import (
    Audio,
    EmbeddingRequest,
    File,
    Image,
    JsonFormat,
    Message,
    NamedTool,
    Part,
    Reasoning,
    Refusal,
    Request,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    text_of,
)

Json: TypeAlias = dict[str, Any]

DIALECT = "gemini"
OF_CALL, OF_TEXT = "call:", "text:"  # how the data of an Opaque begins whose signature came with such a part
UNSIGNED = "skip_thought_signature_validator"  # ai.google.dev/gemini-api/docs/thought-signatures: for others' calls
SAMPLING = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "seed": "seed",
}
MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
GENERATION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")
THOUGHTLESS = re.compile(r"image|tts|audio|embedding")  # variants of a generation that thinks, which do not
# ai.google.dev/gemini-api/docs/openai#thinking: what an effort means there. Up to 2.5 it is a number of tokens.
BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576}
LEAST_OF_PRO = 128  # 2.5 Pro always thinks
LEVELS = {"none": "MINIMAL", "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "HIGH"}
LEVELS_OF_PRO = LEVELS | {"none": "LOW", "minimal": "LOW"}  # 3 and 3.1 Pro refuse MINIMAL
LEVELS_OF_3_PRO = LEVELS_OF_PRO | {"medium": "HIGH"}


def encode(request: Request) -> Json:
    """The body of generateContent, streamed or not. What is open is left out. Raises UnsupportedFeature."""
    if request.prompt is not None:
        raise UnsupportedFeature("raw completions", "prompt")
    model = generation(request.model)
    body: Json = {"contents": contents(request.messages, model)}
    if said := text_of(tuple(part for each in request.messages if each.role == "system" for part in each.parts)):
        if body["contents"]:
            body["systemInstruction"] = {"parts": [{"text": said}]}
        else:  # there must be contents
            body["contents"] = [{"role": "user", "parts": [{"text": said}]}]
    if request.tools:
        body["tools"] = [{"functionDeclarations": [declaration(tool) for tool in request.tools]}]
        body["toolConfig"] = {"functionCallingConfig": calling(request.tool_choice)}
    body["generationConfig"] = config(request, model)
    return body


def method_of(request: Request) -> str:
    """What answers it. The streaming method refuses log probabilities; their answer comes whole."""
    return "streamGenerateContent?alt=sse" if request.top_logprobs is None else "generateContent"


def config(request: Request, model: tuple[int, int]) -> Json:
    """The generationConfig: limits, sampling, format and thinking."""
    found: Json = {"maxOutputTokens": request.max_output_tokens} | sampling(request.sampling)
    if request.stop:
        found["stopSequences"] = list(request.stop)
    if request.format is not None:
        found |= response_format(request.format)
    if request.top_logprobs is not None:
        found["responseLogprobs"] = True
        if request.top_logprobs:
            found["logprobs"] = request.top_logprobs
    if thoughts := thinking(request.model, model, request.reasoning_effort):
        found["thinkingConfig"] = thoughts
    return found


def sampling(given: Sampling) -> Json:
    """What this API knows of it. There is no min_p."""
    return {theirs: value for ours, theirs in SAMPLING.items() if (value := getattr(given, ours)) is not None}


def generation(model: str) -> tuple[int, int]:
    """Major and minor version of a model: the newest of an alias such as gemini-flash-latest, 0 of what is unknown."""
    if found := GENERATION.search(model):
        return int(found[1]), int(found[2] or 0)
    return (99, 0) if re.fullmatch(r"gemini-.+-latest", model) else (0, 0)


def thinking(name: str, model: tuple[int, int], effort: str | None) -> Json | None:
    """The thinkingConfig; None for a model that does not think, which would refuse any."""
    if model < (2, 5) or THOUGHTLESS.search(name):
        return None
    shown: Json = {"includeThoughts": True}
    pro = "pro" in name
    if model[0] == 2:
        budget = BUDGETS.get(effort or "")
        return shown if budget is None else shown | {"thinkingBudget": max(budget, LEAST_OF_PRO) if pro else budget}
    levels = LEVELS_OF_3_PRO if pro and model == (3, 0) else LEVELS_OF_PRO if pro else LEVELS
    level = levels.get(effort or "")
    return shown if level is None else shown | {"thinkingLevel": level}


def contents(messages: Sequence[Message], model: tuple[int, int]) -> list[Json]:
    """The conversation without its system messages, in turns that alternate.

    All results of calls made together must be in one turn, whatever message each came in.
    """
    names: dict[str, str] = {}  # of the calls so far, by id: some servers begin anew with every answer
    turns: list[Json] = []
    for message in messages:
        if message.role == "system":
            continue
        if message.role == "assistant":
            names |= {part.id: part.name for part in message.parts if isinstance(part, ToolCall)}
            role, parts = "model", list(assistant(message.parts, model))
        else:
            role, parts = "user", list(user(message.parts, names, model))
        if turns and turns[-1]["role"] == role:
            turns[-1]["parts"] += parts
        elif parts:
            turns.append({"role": role, "parts": parts})
    return turns


def assistant(parts: Sequence[Part], model: tuple[int, int]) -> Iterator[Json]:
    """What the model said, each signature on the part it came with. Thoughts of others are left out."""
    signature: str | None = None
    called = False
    for part in parts:
        match part:
            case Reasoning(text, opaque):
                if opaque is None or opaque.provider != DIALECT:
                    continue
                if opaque.data.startswith(OF_CALL):
                    signature = opaque.data.removeprefix(OF_CALL)
                elif opaque.data.startswith(OF_TEXT):
                    yield {"text": "", "thoughtSignature": opaque.data.removeprefix(OF_TEXT)}
                else:
                    yield {"text": text, "thought": True, "thoughtSignature": opaque.data}
            case ToolCall():
                if signature is None and not called and model >= (3, 0):
                    signature = UNSIGNED  # the first call of a turn must have one, and another model's has none
                yield call(part) if signature is None else {**call(part), "thoughtSignature": signature}
                signature, called = None, True
            case _:
                if content := content_part(part):
                    yield content


def call(made: ToolCall) -> Json:
    """Arguments are an object here; what is no JSON object becomes one."""
    try:
        arguments = loads(made.arguments)
    except JsonError:
        arguments = made.arguments
    if not isinstance(arguments, dict):
        arguments = {"arguments": arguments} if arguments else {}
    return {"functionCall": {"id": made.id, "name": made.name, "args": arguments}}


def user(parts: Sequence[Part], names: dict[str, str], model: tuple[int, int]) -> Iterator[Json]:
    """What the user said, the results of tools first: they must follow their calls."""
    for part in parts:
        if isinstance(part, ToolResult):
            yield result(part, names, model)
    for part in parts:
        for each in (part,) if not isinstance(part, ToolResult) else media(part) if model < (3, 0) else ():
            if content := content_part(each):
                yield content


def result(given: ToolResult, names: dict[str, str], model: tuple[int, int]) -> Json:
    """The answer of a tool. Since generation 3 it may hold pictures; before, they follow it."""
    found: Json = {
        "id": given.call_id,
        "name": names.get(given.call_id, given.call_id),
        "response": {"output": text_of(given.parts)},
    }
    if model >= (3, 0) and (shown := [content_part(part) for part in media(given)]):
        found["parts"] = shown
    return {"functionResponse": found}


def media(given: ToolResult) -> tuple[Part, ...]:
    return tuple(part for part in given.parts if isinstance(part, Image | Audio | File))


def content_part(part: Part) -> Json | None:
    """None for what has no place here, and for an empty text, which the API refuses."""
    match part:
        case Text(text) | Refusal(text):
            return {"text": text} if text else None
        case Image(media_type, data):
            return {"inlineData": {"mimeType": media_type, "data": data}}
        case Audio(kind, data):
            return {"inlineData": {"mimeType": f"audio/{kind}", "data": data}}
        case File(_, media_type, data):
            return {"inlineData": {"mimeType": media_type, "data": data}}
    return None


def declaration(tool: Tool) -> Json:
    """A function that may be called. One that takes nothing has no parameters."""
    found: Json = {"name": tool.name}
    if tool.description is not None:
        found["description"] = tool.description
    if tool.parameters is not None:
        found["parametersJsonSchema"] = tool.parameters
    return found


def calling(choice: ToolChoice) -> Json:
    if isinstance(choice, NamedTool):
        return {"mode": "ANY", "allowedFunctionNames": [choice.name]}
    return {"mode": MODES[choice]}


def response_format(form: JsonFormat) -> Json:
    found: Json = {"responseMimeType": "application/json"}
    return found if form.schema is None else found | {"responseJsonSchema": form.schema}


def embedding_requests(request: EmbeddingRequest) -> list[Json]:
    """The entries of batchEmbedContents. Raises UnsupportedFeature for token ids."""
    size: Json = {} if request.dimensions is None else {"outputDimensionality": request.dimensions}
    found: list[Json] = []
    for text in request.inputs:
        if not isinstance(text, str):
            raise UnsupportedFeature("token ids as input", "input")
        found.append({"model": f"models/{request.model}", "content": {"parts": [{"text": text}]}, **size})
    return found
