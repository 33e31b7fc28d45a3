"""What Claude models take, by their generation: how they are told to think, and which knobs they have. Pure."""

import re
from typing import Any

from backends.request import Sampling

# claude-sonnet-4-5-20250929, claude-3-7-sonnet@20250219, us.anthropic.claude-opus-4-20250514-v1:0: not the date
VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?!\d)(?:[-.](\d{1,2})(?!\d))?")
NEWEST = (99, 0)  # what a name without a version is taken for: the ways of old models are known, and closed
FIRST_THINKING, LAST_BUDGETED, LAST_SAMPLED = (3, 7), (4, 5), (4, 6)
ALWAYS_THINKING = re.compile(r"fable|mythos")  # `disabled` is refused
BUDGETS = {"minimal": 1024, "low": 4096, "medium": 16_384}  # tokens; more for everything above
MOST_BUDGET, LEAST_BUDGET = 32_768, 1024
EFFORTS = {"none": "low", "minimal": "low", "low": "low", "medium": "medium", "max": "max"}


def generation(model: str) -> tuple[int, int]:
    """Major and minor version by the model's id, in the forms of Anthropic, Vertex and Bedrock."""
    found = VERSION.search(model)
    return NEWEST if found is None else (int(found[1]), int(found[2] or 0))


def budgeted(model: str) -> bool:
    """Whether it is given a number of tokens to think with; newer ones take an effort."""
    return generation(model) <= LAST_BUDGETED


def thinking(model: str, effort: str, most_tokens: int) -> dict[str, Any]:
    """The fields that ask for this effort, `none` for no thinking; {} where the model or its room has no place for it.

    https://platform.claude.com/docs/en/build-with-claude/thinking-troubleshooting: up to 4.5 a budget is the only way,
    from 4.7 on adaptive thinking. Thinking counts as output, so at least half is left for the answer.
    """
    if budgeted(model):
        budget = min(BUDGETS.get(effort, MOST_BUDGET), most_tokens // 2)
        if effort == "none" or budget < LEAST_BUDGET or generation(model) < FIRST_THINKING:
            return {}
        return {"thinking": {"type": "enabled", "budget_tokens": budget}}
    if effort == "none" and not ALWAYS_THINKING.search(model):
        return {"thinking": {"type": "disabled"}}
    # Without `display`, newer models keep the text to themselves.
    adaptive = {"type": "adaptive", "display": "summarized"}
    return {"thinking": adaptive, "output_config": {"effort": level(model, effort)}}


def level(model: str, effort: str) -> str:
    """Theirs for ours. Efforts that are new to us are `high`, which every model has."""
    if effort == "xhigh" and generation(model) > LAST_SAMPLED:
        return "xhigh"
    return EFFORTS.get(effort, "high")


def sampling(model: str, wanted: Sampling, thinks: bool) -> dict[str, float]:
    """The knobs that this model has; the others are left out, for a newer one refuses every one of them."""
    knobs: dict[str, float] = {}
    if generation(model) > LAST_SAMPLED or thinks:
        return knobs
    if wanted.temperature is not None:
        knobs["temperature"] = min(wanted.temperature, 1.0)  # 0 to 1 here, 0 to 2 with others
    elif wanted.top_p is not None:  # models from 4.1 on refuse both at once
        knobs["top_p"] = wanted.top_p
    if wanted.top_k is not None:
        knobs["top_k"] = wanted.top_k
    return knobs
