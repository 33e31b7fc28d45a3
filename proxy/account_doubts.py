"""What a person should know of the accounts before relying on them: one sentence each, with what to do."""

from collections.abc import Iterator, Mapping, Sequence

from backends.http_options import HttpOptions, looks_like_a_placeholder
from backends.presets import presets
from proxy.accounts import Accounts, not_accepted
from proxy.catalog import STATUS, WORDS, Catalog, Provider
from proxy.config import BackendOptions
from proxy.config_check import nearest
from proxy.config_free import Account
from proxy.provider_keys import OWN

DOUBTFUL = ("closed", "uncertain", "trial_credit")


def doubts(
    accounts: Sequence[Account], catalog: Catalog, built: Accounts, backends: Sequence[BackendOptions]
) -> Iterator[str]:
    """Of every account in its order; `backends` are the [[backends]]. Nothing of a key."""
    for index, account in enumerate(accounts):
        at = f'accounts[{index}] "{account.name}"'
        for doubt in (
            *_of_use(account, catalog[account.provider], built),
            *_of_facts(account, catalog[account.provider]),
            *_of_key(account, catalog[account.provider], backends),
        ):
            yield f"{at}: {doubt}"


def told(provider: Provider, plan: str | None, limit: int | None = None) -> Iterator[str]:
    """The terms of a plan in words, one line each."""
    for notice in provider.notices(plan)[:limit]:
        yield f"{notice.term}: {WORDS[notice.term]}. {notice.text}"


def variable_of(provider: Provider) -> str:
    """The environment variable in which its key is usual."""
    if provider.preset is not None and (usual := presets()[provider.preset].key_env):
        return usual[0]
    own = next((place.variables[0] for place in OWN if place.kind == provider.kind), None)
    return own or f"{provider.id.upper().replace('-', '_').replace('.', '_')}_API_KEY"


def _of_use(account: Account, provider: Provider, built: Accounts) -> Iterator[str]:
    reasons: Mapping[str, str] = dict(built.unused)
    if account.name in reasons:
        yield f"is not used: {reasons[account.name]}"
        missing = not_accepted(account, provider)
        for notice in provider.notices(account.plan):
            if notice.term in missing:
                yield f"{notice.term}: {notice.text}"
    for name, why in reasons.items():
        if name.startswith(f"{account.name}/"):
            yield f"{name} is not used: {why}"
    if (why_not := built.by_name.get(account.name)) is not None:
        yield why_not


def _of_facts(account: Account, provider: Provider) -> Iterator[str]:
    if provider.status in DOUBTFUL:
        yield f"{provider.name} is {STATUS[provider.status]}, as of {provider.as_of}."
    unsure = _unsure(account, provider)
    if unsure and provider.usable:
        yield (
            f"what is known of {provider.name} is not sure in {unsure} (as of {provider.as_of}). "
            "Compare it with what its console shows, and set your own numbers in limits."
        )
    if provider.models:
        for model in account.models:
            if model not in provider.models and (near := nearest(model, list(provider.models))):
                yield f'"{model}" is not in the catalog.{near}'


def _unsure(account: Account, provider: Provider) -> str:
    """The limits that are known with low confidence and that the account does not set itself, in words."""
    mine = {(limit.metric, limit.window) for limit in account.limits}
    models = account.models or tuple(provider.models)
    found = {
        (limit.metric, limit.window): None
        for model in (*models, None)
        for limit in provider.limits_of(model, account.plan)
        if provider.confidence_in(limit, model) == "low" and (limit.metric, limit.window) not in mine
    }
    return ", ".join(f"{metric} per {window}" if window else metric for metric, window in found)


def _of_key(account: Account, provider: Provider, backends: Sequence[BackendOptions]) -> Iterator[str]:
    key = account.api_key
    if key is None and account.api_key_file is None:
        if provider.key == "needed" and provider.usable:
            yield f'no api_key. Write api_key = "${{{variable_of(provider)}}}".'
        return
    if key is None:
        return
    if key.startswith("$"):
        yield 'its key begins with "$". A variable of the environment is written with braces: ${NAME}.'
    elif looks_like_a_placeholder(key):
        yield "its key looks like a placeholder. Set its api_key."
    for options in backends:
        keys = options.keys() if isinstance(options, HttpOptions) else ()
        if key in keys:
            yield f'the backend "{options.name}" has the same key: what is asked there is not counted. Remove one.'
