"""The APIs over HTTP by which a model is asked, and told how it did: what each of them needs of the gateway."""

from collections.abc import Callable

from proxy.config import Config
from proxy.dispatcher import Dispatcher
from proxy.edge.bodies import Bodies
from proxy.edge.chat_api import ChatApi
from proxy.edge.embeddings_api import EmbeddingsApi
from proxy.edge.feedback_api import FeedbackApi
from proxy.edge.http import Routed
from proxy.edge.messages_api import MessagesApi
from proxy.edge.responses_api import ResponsesApi
from proxy.edge.sse import Streams
from proxy.generations import Generations
from proxy.history.history import History
from proxy.runtime import Runtime


def apis(
    config: Config,
    *,
    generations: Generations,
    dispatcher: Dispatcher,
    history: History | None,
    runtime: Callable[[], Runtime],
    ready: Callable[[], bool],
) -> list[Routed]:
    """Their routes. While it is not `ready`, nothing new is begun."""
    streams, bodies = Streams(send=config.deadlines.send), Bodies(max_bytes=config.limits.max_frame_bytes)
    return [
        ResponsesApi(generations=generations, dispatcher=dispatcher, streams=streams, bodies=bodies, ready=ready),
        ChatApi(generations=generations, streams=streams, bodies=bodies, ready=ready),
        MessagesApi(generations=generations, dispatcher=dispatcher, streams=streams, bodies=bodies, ready=ready),
        EmbeddingsApi(dispatcher=dispatcher, bodies=bodies, ready=ready),
        FeedbackApi(history=history, runtime=runtime, bodies=bodies),
    ]
