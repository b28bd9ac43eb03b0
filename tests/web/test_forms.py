"""Reading what a browser sends, and refusing what none would send."""

import asyncio

import pytest
from starlette.requests import Request
from starlette.types import Message

from relay.frames.console.errors import WebError
from relay.frames.console.forms import MAX_BYTES, Form, fill, read_form

URLENCODED = "application/x-www-form-urlencoded"


def request_of(body: bytes, kind: str = URLENCODED) -> Request:
    chunks = [body[at : at + 1000] for at in range(0, len(body), 1000)] or [b""]

    async def receive() -> Message:
        chunk = chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    return Request({"type": "http", "method": "POST", "headers": [(b"content-type", kind.encode())]}, receive)


def read(body: bytes, kind: str = URLENCODED) -> Form:
    return asyncio.run(read_form(request_of(body, kind)))


def test_values_are_read_without_the_spaces_around_them_but_for_passwords() -> None:
    form = read(b"name=+My+Pool+&password=+secret+&ip=a&ip=b&ip=&caf%C3%A9=x")
    assert form["name"] == "My Pool"
    assert form.raw("password") == " secret "
    assert form.all("ip") == ("a", "b")
    assert form["café"] == "x"
    assert form["missing"] == ""
    assert form.has("ip")
    assert not form.has("missing")


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        pytest.param(b"a=%ff", URLENCODED, 400, id="not UTF-8"),
        pytest.param(b"a=\xff", URLENCODED, 400, id="an octet that was not encoded"),
        pytest.param(b"&".join(b"a=1" for _ in range(600)), URLENCODED, 400, id="too many fields"),
        pytest.param(b"a=" + b"x" * MAX_BYTES, URLENCODED, 413, id="too long"),
        pytest.param(b"{}", "application/json", 415, id="JSON"),
        pytest.param(b"a=1", "text/plain", 415, id="what another site can send without asking"),
    ],
)
def test_what_is_no_form_is_refused(body: bytes, kind: str, status: int) -> None:
    with pytest.raises(WebError) as refusal:
        read(body, kind)
    assert refusal.value.status == status


def test_errors_stand_by_their_fields() -> None:
    form = fill(name="x").wrong(name="Required", form_="Nothing was bought", other="")
    assert dict(form.errors) == {"name": "Required", "": "Nothing was bought"}
    assert form["name"] == "x"
