"""The configuration's types for the router: sets of models, profiles, and rules."""

from pathlib import Path
from typing import Annotated, TypeAlias

from msgspec import Meta, field

from proxy.choice_words import Data, Day, Kind, Sticky, Strategy, Work
from proxy.config_table import Count, Seconds, Table

Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Weight: TypeAlias = Annotated[float, Meta(gt=0, le=1_000_000)]
Targets: TypeAlias = Annotated[tuple[str, ...], Meta(min_length=1)]


class Step(Table, frozen=True):
    """A set of models in a ladder of more than two, the weakest first."""

    name: Annotated[str, Meta(description="A word of its own, for rules and reasons.", examples=["middle"])]
    targets: Annotated[
        Targets,
        Meta(
            description='BACKEND/MODEL, in order; or one of free/…, as in ["free/auto"].', examples=[["local/smollm2"]]
        ),
    ]
    share: Annotated[
        Share | None,
        Meta(description="Its part of all prompts. All have one, or none: then all are equal.", examples=[0.3]),
    ] = None
    strategy: Annotated[Strategy, Meta(description="How one of its targets is chosen.")] = "ordered"
    weights: Annotated[tuple[Weight, ...], Meta(description='For "weighted": one for each target.')] = ()
    sticky: Annotated[Sticky, Meta(description="Whether a conversation stays with one of them.")] = "none"


class Profile(Table, frozen=True):
    """What auto:NAME asks. Unset: as in [router]. A number in place of the table is its strong_share."""

    strong_share: Annotated[
        Share | None, Meta(description="Part of the prompts that strong models answer.", examples=[0.2])
    ] = None
    strong: Annotated[tuple[str, ...], Meta(description="Its strong models.", examples=[["openai/gpt-4.1"]])] = ()
    weak: Annotated[tuple[str, ...], Meta(description="Its weak models.", examples=[["local/smollm2"]])] = ()
    ladder: Annotated[tuple[Step, ...], Meta(description="In place of both, a ladder of its own.")] = ()


class When(Table, frozen=True):
    """When a rule matches: all that is set must hold. Of a list, one is enough."""

    models: Annotated[
        tuple[str, ...],
        Meta(
            description="Names that were asked for, with * for anything. Unset: only auto, auto:PROFILE and "
            "router-NAME-THRESHOLD; a model's own name goes to it.",
            examples=[["gpt-4*", "auto"]],
        ),
    ] = ()
    min_prompt_tokens: Annotated[Count | None, Meta(description="Shortest prompt, as estimated.", examples=[2000])] = (
        None
    )
    max_prompt_tokens: Annotated[Count | None, Meta(description="Longest prompt, as estimated.", examples=[8000])] = (
        None
    )
    languages: Annotated[
        tuple[str, ...], Meta(description="Languages of the question: de, en, and so on.", examples=[["de"]])
    ] = ()
    holds: Annotated[
        tuple[Kind, ...], Meta(description="What must all be there: code, math, image and so on.", examples=[["code"]])
    ] = ()
    holds_any: Annotated[
        tuple[Kind, ...], Meta(description="Of these, one must be there.", examples=[["image", "file"]])
    ] = ()
    tools: Annotated[bool | None, Meta(description="Whether tools are offered.", examples=[False])] = None
    min_turns: Annotated[Count | None, Meta(description="Least questions of the conversation.", examples=[2])] = None
    max_turns: Annotated[Count | None, Meta(description="Most questions of it.", examples=[10])] = None
    users: Annotated[
        tuple[str, ...],
        Meta(description="Who asks: principals, as the log has them.", examples=[["key_0123456789ab"]]),
    ] = ()
    groups: Annotated[tuple[str, ...], Meta(description="Groups of [router.groups].", examples=[["staff"]])] = ()
    headers: Annotated[
        dict[str, str],
        Meta(
            description="Headers, with * for anything. No others are read; never keys and cookies.",
            examples=[{"x-team": "research*"}],
        ),
    ] = field(default_factory=dict)
    work: Annotated[
        tuple[Work, ...], Meta(description="Who waits for the answer, by sl_route.work.", examples=[["batch"]])
    ] = ()
    data: Annotated[
        tuple[Data, ...],
        Meta(description="What may become of its texts, by sl_route.data.", examples=[["confidential"]]),
    ] = ()
    hours: Annotated[str | None, Meta(description="Time of the day in router.timezone.", examples=["08:00-18:00"])] = (
        None
    )
    days: Annotated[tuple[Day, ...], Meta(description="Days on which that begins.", examples=[["sat", "sun"]])] = ()


class Rule(Table, frozen=True):
    """One rule. The first that matches decides, before the learned router is asked."""

    name: Annotated[str, Meta(description="A name of its own, for reasons and logs.", examples=["long-to-vllm"])]
    use: Annotated[
        Targets,
        Meta(
            description="Whom to ask, in order: BACKEND/MODEL, an alias, free/auto or free/MODEL, strong, weak, or a "
            "step of the ladder; or one of auto and auto:PROFILE.",
            examples=[["local/smollm2"]],
        ),
    ]
    when: Annotated[When, Meta(description="Its conditions. Unset: it matches always.")] = When()
    strategy: Annotated[
        Strategy | None, Meta(description="Makes one set of all, and says how one is chosen.", examples=["ordered"])
    ] = None
    weights: Annotated[tuple[Weight, ...], Meta(description='For "weighted": one for each of use.')] = ()
    sticky: Annotated[Sticky, Meta(description="Whether a conversation stays with one of them.")] = "none"
    max_price: Annotated[
        Annotated[float, Meta(ge=0, le=1_000_000)] | None,
        Meta(description="Dollars for a million tokens of answer: who costs more is not asked.", examples=[5]),
    ] = None


class Router(Table, frozen=True):
    """Which model answers `auto`: rules first, then the learned router between strong and weak models."""

    strong: Annotated[
        tuple[str, ...],
        Meta(
            description="The models for hard prompts: BACKEND/MODEL in order, or one of free/….",
            examples=[["openai/gpt-4.1"]],
        ),
    ] = ()
    weak: Annotated[
        tuple[str, ...], Meta(description="The models for easy ones, in the same way.", examples=[["local/smollm2"]])
    ] = ()
    ladder: Annotated[
        tuple[Step, ...], Meta(description="In place of both: more than two sets, one [[router.ladder]] each.")
    ] = ()
    strong_share: Annotated[
        Share, Meta(description="Part of the prompts of the calibrated mix that strong models answer.")
    ] = 0.5
    strategy: Annotated[Strategy, Meta(description="How one of strong, or of weak, is chosen.")] = "ordered"
    sticky: Annotated[Sticky, Meta(description="Whether a conversation stays with one of them.")] = "none"
    profiles: Annotated[
        dict[str, Share | Profile],
        Meta(description="auto:NAME for each: a strong share, or a table.", examples=[{"cheap": 0.2, "best": 0.9}]),
    ] = field(default_factory=dict)
    weights_file: Annotated[
        Path | None,
        Meta(description="Weights of your own training. Unset: those that come along.", examples=["router.npz"]),
    ] = None
    strong_model: Annotated[
        str | None,
        Meta(description="The model in the weights that strong is like. Unset: their default.", examples=["gpt-4"]),
    ] = None
    weak_model: Annotated[str | None, Meta(description="The same for weak.", examples=["mixtral-8x7b"])] = None
    calibration: Annotated[
        Path | None,
        Meta(
            description="What streamlane router calibrate wrote of your own prompts. Unset: that of the weights.",
            examples=["router-calibration.json"],
        ),
    ] = None
    names: Annotated[
        dict[str, Path],
        Meta(description="Further weights, for router-NAME-THRESHOLD.", examples=[{"mf": "weights.npz"}]),
    ] = field(default_factory=dict)
    rules: Annotated[tuple[Rule, ...], Meta(description="The rules in order, one [[router.rules]] each.")] = ()
    groups: Annotated[
        dict[str, tuple[str, ...]],
        Meta(description="Principals by group, for rules.", examples=[{"staff": ["key_0123456789ab"]}]),
    ] = field(default_factory=dict)
    timezone: Annotated[str, Meta(description="Where the hours of rules are.", examples=["Europe/Berlin"])] = "UTC"
    hedge_after: Annotated[
        Seconds | None,
        Meta(
            description="Seconds without a first token after which a second target is asked too, and the faster "
            "answers. Unset: never.",
            examples=[2],
        ),
    ] = None
    hedge_share: Annotated[Share, Meta(description="Most requests that may do that, as a part of all.")] = 0.05
