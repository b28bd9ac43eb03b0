"""What a browser sends: form bodies read with limits, and values with their errors beside them."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from relay.frames.console.errors import WebError
from relay.frames.values import parse_name

MAX_BYTES = 1 << 16
_MAX_FIELDS = 500
_PATIENCE_S = 30.0
_TYPE = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Form:
    """Values by the names of their fields, as typed, and what is wrong with them."""

    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    """One sentence a field; under "" what concerns the form as a whole."""

    def __getitem__(self, name: str) -> str:
        """The first value, without spaces around it; empty when there is none."""
        values = self.values.get(name, ())
        return values[0].strip() if values else ""

    def raw(self, name: str) -> str:
        """The first value as typed: a password may begin with a space."""
        values = self.values.get(name, ())
        return values[0] if values else ""

    def all(self, name: str) -> tuple[str, ...]:
        """All values that are not empty."""
        return tuple(value.strip() for value in self.values.get(name, ()) if value.strip())

    def has(self, name: str) -> bool:
        """Whether a box was ticked."""
        return name in self.values

    def wrong(self, **errors: str) -> "Form":
        """The same with these errors; those that are empty are none. `form_` means the whole."""
        found = {"" if name == "form_" else name: text for name, text in errors.items() if text}
        return Form(self.values, {**self.errors, **found})


def fill(**values: str | Sequence[str]) -> Form:
    """A form as it stands before anybody typed."""
    return Form(
        {name: (value,) if isinstance(value, str) else tuple(value) for name, value in values.items()}
    )


def number_in(text: str) -> int | None:
    """The number that a field or a part of a path names, of up to ten digits; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None


def read_name_in(form: Form, field: str) -> tuple[str, Form]:
    """A name for people, and the form with what is wrong with it."""
    try:
        return parse_name(form[field]), form
    except ValueError as error:
        return "", form.wrong(**{field: f"Must have {error}" if form[field] else "Required"})


def query_of(request: Request) -> Form:
    """What stands behind the question mark. Raises WebError 400."""
    return _parse(request.scope["query_string"])


async def read_form(request: Request) -> Form:
    """The body of a POST. Raises WebError 400, 408, 413, 415."""
    kind = request.headers.get("content-type", _TYPE).partition(";")[0].strip().lower()
    if kind != _TYPE:
        raise WebError(415, f"This form was sent as {kind[:80]}; expected {_TYPE}.")
    octets = bytearray()
    try:
        async with asyncio.timeout(_PATIENCE_S):
            async for chunk in request.stream():
                octets += chunk
                if len(octets) > MAX_BYTES:
                    raise WebError(413, f"This form is longer than {MAX_BYTES} bytes.")
    except TimeoutError as error:
        raise WebError(408, "The form did not arrive in time.") from error
    except ClientDisconnect as error:
        raise WebError(400, "The form ended before its end.") from error
    return _parse(bytes(octets))


def _parse(octets: bytes) -> Form:
    try:
        pairs = parse_qsl(
            octets.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS
        )
    except ValueError as error:
        raise WebError(400, "What was sent is not a form: expected UTF-8, percent-encoded.") from error
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return Form({name: tuple(found) for name, found in values.items()})
