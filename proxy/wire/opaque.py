"""What a provider wants back as it gave it, as one string that clients keep and send back. Pure.

    sl1.anthropic.EqQBCkgIARABGAIi…      version, the dialect that made it, and its data

It stands where each API keeps such data: `encrypted_content` of a reasoning item, `signature` or `data` of a thinking
block, `reasoning_details` of a chat message. A string of any other form was made elsewhere, and is left out.
"""

import re

from backends.events import Signature
from backends.request import Opaque
from proxy.wire.responses_call import clean

MAX_CHARACTERS = 1024 * 1024  # encrypted reasoning of a long answer has tens of thousands
_FORM = re.compile(r"sl1\.([a-z][a-z0-9_]{0,31})\.(.+)", re.DOTALL)


def packed(given: Opaque | Signature) -> str:
    """As clients get it."""
    return f"sl1.{given.provider}.{clean(given.data)}"


def unpacked(text: object) -> Opaque | None:
    """What `packed` was given; None for what it did not make, or what is too long."""
    if not isinstance(text, str) or len(text) > MAX_CHARACTERS:
        return None
    found = _FORM.fullmatch(text)
    return Opaque(found[1], found[2]) if found else None
