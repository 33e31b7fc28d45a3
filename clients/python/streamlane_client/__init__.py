"""Client of a Streamlane gateway: many answers at once on one WebSocket, for asyncio and for plain threads."""

from streamlane_client.aio import AsyncAnswer, AsyncClient
from streamlane_client.errors import Cancelled, ConnectionLost, Failed, Refused, StreamlaneError
from streamlane_client.events import (
    DeltaEvent,
    Event,
    ItemEvent,
    Model,
    Pool,
    QueueEvent,
    QuotaEvent,
    Response,
    ResponseEvent,
    RouteEvent,
    Usage,
)
from streamlane_client.sync import Answer, Client

__all__ = [
    "Answer",
    "AsyncAnswer",
    "AsyncClient",
    "Cancelled",
    "Client",
    "ConnectionLost",
    "DeltaEvent",
    "Event",
    "Failed",
    "ItemEvent",
    "Model",
    "Pool",
    "QueueEvent",
    "QuotaEvent",
    "Refused",
    "Response",
    "ResponseEvent",
    "RouteEvent",
    "StreamlaneError",
    "Usage",
]
