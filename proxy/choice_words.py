"""The words for how a model is chosen, which the configuration, the runtime and the rules share."""

from typing import Literal, TypeAlias

Strategy: TypeAlias = Literal[
    "ordered", "weighted", "round_robin", "least_busy", "lowest_cost", "lowest_latency", "two_choices"
]
"""How one of several candidates is chosen."""
Sticky: TypeAlias = Literal["none", "conversation", "hash"]
"""Whether a conversation stays where it was: not, with who answered it last, or by a consistent hash."""
Work: TypeAlias = Literal["interactive", "agent", "batch"]
"""Who waits for the answer: a person, a program that goes on with it, or nobody now."""
Data: TypeAlias = Literal["any", "no_training", "confidential"]
"""What may become of a request's texts: anything; no training; or they stay with the operator's own machines."""
Kind: TypeAlias = Literal["code", "math", "image", "audio", "file", "json"]
"""What a request holds or asks for, beside plain text."""
Day: TypeAlias = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
"""A day of the week."""
