"""Puts into the notices of where a request goes why it goes there, and why not elsewhere. Pure."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias, cast

from proxy.outcome import Notice
from proxy.selection import Selection

Reasons: TypeAlias = Mapping[tuple[object, object], str]
NO_REASONS: Reasons = MappingProxyType({})


def passing_by(
    passed: Sequence[Mapping[str, str]],
    notify: Callable[[Notice], None],
    reasons: Reasons = NO_REASONS,
) -> Callable[[Notice], None]:
    """`notify` with those that were passed over in each notice of where a request goes, and with why it goes there:
    `reasons` are by backend and model.
    """
    if not passed and not reasons:
        return notify

    def tell(notice: Notice) -> None:
        if notice.kind == "route":
            data = dict(notice.data)
            if reason := reasons.get((data["backend"], data["model"])):
                data["reason"] = reason
            if passed:
                data["passed_over"] = [*cast(Sequence[object], data.get("passed_over", ())), *passed]
            notice = Notice("route", data)
        notify(notice)

    return tell


def explained(selection: Selection, notify: Callable[[Notice], None]) -> Callable[[Notice], None]:
    """`notify` with why a candidate was chosen, and why others were not."""
    reasons: Reasons = {(each.candidate.backend.name, each.candidate.model): each.reason for each in selection.chosen}
    return passing_by([each.shown() for each in selection.passed_over], notify, reasons)
