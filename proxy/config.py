"""The configuration's types: frozen Structs. Their docstrings and descriptions are the only text about each key."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Protocol, get_args, get_origin

from msgspec import Meta, field
from msgspec.structs import FieldInfo, fields

from proxy.choice_words import Sticky, Strategy
from proxy.config_free import Account, Facts, Free, Quota
from proxy.config_health import Health
from proxy.config_history import History
from proxy.config_places import Load
from proxy.config_prices import Pricing
from proxy.config_privacy import Privacy
from proxy.config_router import Router, Weight
from proxy.config_table import Bytes, Count, Level, Port, Seconds, Secret, Table


class Server(Table, frozen=True):
    """The listener for clients: HTTP and WebSocket on one port."""

    host: Annotated[str, Meta(description="Address to listen on. Outside loopback, api_keys must not be empty.")] = (
        "127.0.0.1"
    )
    port: Annotated[Port, Meta(description="TCP port; 0 takes a free one.")] = 8765
    api_keys: Annotated[
        tuple[Secret, ...],
        Meta(description="Keys that clients may use, each of 16 characters or more. Empty: no key is asked for."),
    ] = ()
    allowed_origins: Annotated[
        tuple[str, ...],
        Meta(
            description="Browser origins that may connect, besides the server's own.",
            examples=[["https://chat.example.com"]],
        ),
    ] = ()
    allowed_hosts: Annotated[
        tuple[str, ...],
        Meta(
            description="Host names that clients may use, besides localhost and the address listened on.",
            examples=[["llm.example.com"]],
        ),
    ] = ()


class Ops(Table, frozen=True):
    """The second listener, for the operator: health and metrics today, administration later."""

    host: Annotated[
        str, Meta(description="Address to listen on. Outside loopback, server.api_keys must not be empty.")
    ] = "127.0.0.1"
    port: Annotated[Port, Meta(description="TCP port, not the server's; 0 takes a free one.")] = 8766


class Log(Table, frozen=True):
    """What is logged. Prompts and keys never are."""

    level: Annotated[Level, Meta(description="The least important level that is written.")] = "info"
    format: Annotated[
        Literal["auto", "pretty", "json"], Meta(description="auto is pretty on a terminal and json elsewhere.")
    ] = "auto"


class Limits(Table, frozen=True):
    """How much one client, and one answer, may take."""

    max_frame_bytes: Annotated[Bytes, Meta(description="Largest frame or HTTP body that a client may send.")] = 16777216
    active_responses: Annotated[Count, Meta(description="Responses running at once on one socket.")] = 16
    lanes: Annotated[Count, Meta(description="Named lanes that one socket may use in its life.")] = 32
    queued_creates: Annotated[
        int, Meta(ge=0, description="Requests that may wait on one socket for their lane or for a running response.")
    ] = 64
    running_per_key: Annotated[
        Count, Meta(description="Responses running at once of one API key, over all its sockets and HTTP.")
    ] = 1024
    default_max_output_tokens: Annotated[
        Count, Meta(description="Longest answer, in tokens, where neither the request nor its alias says.")
    ] = 4096
    log_ahead_bytes: Annotated[
        Bytes, Meta(description="How far an answer may run ahead of the slowest reader that is attached to it.")
    ] = 262144
    max_response_bytes: Annotated[
        int, Meta(ge=65536, description="Largest answer, with about 2 KB for each item in it; then it is incomplete.")
    ] = 16777216


class Responses(Table, frozen=True):
    """What is kept of responses after they ended, for `previous_response_id` and `GET /v1/responses/ID`."""

    store_bytes: Annotated[
        Bytes, Meta(description="Stored responses held in memory; the least recently used go first.")
    ] = 268435456
    store_ttl: Annotated[
        float, Meta(gt=0, le=31536000, description="Seconds that a stored response is kept. Not used with persist.")
    ] = 86400
    persist: Annotated[
        bool, Meta(description="Whether stored responses are also written to streamlane.db in data_dir.")
    ] = False
    retention_days: Annotated[
        float, Meta(gt=0, le=36500, description="Days that a written response is kept. Only used with persist.")
    ] = 30
    max_turns: Annotated[Count, Meta(description="Longest conversation that previous_response_id may continue.")] = 1000
    max_conversation_bytes: Annotated[Bytes, Meta(description="Largest such conversation, as JSON.")] = 16777216
    connection_bytes: Annotated[
        Bytes, Meta(description="What one socket holds of conversations: the newest response of each lane.")
    ] = 33554432
    log_ttl: Annotated[
        Seconds, Meta(description="Seconds after its end in which the events of an answer can be read again.")
    ] = 600
    log_bytes: Annotated[Bytes, Meta(description="Such answers held in memory, in all.")] = 134217728


class Session(Table, frozen=True):
    """What is remembered of clients that may come back (`sl_session`). Bounded by time, number and bytes."""

    detach_ttl: Annotated[
        Seconds, Meta(description="Seconds that answers go on without their client; then they are cancelled.")
    ] = 60
    resume_ttl: Annotated[Seconds, Meta(description="Seconds in which a client can come back for what it missed.")] = (
        600
    )
    max_session_bytes: Annotated[
        Bytes, Meta(description="What one session may take; answers of a client that is away are cancelled at it.")
    ] = 67108864
    max_total_bytes: Annotated[Bytes, Meta(description="What all sessions may take together.")] = 268435456
    max_sessions: Annotated[Count, Meta(description="Sessions in all, with a connection and without.")] = 10000
    max_sessions_per_key: Annotated[Count, Meta(description="Sessions of one API key.")] = 1000
    undo: Annotated[
        int,
        Meta(ge=64, le=1048576, description="Frames of one session that can be sent again, if none is acknowledged."),
    ] = 32768


class Deadlines(Table, frozen=True):
    """How long anything may take, in seconds."""

    connect: Annotated[Seconds, Meta(description="Until a backend accepts the connection.")] = 5
    first_event: Annotated[Seconds, Meta(description="From its free slot until its first token, loading included.")] = (
        120
    )
    idle: Annotated[Seconds, Meta(description="Between two signs of life of a backend that has begun to answer.")] = 60
    total: Annotated[Seconds, Meta(description="For one response, from its request to its end.")] = 1800
    queue: Annotated[Seconds, Meta(description="For the wait until a backend has a free slot.")] = 60
    retry: Annotated[
        Seconds, Meta(description="After the first failed attempt of a request, in which another one may begin.")
    ] = 30
    send: Annotated[Seconds, Meta(description="For a client that reads nothing; then its socket is cut.")] = 10
    drain: Annotated[Seconds, Meta(description="For running responses to end when the server stops.")] = 30
    ping: Annotated[Seconds, Meta(description="Between two pings to an idle socket.")] = 20
    pong: Annotated[Seconds, Meta(description="For the answer to a ping; then the socket is cut.")] = 60


class Transport(Table, frozen=True):
    """How backends are reached over HTTP. Certificates are always verified."""

    ca_file: Annotated[
        Path | None,
        Meta(description="Authorities to trust beside the system's, in PEM.", examples=["/etc/ssl/company-ca.pem"]),
    ] = None
    proxy: Annotated[
        str | None,
        Meta(
            description="HTTP proxy on the way to backends: http://[NAME:PASSWORD@]HOST:PORT. Unset: none. HTTPS_PROXY "
            "is not read; to use it, write ${HTTPS_PROXY} here.",
            examples=["http://proxy.example.com:3128"],
        ),
    ] = None
    no_proxy: Annotated[
        tuple[str, ...],
        Meta(description="Hosts asked past the proxy: names with all below them, addresses, networks."),
    ] = ("localhost", "127.0.0.0/8", "::1")
    max_connections: Annotated[
        Count, Meta(description="Connections open at once to one host and port; beyond it a backend is overloaded.")
    ] = 2048
    max_idle: Annotated[int, Meta(ge=0, description="Those of them that are kept for the next request.")] = 256


class Discovery(Table, frozen=True):
    """What is looked for while no [[backends]] and no [[accounts]] are named. Named ones are all that is served."""

    local_servers: Annotated[bool, Meta(description="Servers on the usual ports of this machine.")] = True
    environment: Annotated[
        bool,
        Meta(
            description="Keys of providers, such as OPENAI_API_KEY. Their models are only asked by their whole name, "
            "openai/MODEL."
        ),
    ] = True


class Alias(Table, frozen=True):
    """A model name of your own: where it leads, and what a request gets that does not say."""

    targets: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1,
            description="BACKEND/MODEL, in order: the next is tried when one fails before its first token.",
            examples=[["local/smollm2", "gpu/llama-3-8b"]],
        ),
    ]
    strategy: Annotated[
        Strategy, Meta(description="How one of the targets is chosen; the others are tried after it.")
    ] = "ordered"
    weights: Annotated[
        tuple[Weight, ...], Meta(description='For "weighted": a number for each target, how often it is chosen.')
    ] = ()
    sticky: Annotated[
        Sticky,
        Meta(description="Whether a conversation stays where it was answered, or goes by a hash of its beginning."),
    ] = "none"
    instructions: Annotated[
        str | None, Meta(description="System prompt, put in front when the request has none.", examples=["Be brief."])
    ] = None
    temperature: Annotated[
        Annotated[float, Meta(ge=0, le=2)] | None, Meta(description="Default temperature.", examples=[0.7])
    ] = None
    top_p: Annotated[Annotated[float, Meta(gt=0, le=1)] | None, Meta(description="Default top_p.", examples=[0.95])] = (
        None
    )
    max_output_tokens: Annotated[
        Count | None, Meta(description="Longest answer, in tokens, by default.", examples=[1024])
    ] = None


class Abilities(Table, frozen=True):
    """What one backend's model can do, where you know better than its server and our table. Unset: what those say."""

    context: Annotated[
        Count | None, Meta(description="Longest prompt and answer together, in tokens.", examples=[131072])
    ] = None
    max_output: Annotated[
        Count | None, Meta(description="Longest answer, in tokens; longer wishes are cut to it.", examples=[8192])
    ] = None
    tools: Annotated[bool | None, Meta(description="Calls tools.", examples=[True])] = None
    images: Annotated[bool | None, Meta(description="Sees images.", examples=[False])] = None
    audio: Annotated[bool | None, Meta(description="Hears audio.", examples=[False])] = None
    files: Annotated[bool | None, Meta(description="Reads files, such as PDF.", examples=[False])] = None
    json_schema: Annotated[bool | None, Meta(description="Keeps to a JSON schema.", examples=[True])] = None
    reasoning: Annotated[bool | None, Meta(description="Thinks before it answers.", examples=[False])] = None
    logprobs: Annotated[bool | None, Meta(description="Tells log probabilities.", examples=[True])] = None
    completions: Annotated[bool | None, Meta(description="Goes on with raw text.", examples=[True])] = None
    embeddings: Annotated[bool | None, Meta(description="Makes embeddings.", examples=[False])] = None


class BackendOptions(Protocol):
    """What every kind's options have. Each kind owns the Struct of its own."""

    @property
    def name(self) -> str:
        """The first segment of its models' addresses."""


class Config(Table, frozen=True):
    """The whole file. Relative paths are resolved, environment references replaced."""

    data_dir: Annotated[
        Path,
        Meta(
            description="Folder for models and databases, yours alone. Unset: the platform's user data folder.",
            examples=["~/.local/share/streamlane"],
        ),
    ]
    server: Server = Server()
    ops: Ops = Ops()
    log: Log = Log()
    limits: Limits = Limits()
    responses: Responses = Responses()
    session: Session = Session()
    deadlines: Deadlines = Deadlines()
    transport: Transport = Transport()
    discovery: Discovery = Discovery()
    free: Free = Free()
    quota: Quota = Quota()
    load: Load = Load()
    health: Health = Health()
    privacy: Privacy = Privacy()
    history: History = History()
    router: Router = Router()
    backends: Annotated[
        tuple[BackendOptions, ...], Meta(description="The servers and engines that hold models, one [[backends]] each.")
    ] = ()
    accounts: Annotated[
        tuple[Account, ...],
        Meta(description="Accounts at providers whose free quotas or budgets are spent, one [[accounts]] each."),
    ] = ()
    models: Annotated[dict[str, Alias], Meta(description="Model names of your own, one [models.NAME] each.")] = field(
        default_factory=dict
    )
    capabilities: Annotated[
        dict[str, Abilities], Meta(description='What models can do, one [capabilities."BACKEND/MODEL"] each.')
    ] = field(default_factory=dict)
    prices: Annotated[
        dict[str, Pricing], Meta(description='What models cost you, one [prices."BACKEND/MODEL"] each.')
    ] = field(default_factory=dict)
    catalog: Annotated[
        dict[str, Facts], Meta(description="Facts about providers of free quotas, one [catalog.PROVIDER] each.")
    ] = field(default_factory=dict)


@cache
def settings() -> Mapping[str, FieldInfo]:
    """Every key outside backends and models, by its path: those that the environment can set too. Tables within tables
    are not among them.
    """
    found: dict[str, FieldInfo] = {}
    for each in fields(Config):
        if isinstance(each.type, type) and issubclass(each.type, Table):
            found.update({f"{each.name}.{key.name}": key for key in fields(each.type) if not _holds_tables(key.type)})
        elif each.name == "data_dir":
            found[each.name] = each
    return MappingProxyType(found)


def _holds_tables(type_: Any) -> bool:
    """Whether a key is a table, or a list of them."""
    type_ = get_args(type_)[0] if get_origin(type_) is Annotated else type_
    if get_origin(type_) is tuple:
        return _holds_tables(get_args(type_)[0])
    return get_origin(type_) is dict or (isinstance(type_, type) and issubclass(type_, Table))


def variable(path: str) -> str:
    """The environment variable that sets `path`: STREAMLANE_SERVER_PORT for server.port."""
    return f"STREAMLANE_{path.replace('.', '_').upper()}"
