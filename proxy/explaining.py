"""Puts into the notices of where a request goes why it goes there, and why not elsewhere. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from proxy.outcome import Notice
from proxy.selection import Chosen, Selection


def passing_by(
    passed: Sequence[Mapping[str, str]], notify: Callable[[Notice], None], chosen: Sequence[Chosen] = ()
) -> Callable[[Notice], None]:
    """`notify` with those that were passed over in each notice of where a request goes, and, where that is one of the
    `chosen`, why it goes there.
    """
    if not passed and not chosen:
        return notify

    def tell(notice: Notice) -> None:
        if notice.kind == "route":
            data = dict(notice.data)
            goes = data["backend"], data["model"]
            for each in chosen:  # only its reason is put into words: there may be a hundred
                if (each.candidate.backend.name, each.candidate.model) == goes:
                    data["reason"] = each.reason
                    break
            if passed:
                data["passed_over"] = [*cast(Sequence[object], data.get("passed_over", ())), *passed]
            notice = Notice("route", data)
        notify(notice)

    return tell


def explained(selection: Selection, notify: Callable[[Notice], None]) -> Callable[[Notice], None]:
    """`notify` with why a candidate was chosen, and why others were not."""
    return passing_by([each.shown() for each in selection.passed_over], notify, selection.chosen)
