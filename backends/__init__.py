"""What we ask of a model and what it says back. Sees neither proxy nor quota."""

from backends.base import Backend, Model
from backends.errors import BackendError
from backends.events import Event
from backends.request import Request

__all__ = ["Backend", "BackendError", "Event", "Model", "Request"]
