"""Why a backend could not answer: one closed tree.

    BackendError
    ├── InvalidRequest         the backend refuses what the client asked
    ├── UnsupportedFeature     this backend cannot do what the client asked
    ├── ContextLengthExceeded  prompt longer than the model's context
    ├── ContentFiltered        the provider's filter refused the prompt
    ├── ModelNotFound          the backend does not serve that model
    ├── AuthenticationFailed   our key was refused
    ├── CallerKeyNeeded        the caller's own key is missing, or was refused
    ├── RateLimited            we ask too often
    ├── QuotaExhausted         the account, or its free share of the day or month, is spent
    ├── Overloaded             the backend is full
    ├── QueueFull              the line before it is full, or too long for what may wait (backends/unasked.py)
    ├── NotReady               the backend starts, or loads its model
    ├── ModelLoadFailed        the backend tried to load the model and could not
    ├── ServerFailed           the backend broke down (5xx, an error inside a stream)
    ├── ProtocolViolation      the backend's bytes make no sense
    ├── Unreachable            no connection, or refused, or name unknown
    ├── CircuitOpen            it failed again and again, and is not asked for a while (backends/unasked.py)
    ├── StreamBroken           the connection ended before the answer did
    ├── DeadlineExceeded       too late; says which deadline
    └── EngineUnavailable      the in-process engine or its model file cannot be used

An error stores facts and makes its own sentence: what happened, and what to do. A backend's own words never enter it,
because they may hold a key or a prompt. `owner` says whose fault it is: only provider and network feed breakers.
`retryable` says whether another attempt could succeed, and `scope` which: beyond "request" it is the next key, model,
backend or account. `retry_after` says when, in seconds, and is None where nobody said. `backend` is the name of the one
that was asked, once the dispatcher has set it.
"""

from collections.abc import Mapping
from enum import Enum
from typing import ClassVar, Literal, TypeAlias

from backends.durations import duration
from backends.limits import NOTHING, Refused


class Owner(Enum):
    """Whose fault an error is."""

    CLIENT = "client"
    US = "us"
    PROVIDER = "provider"
    NETWORK = "network"


class Scope(Enum):
    """How far an error reaches: what else would fail in the same way."""

    REQUEST = "request"  # only what was asked; the next request may succeed
    KEY = "key"  # whatever is asked with this key
    MODEL = "model"  # this model here; another model, or the same elsewhere, may answer
    BACKEND = "backend"  # whatever this server is asked
    ACCOUNT = "account"  # whatever is asked with any key of this account


Lacking: TypeAlias = Literal["", "key", "key in the file", "credentials"]
"""What our side of a refusal is known to lack: "" a key that is right; any key; any in api_key_file; or an account."""


class BackendError(Exception):
    """The root. Never raised itself. With `other_keys`, the same target has another key that may do better at once.

    `asked` is False where nothing was sent. `limits` are its answer's headers that speak of limits, `refused` the axis.
    """

    owner: ClassVar[Owner]
    retryable: ClassVar[bool]
    scope: Scope
    retry_after: float | None = None
    backend: str | None = None
    other_keys = False
    asked = True
    limits: Mapping[str, str] = NOTHING
    refused: Refused | None = None

    @property
    def reason(self) -> str:
        """The sentence for the operator's log, which may know more than the client's."""
        return str(self)

    @property
    def who(self) -> str:
        """The backend, with its name where that is known."""
        return f"The backend '{self.backend}'" if self.backend else "The backend"


class InvalidRequest(BackendError):
    """The backend refuses what was asked. `param` names the field, where the backend said it."""

    owner = Owner.CLIENT
    retryable = False
    scope = Scope.REQUEST

    def __init__(self, status: int, param: str | None = None) -> None:
        self.status, self.param = status, param
        super().__init__(status, param)

    def __str__(self) -> str:
        what = f"the value of '{self.param}'" if self.param else "the request"
        return f"{self.who} refused {what} (HTTP {self.status}). Check the parameters that this model supports."


class UnsupportedFeature(BackendError):
    """This backend has no way to do `feature`; another may."""

    owner = Owner.CLIENT
    retryable = True
    scope = Scope.MODEL

    def __init__(self, feature: str, param: str | None = None) -> None:
        self.feature, self.param = feature, param
        super().__init__(feature, param)

    def __str__(self) -> str:
        return f"This model's backend does not support {self.feature}. Leave it out, or choose another model."


class ContextLengthExceeded(BackendError):
    """The prompt does not fit. Both numbers are in tokens, None where the backend did not say.

    With `per_minute` what it does not fit is what the account may use in a minute, and the answer is counted in.
    """

    owner = Owner.CLIENT
    retryable = True
    scope = Scope.MODEL

    def __init__(
        self, prompt_tokens: int | None = None, context: int | None = None, *, per_minute: bool = False
    ) -> None:
        self.prompt_tokens, self.context, self.per_minute = prompt_tokens, context, per_minute
        super().__init__(prompt_tokens, context)

    def __str__(self) -> str:
        if self.per_minute:
            needs = "too many" if self.prompt_tokens is None else self.prompt_tokens
            limit = "fewer" if self.context is None else self.context
            return (
                f"The request needs {needs} tokens with its longest answer; the gateway's account may use {limit} a "
                "minute of this model. Shorten the input, lower max_output_tokens, or choose another model."
            )
        prompt = f"has {self.prompt_tokens} tokens" if self.prompt_tokens is not None else "is too long"
        context = f" of {self.context} tokens" if self.context is not None else ""
        return (
            f"The prompt {prompt} and does not fit this model's context{context}. "
            "Shorten the input, or choose a model with a larger context."
        )


class ContentFiltered(BackendError):
    """The provider's content filter refused the prompt before a word was generated."""

    owner = Owner.CLIENT
    retryable = True
    scope = Scope.MODEL

    def __str__(self) -> str:
        return f"{self.who} refused the prompt: its content filter objected. Change the input, or choose another model."


class ModelNotFound(BackendError):
    """The backend does not serve `model`."""

    owner = Owner.US
    retryable = True
    scope = Scope.MODEL

    def __init__(self, model: str) -> None:
        self.model = model
        super().__init__(model)

    def __str__(self) -> str:
        return f"{self.who} does not serve the model '{self.model}'. GET /v1/models lists what there is."


class AuthenticationFailed(BackendError):
    """The backend refused our key (401) or its rights (403). `advice` is for the operator alone, in whole sentences."""

    owner = Owner.US
    retryable = True
    scope = Scope.KEY

    def __init__(self, status: int, lacking: Lacking = "", advice: str = "") -> None:
        self.status, self.lacking, self.advice = status, lacking, advice
        super().__init__(status, lacking, advice)

    @property
    def reason(self) -> str:
        return f"{self} {self.advice}".rstrip()

    def __str__(self) -> str:
        if self.lacking == "credentials":
            return f"{self.who} takes none of this gateway's credentials. The operator must check them."
        return f"{self.who} refused this gateway's key (HTTP {self.status}). The operator must check its api_key."


class CallerKeyNeeded(BackendError):
    """The backend is asked with its caller's own key, and there is none, or it was refused."""

    owner = Owner.CLIENT
    retryable = True
    scope = Scope.KEY

    def __init__(self, refused: bool = False) -> None:
        self.wrong = refused
        super().__init__(refused)

    def __str__(self) -> str:
        what = "refused your key" if self.wrong else "is asked with a key of yours"
        which = "another one" if self.wrong else "it"
        return f"{self.who} {what}. Send {which} in the header X-Streamlane-Key-{self.backend or 'NAME'}."


class RateLimited(BackendError):
    """Asked too often. `retry_after` is in seconds, None where the backend did not say. It holds for all of `scope`."""

    owner = Owner.PROVIDER
    retryable = True
    scope = Scope.MODEL

    def __init__(self, retry_after: float | None = None, scope: Scope = Scope.MODEL) -> None:
        self.retry_after, self.scope = retry_after, scope
        super().__init__(retry_after, scope)

    def __str__(self) -> str:
        when = "later" if self.retry_after is None else f"in {duration(self.retry_after)}"
        return f"{self.who} has reached its rate limit. Try again {when}."


class QuotaExhausted(BackendError):
    """What the account may use is spent: its credit, or its share of the day or month. `retry_after` is in seconds.

    None there means that somebody has to pay, or to change the plan. It holds for all of `scope`.
    """

    owner = Owner.PROVIDER
    retryable = True
    scope = Scope.ACCOUNT

    def __init__(self, retry_after: float | None = None, scope: Scope = Scope.ACCOUNT) -> None:
        self.retry_after, self.scope = retry_after, scope
        super().__init__(retry_after, scope)

    def __str__(self) -> str:
        if self.retry_after is None:
            return f"{self.who} has no quota left. The operator must check the account's credit and plan."
        return f"{self.who} has no quota left. Try again in {duration(self.retry_after)}, when it is renewed."


class Overloaded(BackendError):
    """The backend (503, 529) is full. `retry_after` is in seconds, None where the backend did not say."""

    owner = Owner.PROVIDER
    retryable = True
    scope = Scope.BACKEND

    def __init__(self, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(retry_after)

    def __str__(self) -> str:
        when = "in a moment" if self.retry_after is None else f"in {duration(self.retry_after)}"
        return f"{self.who} is overloaded. Try again {when}."


class NotReady(BackendError):
    """The backend starts, or loads its model. `retry_after` is in seconds, None where the backend did not say."""

    owner = Owner.PROVIDER
    retryable = True
    scope = Scope.BACKEND

    def __init__(self, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(retry_after)

    def __str__(self) -> str:
        when = "in a moment" if self.retry_after is None else f"in {duration(self.retry_after)}"
        return f"{self.who} is not ready: it is starting, or loading its model. Try again {when}."


class ModelLoadFailed(BackendError):
    """The backend tried to load `model` and could not: not enough memory, a broken file, a part that is missing."""

    owner = Owner.PROVIDER
    retryable = True
    scope = Scope.MODEL

    def __init__(self, model: str) -> None:
        self.model = model
        super().__init__(model)

    def __str__(self) -> str:
        what = f"the model '{self.model}'" if self.model else "the model"
        return f"{self.who} could not load {what}. Choose another model; the operator finds the reason in its log."


class ServerFailed(BackendError):
    """The backend broke down. `status` is its HTTP status, None for an error inside a stream."""

    owner = Owner.PROVIDER
    retryable = True
    scope = Scope.BACKEND

    def __init__(self, status: int | None = None) -> None:
        self.status = status
        super().__init__(status)

    def __str__(self) -> str:
        how = f"HTTP {self.status}" if self.status is not None else "an error inside the stream"
        return f"{self.who} failed ({how}). Try again; if it lasts, the operator must look at its log."


class ProtocolViolation(BackendError):
    """The backend's bytes make no sense. `what` is our own description, never the bytes."""

    owner = Owner.PROVIDER
    retryable = True
    scope = Scope.BACKEND

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(what)

    def __str__(self) -> str:
        return f"{self.who} broke its protocol: {self.what}. The operator must check its kind and base_url."


class Unreachable(BackendError):
    """No connection. `why` is our own word for it: refused, name unknown, TLS."""

    owner = Owner.NETWORK
    retryable = True
    scope = Scope.BACKEND

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)

    def __str__(self) -> str:
        return f"{self.who} cannot be reached ({self.why}). The operator must check that it runs, and its base_url."


class StreamBroken(BackendError):
    """The connection ended before the answer did."""

    owner = Owner.NETWORK
    retryable = True
    scope = Scope.BACKEND

    def __str__(self) -> str:
        return f"{self.who} broke the connection before its answer was whole. Try again."


class DeadlineExceeded(BackendError):
    """Too late. `name` is the deadline (connect, queue, first_event, idle, total), `seconds` its length."""

    owner = Owner.PROVIDER
    retryable = True
    scope = Scope.BACKEND

    def __init__(self, name: str, seconds: float) -> None:
        self.name, self.seconds = name, seconds
        super().__init__(name, seconds)

    def __str__(self) -> str:
        return (
            f"{self.who} took longer than the {self.name} deadline of {self.seconds:g} s. "
            "Try again, or ask the operator to raise it."
        )


class EngineUnavailable(BackendError):
    """The in-process engine, or its model file, cannot be used. `what` is one whole sentence with its next step."""

    owner = Owner.US
    retryable = True
    scope = Scope.BACKEND

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(what)

    def __str__(self) -> str:
        return self.what
