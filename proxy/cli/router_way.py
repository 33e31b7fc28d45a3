"""The way of one prompt through the configuration, as far as it can be told without asking anybody."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.chooser import Choice
    from proxy.config import Config
    from proxy.config_router import Router
    from proxy.learned.router import PairRouter
    from proxy.routing.values import Decision
    from proxy.runtime import Runtime

CALM = "Health, queues and what is left of quotas are as of a gateway that has just started."


def way(config: "Config", model: str, prompt: str, headers: Mapping[str, str], user: str) -> "Choice":
    """Who would be asked for `prompt` as `model`. Raises StartError, and what a gateway would refuse it with."""
    from time import monotonic

    from backends.request import Request, said
    from proxy import configured_router
    from proxy.asked import completed
    from proxy.dispatch_setup import chooser_of
    from proxy.outcome import Call, Principal
    from proxy.places import Places
    from proxy.routing.breaker import Rules
    from proxy.routing.vitals import Vitals

    runtime = runtime_of(config)
    rules = configured_router.rules(config.router)
    vitals, places = Vitals(Rules(), lambda: 0.5), Places(seconds=1.0, now=monotonic)
    chooser = chooser_of(config, rules, vitals, places, lambda _: None)
    route = runtime.resolve(model)
    request = completed(Request(model, (said("user", prompt),)), route, config.limits.default_max_output_tokens)
    read = {name: headers[name] for name in rules.headers if name in headers}
    return asyncio.run(chooser.choose(Call(Principal(user), "explain", headers=read), model, route, request, runtime))


def runtime_of(config: "Config") -> "Runtime":
    """What the configuration names, though nothing of it was started or asked."""
    from types import MappingProxyType

    from backends import registry
    from proxy import configured_router
    from proxy.app import build, transport_of
    from proxy.configured import alias, model_facts, model_prices
    from proxy.metering import accounts_of
    from proxy.runtime import Runtime

    found = accounts_of(config)
    parts = registry.Parts(transport=transport_of(config), models_dir=config.data_dir / "models")
    backends = [build(options, parts) for options in (*config.backends, *found.backends)]
    return Runtime(
        MappingProxyType({each.name: each for each in backends}),
        MappingProxyType({name: alias(each) for name, each in config.models.items()}),
        facts=model_facts(config.capabilities, found.facts),
        by_name=frozenset(each.name for each in found.backends),
        metered=MappingProxyType(
            {name: {each.model: each for each in models} for name, models in found.metered.items()}
        ),
        prices=model_prices(config.prices),
        router=configured_router.router(config.router),
    )


def scoring(options: "Router", choice: "Choice") -> "PairRouter":
    """The pair of the learned router that scored: that of router-NAME-THRESHOLD has weights of its own."""
    from proxy.learned.router import LearnedRouter

    named = None if choice.route.ask is None else options.names.get(choice.route.ask.router)
    if named is not None:
        return LearnedRouter.load(named).pair()
    return LearnedRouter.load(options.weights_file).pair(options.strong_model, options.weak_model)


def told(choice: "Choice", model: str) -> Iterator[str]:
    """The way in lines: what decided, who is asked in which order, and who is not."""
    made = choice.decision
    yield f"{model}: {decided_by(made)}"
    number = 0
    for among in made.sets:
        for pick in among.picks:
            number += 1
            reason = f": {pick.reason}" if pick.reason else ""
            target = f"{pick.candidate.backend.name}/{pick.candidate.model}"
            of = "" if among.name == target else f" ({among.name})"
            yield f"{number:>3}  {target}{of}{reason}"
    for over in made.passed_over:
        yield f"  -  {over.candidate.backend.name}/{over.candidate.model} is not asked: {over.reason}"
    yield CALM


def decided_by(made: "Decision") -> str:
    """What put the first set first."""
    first = made.sets[0].name
    if made.rule is not None and made.scored is None:
        return f'the rule "{made.rule}" matches, and no later one is looked at.'
    by = "" if made.rule is None else f'the rule "{made.rule}" leads to the learned router; '
    if made.scored is not None:
        scored = made.scored
        bound = "" if made.threshold is None else f", and {made.threshold:g} is the threshold"
        guard = "; the prompt is unlike what was learned from, so the score was drawn to the middle" * scored.guarded
        by = by or "no rule matches; "
        mix = f"{scored.share:.0%} of the calibrated mix score no higher"
        return f"{by}the score is {scored.score:.3f}{bound} ({mix}), so {first} comes first{guard}."
    if made.profile is not None or made.threshold is not None:
        return f"there is no text that could be scored, so it counts as of middle difficulty, and {first} comes first."
    return "this name is not the router's, and no rule is for it."
