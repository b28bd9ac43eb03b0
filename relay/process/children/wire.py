"""What the relay and its child processes say to each other: pieces of octets, each with its length.

A question is its number of pieces, one for the job and its argument, and one for each large octet string. An
answer is any number of values, or what went wrong, and an end. A child reads strangers' content, so what it
sends is read with care: of objects only those that we exchange are made.
"""

import io
import pickle
from importlib import import_module
from struct import Struct
from typing import Any

LENGTH = Struct("!Q")
HEAD = Struct("!BQ")
"""Of a piece of an answer: what it is, and its length."""
END, VALUE, ERROR, BUG = range(4)
"""ERROR: an exception that the caller expects. BUG: the text of a traceback."""
MAX_PIECE = 512 << 20
OUT_OF_MEMORY = 70
"""Exit status of a child that had not enough for its job."""

_OURS = (
    *("relay.domain.", "relay.mail.", "relay.frames.rest.fault"),
    *("relay.resources.transmissions.", "relay.resources.suppression_list."),
)
_OTHERS = {
    ("datetime", name): getattr(import_module("datetime"), name)
    for name in ("datetime", "timedelta", "timezone", "date")
}


def pack(value: object) -> bytes:
    return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)


def unpack(octets: bytes) -> Any:
    """Raises pickle.UnpicklingError for anything but our own values and Python's plain ones."""
    return _Reader(io.BytesIO(octets)).load()


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _OTHERS:
            return _OTHERS[module, name]
        if module.startswith(_OURS) and "." not in name:
            found = super().find_class(module, name)
            if isinstance(found, type):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is not for exchange")
