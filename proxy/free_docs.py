"""Writes the page about free quotas from the catalog, so that neither can drift."""

from collections.abc import Iterator

from proxy.catalog import STATUS, WORDS, Provider, shipped
from proxy.catalog_words import listed, overrun, resets, summary, sureness

_HEAD = """\
# How do I use free quotas of several providers?

<!-- Written by scripts/docs from proxy/data/free_tiers.json. Change that, or proxy/free_docs.py, then run it again. -->

Several providers give a number of requests or tokens for free, each with limits of its own. Tell Streamlane your
accounts there, and ask for the model `free/auto`: each request goes to an account that has room for it. What is spent
is counted before a request leaves, in a ledger on disk, so that no limit is passed and nothing is billed by surprise.

## The first account, in a minute

```sh
streamlane free list            # what there is
streamlane free add groq --name groq-me   # shows its terms, asks for your consent, adds it to streamlane.toml
export GROQ_API_KEY=gsk_…       # the key, from the provider's console; it stays out of the file
streamlane config check         # warns of whatever is in the way
streamlane serve
```

The file then has an account, which is a backend too:

```toml
[[accounts]]
name = "groq-me"                # its models are groq-me/MODEL
provider = "groq"
api_key = "${GROQ_API_KEY}"
```

| Ask for | and you get |
|---|---|
| `free/auto` | a model of any account; `free/auto:fast`, `free/auto:best` and `free/auto:cheap` say what matters |
| `free/MODEL` | that model, at any account that has it |
| `groq-me/openai/gpt-oss-120b` | that model of that account, within its limits too |

When all accounts are spent, `[free]` says what happens: a request waits for a reset that is near, goes to a local
model, or to an account that costs; else it fails with every limit and its reset. A local model also stands
in for `free/MODEL`, whatever its own name is: who wants no other asks with `"sl_route": {"when_spent": ["wait"]}`.

## What a request can ask for

The field `sl_route` of a request for `free/auto` or `free/MODEL`, such as `{"work": "batch", "data": "no_training"}`:

- `work` says who waits for the answer: `interactive`, `agent` or `batch`. Less urgent work leaves a part of each quota
  to people: `agent_floor` and `batch_floor` of `[free]`.
- `data` says what may become of its texts: `any`; `no_training`, then no account is asked whose provider trains on them
  or leaves that open; `confidential`, then they stay with the models of `local` in `[free]`, which must be your own.
- `when_spent` is a list of `wait`, `local` and `paid`: what is tried when all is spent, in this order, of what `[free]`
  allows.

Embeddings go to `free/MODEL`, with what `[free]` says; not to `free/auto`, for vectors of different models do not
compare.

## Providers

What ships with Streamlane, and when that was true. All of it can change any day: what a provider says in its answers
goes before what is written here, and so does what you write. `streamlane free list PROVIDER` shows each model.

"""
_NOTES = """
`*`: each model has its own. `?`: it exists, and nobody published how large it is; the provider's answers tell. Where
it is unknown when a window begins, it is counted as rolling, which is right for any.
"""
_TERMS = """\
## Terms

An account is not used before you have accepted what follows from its provider's terms: `accept = ["trains"]`, which
`streamlane free add` writes after asking. `streamlane free terms PROVIDER` shows each with its source. This is no legal
advice; the provider's own pages hold.

| Term | The provider |
|---|---|
"""
_TAIL = """\
- **One account per person and provider.** Limits belong to a project, an organization or an account, not to a key: a
  second key brings nothing. Two accounts with one key are an error, and a further account of a provider needs
  `owned_separately = true`: you say that you own it separately and that the terms allow it.
- **Other people.** Who gives others access to a gateway shares accounts that are given to one person. Read the terms
  before you do.
- **Whoever bills beyond the free amount** is asked for `free/auto` only with `allow_billing = true`, and never beyond
  the limits that are known.

## Budgets: money, tokens or requests

Where a provider gives nothing for free, a budget of your own works the same way. A budget in `usd` needs the prices of
the models, in dollars per million tokens:

```toml
[[accounts]]
name = "claude"
provider = "anthropic"
api_key = "${ANTHROPIC_API_KEY}"
accept = ["card"]
prices = { "claude-haiku-4-5" = { input = 1.0, output = 5.0 } }
limits = [
  { metric = "usd", amount = 5, window = "month", reset = "fixed" },
  { metric = "requests", amount = 200, window = "day", reset = "fixed", timezone = "Europe/Berlin" },
]
```

`metric` may also be `tokens`, `input_tokens`, `output_tokens` or `concurrent_requests`. Each request takes the most
that it may cost before it leaves, and what it really cost is booked when its answer has ended. `free/auto` takes such
an account when nothing free is left and `when_spent` of `[free]` has `paid`.

## When a fact is wrong

A number of your account, such as the one that its console shows:

```toml
[[accounts]]
name = "gemini-me"
provider = "gemini"
api_key = "${GEMINI_API_KEY}"
accept = ["trains", "no_eea"]
limits = [{ metric = "requests", amount = 100, window = "day", model = "gemini-3.7-flash" }]
```

It takes the place of the catalog's limit with the same metric and window. Facts about a provider or a model, for all
accounts:

```toml
[catalog.groq.models."openai/gpt-oss-120b"]
quality = 0.8                   # your judgement, for free/auto:best

[catalog.cloudflare.models."@cf/qwen/qwen3-30b-a3b-fp8"]
neurons = { input = 4625, output = 30475 }
```

A provider that is not listed:

```toml
[catalog.company]
base_url = "https://llm.example.com/v1"
overrun = "stops"
limits = [{ metric = "requests", amount = 60, window = "minute", scope = "account+model" }]
models = { "llama-3-8b" = { context = 8192 } }

[[accounts]]
name = "work"
provider = "company"
api_key = "${COMPANY_KEY}"
```

Every key is in [the configuration](configuration.md#accounts).

## See it

```sh
scripts/demo-free-tiers         # from a checkout; a minute and a half, no key, nothing leaves the machine
```

Five pretended providers count as Gemini, Groq, OpenRouter, Cloudflare and LLM7 do, with smaller limits; a gateway has
an account at each, and people ask it for `free/auto` all day. The day passes in 90 seconds, for the providers' clocks
and for the ledger's. Then there is a table, and `free-tiers.svg`: what each provider has counted against its limit,
what the ledger held, and how many requests were answered, kept waiting or turned away. The command fails if a limit was
exceeded.

## Where that was read
"""


def free_page() -> str:
    """docs/free-tiers.md."""
    there = [provider for provider in shipped().values() if provider.usable]
    gone = [provider for provider in shipped().values() if not provider.usable]
    return "".join(
        [
            _HEAD,
            "| Provider | Gives | Comes back | Beyond that | Terms | Facts |\n|---|---|---|---|---|---|\n",
            *map(_row, there),
            _NOTES,
            "".join(f"\nNo longer there: {provider.name}. {' '.join(provider.notes)}\n" for provider in gone),
            "\n",
            _TERMS,
            *(f"| `{term}` | {words} |\n" for term, words in WORDS.items()),
            "\n",
            _TAIL,
            "\n",
            *(line for provider in shipped().values() for line in _sources(provider)),
        ]
    )


def _row(provider: Provider) -> str:
    state = "" if provider.status == "active" else f" ({STATUS[provider.status]})"
    plans = [f"{plan.id}: {listed(summary(provider, plan.id), 'nothing for free')}" for plan in provider.plans]
    gives = listed(summary(provider), "nothing for free") if len(plans) == 1 else "; ".join(plans)
    cells = (
        f"`{provider.id}` {provider.name}{state}",
        gives,
        listed(resets(provider), ""),
        overrun(provider),
        listed((f"`{notice.term}`" for notice in provider.notices(None)), "none found"),
        sureness(provider),
    )
    escaped = (cell.replace("|", "\\|").replace("*", "\\*") for cell in cells)
    return f"| {' | '.join(escaped)} |\n"


def _sources(provider: Provider) -> Iterator[str]:
    yield f"- {provider.name} ({provider.as_of}): {', '.join(provider.sources)}\n"
