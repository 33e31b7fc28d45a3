"""OpenAI's models: what each family refuses, by its name. Pure.

https://developers.openai.com/api/docs/guides/reasoning and the reference of chat completions: models that reason refuse
temperature, top_p, penalties, log probabilities and stop strings. From GPT-5.1 until GPT-6, temperature, top_p and log
probabilities are allowed with the effort "none" (guides/latest-model, "parameter compatibility").
"""

import re

from msgspec.structs import replace

from backends.errors import UnsupportedFeature
from backends.request import Request

SERIES = re.compile(r"(?:ft:)?(?:o(?P<o>\d+)|gpt-(?P<major>\d+)(?:\.(?P<minor>\d+))?|codex-mini)(?P<variant>[-:].*)?")
CLASSIC = re.compile(r"(?:ft:)?(?:chatgpt-|gpt-35|gpt-[34](?!\d)|davinci|babbage)")  # Azure writes gpt-35


def reasons(model: str) -> bool:
    """Whether it thinks before it answers. A name that is new to us is taken for one that does not."""
    series = None if classic(model) else SERIES.fullmatch(model)
    if series is None or series["major"] is None:
        return series is not None
    chats = series["minor"] is None and (series["variant"] or "").startswith("-chat")  # gpt-5-chat-latest does not
    return int(series["major"]) >= 5 and not chats


def classic(model: str) -> bool:
    """Whether it is known to be older than reasoning."""
    return CLASSIC.match(model) is not None


def tunable_at_rest(model: str) -> bool:
    """Whether a model that reasons can be tuned as others are while its effort is "none"."""
    series = SERIES.fullmatch(model)
    return series is not None and series["major"] == "5" and int(series["minor"] or 0) >= 1


def fitted(request: Request, model: str) -> Request:
    """`request` without the knobs that `model` refuses. Raises UnsupportedFeature for what is more than a knob."""
    sampling = replace(request.sampling, top_k=None, min_p=None)  # unknown to all of them
    if not reasons(model):
        effort = None if classic(model) else request.reasoning_effort
        return replace(request, sampling=sampling, reasoning_effort=effort)
    tuned = request.reasoning_effort == "none" and tunable_at_rest(model)
    if request.stop:
        raise UnsupportedFeature("stop strings", "stop")
    if request.top_logprobs is not None and not tuned:
        raise UnsupportedFeature("log probabilities", "top_logprobs")
    sampling = replace(sampling, presence_penalty=None, frequency_penalty=None)
    return replace(request, sampling=sampling if tuned else replace(sampling, temperature=None, top_p=None))
