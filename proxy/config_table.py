"""What the tables of the configuration are made of: their base, and numbers in a range."""

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

MIN_KEY_LENGTH = 16

Port: TypeAlias = Annotated[int, Meta(ge=0, le=65535)]
Count: TypeAlias = Annotated[int, Meta(ge=1)]
Bytes: TypeAlias = Annotated[int, Meta(ge=1024)]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=86400)]
Secret: TypeAlias = Annotated[str, Meta(min_length=MIN_KEY_LENGTH)]
Level: TypeAlias = Literal["debug", "info", "warning", "error"]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the file."""
