"""What clients of SparkPost send without being asked to, and what they look for that is not here."""

import base64
import email
from collections.abc import Mapping
from email import policy
from typing import Any

import pytest

from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from tests.support.rest import results

TO = "a@b.example"


async def left(
    relay: RelayHarness, mta: FakeMta, more: Mapping[str, Any] | None = None, **content: Any
) -> email.message.EmailMessage:
    """The mail at the next hop, of a transmission that is taken."""
    whole = {"from": "a@acme.test", "subject": "s", "text": "t", **content}
    async with relay.api() as api:
        results(
            await api.post(
                "/transmissions", json={"recipients": [{"address": TO}], "content": whole, **(more or {})}
            )
        )
    await relay.quiet()
    (attempt,) = mta.attempts_for(TO)
    return email.message_from_bytes(attempt.content, policy=policy.default)


@pytest.mark.parametrize("name", ["MIME-Version", "mime-version"])
async def test_the_version_of_mime_stands_there_once_whoever_names_it(
    relay: RelayHarness, mta: FakeMta, name: str
) -> None:
    assert (await left(relay, mta, headers={name: "1.0"})).get_all("MIME-Version") == ["1.0"]


@pytest.mark.parametrize("name", ["", None])
async def test_an_attachment_needs_no_name(relay: RelayHarness, mta: FakeMta, name: str | None) -> None:
    data = base64.b64encode("é".encode("latin-1")).decode()
    attachment = {"name": name, "type": 'text/plain; charset="iso-8859-1"', "data": data}
    (part,) = (await left(relay, mta, attachments=[attachment])).iter_attachments()
    assert (part.get_filename(), part.get_param("name"), part.get_content()) == (None, None, "é")


@pytest.mark.parametrize(
    "path",
    ["metrics/deliverability", "templates", "webhooks", "recipient-lists", "inbound-domains", "ab-test"],
)
async def test_what_is_not_here_is_told_as_sparkpost_tells_it(relay: RelayHarness, path: str) -> None:
    async with relay.api() as api:
        answer = await api.get(f"/{path}")
    told = {
        "message": "resource not found",
        "description": f"Resource not found:/api/v1/{path}",
        "code": "1600",
    }
    assert (answer.status_code, answer.json()) == (404, {"errors": [told]})


async def test_without_substitutions_the_body_keeps_its_braces_and_the_header_is_filled(
    relay: RelayHarness, mta: FakeMta
) -> None:
    more = {"options": {"perform_substitutions": False}, "substitution_data": {"loc": "news", "h": "H"}}
    sender = "{{loc}}@acme.test"
    message = await left(relay, mta, more, **{"from": sender}, subject="S {{h}}", text="{{h}}")
    assert (message["From"], message["Subject"]) == ("news@acme.test", "S H")
    assert message.get_content().strip() == "{{h}}"
    (attempt,) = mta.attempts_for(TO)
    assert attempt.mail_from == "news@acme.test"
