"""What the configuration says of the router, in the runtime's terms and in those of the rules."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from proxy import config_router
from proxy.config_router import Profile, Step
from proxy.config_router_check import catches_all, hours
from proxy.router_names import AUTO, SHIPPED, Ladder, Router, Targets, Use
from proxy.routing.rules import MIDNIGHT, Rule, Rules, Times, When
from quota.price import MILLION

SAME = (
    "models", "min_prompt_tokens", "max_prompt_tokens", "languages", "holds", "holds_any", "tools", "min_turns",
    "max_turns", "users", "groups", "work", "data",
)  # fmt: skip
"""Conditions that are the same in both."""


def router(options: config_router.Router) -> Router:
    """What auto, auto:PROFILE and router-NAME-THRESHOLD lead to."""
    ladders = {AUTO: _ladder(options, options.strong_share)} if options.strong or options.ladder else {}
    ladders |= {name: _of_profile(profile, options) for name, profile in options.profiles.items()}
    return Router(
        ladders=MappingProxyType(ladders),
        weights=(SHIPPED, *options.names),
        otherwise=next((_use(each) for each in options.rules if catches_all(each)), None),
    )


def rules(options: config_router.Router) -> Rules:
    """The rules, in their order."""
    return Rules(Rule(_use(each), _when(each.when)) for each in options.rules)


def groups(options: config_router.Router) -> Mapping[str, frozenset[str]]:
    """The groups of each principal that is in one."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name, members in options.groups.items():
        for member in members:
            found[member].add(name)
    return MappingProxyType({member: frozenset(names) for member, names in found.items()})


def _of_profile(profile: float | Profile, options: config_router.Router) -> Ladder:
    """That of [router] with another strong share, or one of its own."""
    if not isinstance(profile, Profile):
        return _ladder(options, profile, scaled=True)
    if profile.ladder:
        return _of_steps(profile.ladder)
    share = options.strong_share if profile.strong_share is None else profile.strong_share
    if not (profile.strong or profile.weak):
        return _ladder(options, share, scaled=profile.strong_share is not None)
    return _pair(profile.strong or options.strong, profile.weak or options.weak, share, options)


def _ladder(options: config_router.Router, strong_share: float, *, scaled: bool = False) -> Ladder:
    """Strong and weak, or the steps; `scaled` to that share of the strongest."""
    if not options.ladder:
        return _pair(options.strong, options.weak, strong_share, options)
    ladder = _of_steps(options.ladder)
    if not scaled:
        return ladder
    *below, _ = ladder.shares
    whole = sum(below)
    rest = [each / whole for each in below] if whole else [1 / len(below)] * len(below)
    return Ladder(ladder.sets, (*(each * (1 - strong_share) for each in rest), strong_share))


def _pair(strong: Sequence[str], weak: Sequence[str], share: float, options: config_router.Router) -> Ladder:
    sets = tuple(
        Targets(name, tuple(targets), options.strategy, sticky=options.sticky)
        for name, targets in (("weak", weak), ("strong", strong))
    )
    return Ladder(sets, (1 - share, share))


def _of_steps(steps: Sequence[Step]) -> Ladder:
    sets = tuple(Targets(each.name, each.targets, each.strategy, each.weights, each.sticky) for each in steps)
    return Ladder(sets, tuple(1 / len(steps) if each.share is None else each.share for each in steps))


def _use(rule: config_router.Rule) -> Use:
    max_price = None if rule.max_price is None else round(rule.max_price * MILLION)
    return Use(rule.name, rule.use, rule.strategy, rule.weights, rule.sticky, max_price)


def _when(when: config_router.When) -> When:
    begin, end = (hours(when.hours) if when.hours else None) or (MIDNIGHT, MIDNIGHT)
    return When(
        **{name: getattr(when, name) for name in SAME},
        headers=MappingProxyType({name.lower(): glob for name, glob in when.headers.items()}),
        times=Times(begin, end, when.days) if when.hours or when.days else None,
    )
