"""Puts into the notices of where a request goes why it goes there, and why not elsewhere. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from proxy.outcome import Notice
from proxy.routing.values import Decision
from proxy.selection import Selection

Tell = Callable[[Notice], None]


def passing_by(
    passed: Sequence[Mapping[str, str]],
    notify: Tell,
    why: Callable[[str, str], str | None] = lambda backend, model: None,
    more: Mapping[str, object] | None = None,
) -> Tell:
    """`notify` with those that were passed over in each notice of where a request goes; with what `why` says of that
    backend and model, and with `more`.
    """

    def tell(notice: Notice) -> None:
        if notice.kind == "route":
            data = {**notice.data, **(more or {})}
            reason = why(str(data["backend"]), str(data["model"]))  # only this one is put into words, of a hundred
            if reason is not None:
                data["reason"] = reason
            if passed:
                data["passed_over"] = [*cast(Sequence[object], data.get("passed_over", ())), *passed]
            notice = Notice("route", data)
        notify(notice)

    return tell


def explained(selection: Selection, notify: Tell) -> Tell:
    """`notify` with why an account was chosen, and why others were not."""

    def why(backend: str, model: str) -> str | None:
        for each in selection.chosen:
            if (each.candidate.backend.name, each.candidate.model) == (backend, model):
                return each.reason
        return None

    return passing_by([each.shown() for each in selection.passed_over], notify, why)


def decided(decision: Decision, notify: Tell) -> Tell:
    """`notify` with the rule or the score that decided, why a candidate is asked, and why others are not."""
    more: dict[str, object] = {}
    if decision.rule is not None:
        more["rule"] = decision.rule
    if decision.scored is not None:
        more["router"] = router_shown(decision)
    picks = [pick for among in decision.sets for pick in among.picks]
    if not more and not decision.passed_over and len(picks) == 1:
        return notify

    def why(backend: str, model: str) -> str | None:
        for pick in picks:
            if (pick.candidate.backend.name, pick.candidate.model) == (backend, model):
                return pick.reason or None
        return None

    return passing_by([each.shown() for each in decision.passed_over], notify, why, more)


def router_shown(decision: Decision) -> dict[str, object]:
    """The learned router's verdict, for an event or `streamlane router explain`."""
    scored = decision.scored
    assert scored is not None
    return {
        "profile": decision.profile,
        "score": round(scored.score, 4),
        "threshold": None if decision.threshold is None else round(decision.threshold, 4),
        "share": round(scored.share, 4),
        "unfamiliar": round(scored.unfamiliar, 4),
        "guarded": scored.guarded,
    }
