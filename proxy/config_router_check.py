"""What is wrong with a [router] that its types alone cannot say. Pure."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import time

from proxy.choice_words import Strategy
from proxy.config_check import Problem, address_fault, nearest
from proxy.config_free import known as known_zone
from proxy.config_router import Profile, Router, Rule, Step, When
from proxy.config_source import join
from proxy.languages import LANGUAGES
from proxy.router_names import AUTO, OF_PROFILE, SHIPPED, is_router_name

SECRET = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key", "x-goog-api-key"}
)
SECRET_WORDS = re.compile(r"(^|-)(key|keys|token|secret|password|auth|cookie)(-|$)")
FOR_AUTO = frozenset({AUTO, f"{AUTO}*"})  # globs by which a rule means auto itself
EXACT = 1e-6  # of a sum of shares

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._]*")  # no "-": router-NAME-THRESHOLD
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.1
_HOURS = re.compile(r"(\d\d?):(\d\d)-(\d\d?):(\d\d)")


@dataclass(frozen=True, slots=True)
class Names:
    """What targets may name: backends and accounts, aliases; and whether there are accounts, so that free/… is."""

    backends: tuple[str, ...]
    aliases: tuple[str, ...]
    accounts: bool


def problems(router: Router, names: Names) -> Iterator[Problem]:
    """Every mistake, with its path."""
    yield from _sets("router", router, names)
    if router.ladder and router.strategy != "ordered":
        yield "router.strategy", "is for strong and weak. With a ladder, each step has its own."
    for name, profile in router.profiles.items():
        yield from _profile(name, profile, router, names)
    for name in router.names:
        path = join("router.names", name)
        if not _NAME.fullmatch(name):
            yield (
                path,
                f'expected letters, digits, "_" and ".", because router-NAME-THRESHOLD has the "-", got "{name}"',
            )
        elif name == SHIPPED:
            yield path, f'"{SHIPPED}" is the router that comes along. To replace it, set router.weights_file.'
    if not known_zone(router.timezone):
        yield "router.timezone", f'expected a name such as "Europe/Berlin", got "{router.timezone}"'
    for name in names.aliases:
        if is_router_name(name) and (router.strong or router.ladder or router.profiles or router.rules):
            yield join("models", name), "hides a name of the router's. Rename the alias."
    for index, rule in enumerate(router.rules):
        yield from _rule(f"router.rules[{index}]", rule, router, names)
        first = next(at for at, each in enumerate(router.rules) if each.name == rule.name)
        if first != index:
            yield f"router.rules[{index}].name", f'"{rule.name}" is already the name of router.rules[{first}].'
    yield from _rest(router)


def hours(text: str) -> tuple[time, time] | None:
    """From when to when, by "08:00-18:00"; 24:00 is midnight. None for anything else."""
    found = _HOURS.fullmatch(text)
    if not found:
        return None
    one, two, three, four = map(int, found.groups())
    if max(two, four) > 59 or max(one, three) > 24 or (one == 24 and two) or (three == 24 and four):
        return None
    return time(one % 24, two), time(three % 24, four)


def catches_all(rule: Rule) -> bool:
    """Whether it matches every request for auto."""
    models = rule.when.models
    return rule.when == When(models=models) and (not models or not FOR_AUTO.isdisjoint(models) or "*" in models)


def _sets(path: str, of: Router | Profile, names: Names) -> Iterator[Problem]:
    """strong and weak, or a ladder."""
    if of.ladder and (of.strong or of.weak):
        yield f"{path}.ladder", "is in place of strong and weak. Take them out, or it."
    for key, one, other in (("strong", of.strong, of.weak), ("weak", of.weak, of.strong)):
        if other and not one and isinstance(of, Router):
            yield f"{path}.{key}", "missing. The router chooses between strong and weak: add it."
        yield from _targets(f"{path}.{key}", one, names)
    seen: set[str] = set()
    for index, step in enumerate(of.ladder):
        at = f"{path}.ladder[{index}]"
        yield from _step(at, step, names)
        if step.name in seen:
            yield f"{at}.name", f'"{step.name}" is there twice. Choose another.'
        seen.add(step.name)
    if of.ladder:
        yield from _shares(f"{path}.ladder", of.ladder)


def _step(path: str, step: Step, names: Names) -> Iterator[Problem]:
    if not _WORD.fullmatch(step.name) or is_router_name(step.name):
        yield f"{path}.name", f'expected a word of letters, digits, ".", "_" and "-", got "{step.name}"'
    elif step.name in names.aliases:
        yield f"{path}.name", f'"{step.name}" is an alias too, and a rule could mean either. Rename one.'
    yield from _targets(f"{path}.targets", step.targets, names)
    yield from choice(path, step.strategy, step.weights, len(step.targets), "targets")


def _targets(path: str, targets: Sequence[str], names: Names) -> Iterator[Problem]:
    """BACKEND/MODEL each, once; or a single free/…."""
    for index, target in enumerate(targets):
        at = f"{path}[{index}]"
        if _is_free(target, names):
            if len(targets) > 1:
                yield at, f'"{target}" is many models already, and stands alone in its list.'
            elif fault := _free_fault(target, names):
                yield at, fault
        elif target in names.aliases:
            yield at, f'"{target}" is an alias. Targets are backends\' models, written "BACKEND/MODEL".'
        elif fault := address_fault(target, names.backends):
            yield at, fault
        if target in targets[:index]:
            yield at, f'"{target}" is there twice. Remove one.'


def _shares(path: str, ladder: Sequence[Step]) -> Iterator[Problem]:
    """All have one and they are the whole, or none has."""
    shares = [step.share for step in ladder if step.share is not None]
    if len(ladder) < 2:
        yield path, "expected two steps or more, the weakest first."
    elif shares and len(shares) < len(ladder):
        missing = next(index for index, step in enumerate(ladder) if step.share is None)
        yield f"{path}[{missing}].share", "missing. All steps have a share, or none."
    elif shares and abs(sum(shares) - 1) > EXACT:
        yield path, f"the shares must be 1 together, and are {sum(shares):g}."


def choice(path: str, strategy: Strategy | None, weights: Sequence[float], count: int, of: str) -> Iterator[Problem]:
    """A strategy and what goes with it, for `count` targets in the key `of`."""
    if weights and strategy != "weighted":
        yield f"{path}.weights", 'is for strategy = "weighted". Set that, or take it out.'
    elif strategy == "weighted" and len(weights) != count:
        yield f"{path}.weights", f"expected {count} numbers, one for each of {of}, got {len(weights)}"


def _profile(name: str, profile: float | Profile, router: Router, names: Names) -> Iterator[Problem]:
    path = join("router.profiles", name)
    if not _WORD.fullmatch(name):
        yield path, f'expected letters, digits, ".", "_" and "-", got "{name}"'
    elif name == AUTO:
        yield path, f'"{AUTO}" itself is what [router] says. Choose another name.'
    if isinstance(profile, Profile):
        yield from _sets(path, profile, names)
        if profile.ladder and profile.strong_share is not None:
            yield f"{path}.strong_share", "is for strong and weak. With a ladder, each step has a share."
        for key in ("strong", "weak"):
            if (profile.strong or profile.weak) and not (getattr(profile, key) or getattr(router, key)):
                yield f"{path}.{key}", "missing here and in [router]. Add it."
    whole = isinstance(profile, Profile) and bool(profile.ladder or (profile.strong or profile.weak))
    if not whole and not (router.strong or router.ladder):
        yield path, "has no models to choose among: add strong and weak to [router], or here."


def _rule(path: str, rule: Rule, router: Router, names: Names) -> Iterator[Problem]:
    if not rule.name.strip():
        yield f"{path}.name", "a rule needs a name."
    steps = [step.name for step in router.ladder] or (["strong", "weak"] if router.strong else [])
    for index, entry in enumerate(rule.use):
        if fault := _entry_fault(entry, len(rule.use), steps, router, names):
            yield f"{path}.use[{index}]", fault
        elif entry in rule.use[:index]:
            yield f"{path}.use[{index}]", f'"{entry}" is there twice. Remove one.'
    single = rule.strategy is not None or rule.sticky != "none"
    if single and any(_is_free(entry, names) or is_router_name(entry) for entry in rule.use):
        key = "strategy" if rule.strategy is not None else "sticky"
        yield f"{path}.{key}", "cannot order free/… or auto: these order themselves. Take it out."
    elif rule.strategy == "weighted" and any(entry in (*steps, *names.aliases) for entry in rule.use):
        yield f"{path}.weights", 'are for BACKEND/MODEL: write out what an alias or a set stands for, in "use".'
    else:
        yield from choice(path, rule.strategy, rule.weights, len(rule.use), "use")
    yield from _when(f"{path}.when", rule.when, router)


def _entry_fault(entry: str, count: int, steps: Sequence[str], router: Router, names: Names) -> str | None:
    if is_router_name(entry):
        profiles = [f"{OF_PROFILE}{each}" for each in router.profiles]
        known = [*([AUTO] if router.strong or router.ladder else []), *profiles]
        if entry not in known:
            return f"no profile of that name.{nearest(entry, known)} There are: {', '.join(known) or 'none'}."
        return f'"{entry}" stands alone: the learned router has an order of its own.' if count > 1 else None
    if _is_free(entry, names):
        return _free_fault(entry, names)
    if entry in steps or entry in names.aliases:
        return None
    if "/" not in entry:
        known = [*steps, *names.aliases]
        have = f" There are: {', '.join(known)}." if known else ""
        return f'no alias and no set is named "{entry}".{nearest(entry, known)}{have} A model is "BACKEND/MODEL".'
    return address_fault(entry, names.backends)


def _when(path: str, when: When, router: Router) -> Iterator[Problem]:
    for least, most in (("min_prompt_tokens", "max_prompt_tokens"), ("min_turns", "max_turns")):
        low, high = getattr(when, least), getattr(when, most)
        if low is not None and high is not None and low > high:
            yield f"{path}.{most}", f"{high} is less than {least}, {low}: no request is both."
    if when.hours is not None and hours(when.hours) is None:
        yield f"{path}.hours", f'expected two times such as "08:00-18:00", got "{when.hours}"'
    for index, code in enumerate(when.languages):
        if code not in LANGUAGES:
            by_name = next((each for each, name in LANGUAGES.items() if name.lower() == code.lower()), None)
            near = f' Did you mean "{by_name}"?' if by_name else ""
            yield f"{path}.languages[{index}]", f'expected an ISO 639-1 code such as "de", got "{code}".{near}'
    for index, group in enumerate(when.groups):
        if group not in router.groups:
            groups = list(router.groups)
            have = f" Groups: {', '.join(groups)}." if groups else " Add it to [router.groups]."
            yield f"{path}.groups[{index}]", f'no group is named "{group}".{nearest(group, groups)}{have}'
    for name in when.headers:
        at = join(f"{path}.headers", name)
        if not _HEADER.fullmatch(name):
            yield at, f'expected the name of a header, such as "x-team", got "{name}"'
        elif name.lower() in SECRET or SECRET_WORDS.search(name.lower()):
            yield at, "headers that hold keys or cookies are never read. Use users or groups."
    yield from _empty(path, when.models, "models")


def _empty(path: str, texts: Iterable[str], key: str) -> Iterator[Problem]:
    for index, text in enumerate(texts):
        if not text:
            yield f"{path}.{key}[{index}]", "expected a name, with * for anything, got an empty text"


def _rest(router: Router) -> Iterator[Problem]:
    """Whatever is asked of auto, somebody answers."""
    for_auto = any(not rule.when.models or not FOR_AUTO.isdisjoint(rule.when.models) for rule in router.rules)
    if for_auto and not (router.strong or router.ladder) and not any(map(catches_all, router.rules)):
        yield (
            "router.rules",
            "nobody answers auto where no rule matches. Add strong and weak to [router], or a last rule without when.",
        )


def _is_free(target: str, names: Names) -> bool:
    return target.startswith("free/") and "free" not in names.backends


def _free_fault(target: str, names: Names) -> str | None:
    profiles = ("auto", "fast", "best", "cheap")
    if not names.accounts:
        return f'"{target}" needs [[accounts]], and there are none. Add one: streamlane free add.'
    wanted, _, profile = target.removeprefix("free/").partition(":")
    if not wanted:
        return 'expected "free/auto" or "free/MODEL"'
    if wanted == "auto" and profile and profile not in profiles:
        return f"no such profile.{nearest(profile, profiles)} There are: {', '.join(profiles)}."
    return None
