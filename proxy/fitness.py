"""Which candidates can answer a request at all: one that is known not to is passed by, with a reason.

What nobody knows is tried: a backend refuses what it cannot do, and the next one is asked then.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from backends.base import Model
from backends.capabilities import GUIDES, WORDS, needs
from backends.errors import UnsupportedFeature
from backends.request import EmbeddingRequest, Request
from proxy.runtime import Candidate


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A candidate that is not asked. `feature` is what it has not, `param` the field that asks for it."""

    candidate: Candidate
    feature: str
    param: str

    def shown(self) -> dict[str, str]:
        """For a notice or a log line."""
        reason = f"does not support {self.feature}"
        return {"model": self.candidate.model, "backend": self.candidate.backend.name, "reason": reason}


def fitting(
    candidates: Sequence[Candidate], request: Request | EmbeddingRequest
) -> tuple[tuple[Candidate, ...], tuple[PassedOver, ...]]:
    """Those that may be able to, in their order, and the others. Raises UnsupportedFeature when none is left."""
    needed = needs(request)
    guides = sorted(GUIDES & request.extras.keys()) if isinstance(request, Request) else ()
    fit, passed = [], []
    for candidate in candidates:
        lacking = candidate.known.capabilities.lacks(needed)
        guide = next((name for name in guides if name not in candidate.backend.extras), None)
        if lacking is not None:
            passed.append(PassedOver(candidate, *WORDS[lacking]))
        elif guide is not None:
            passed.append(PassedOver(candidate, f"'{guide}'", guide))
        else:
            fit.append(candidate)
    if not fit:
        raise UnsupportedFeature(passed[0].feature, passed[0].param)
    return tuple(fit), tuple(passed)


def within(request: Request, known: Model) -> Request:
    """`request` for an answer that is no longer than the model can give."""
    if known.max_output is None or request.max_output_tokens <= known.max_output:
        return request
    return replace(request, max_output_tokens=known.max_output)
