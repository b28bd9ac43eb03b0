"""Messages in charsets that are none, or whose codec fails: refused or sent, never a bug of ours."""

import email
import logging
from collections.abc import Iterator
from datetime import timedelta
from email import policy
from typing import Any

import pytest

from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.waiting import eventually

CHARSETS = [
    "undefined",
    "a\0b",
    "punycode",
    "idna",
    "utf-7",
    "unicode_escape",
    "rot13",
    "base64",
    "x" * 9000,
    "",
]
"""Each is a codec of Python's, or breaks the search for one."""
PLACES = {
    "a text": 'From: a@acme.test\r\nContent-Type: text/plain; charset="{0}"\r\n\r\n{{{{ a }}}} -x\xe9-\r\n',
    "an HTML part": (
        "From: a@acme.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        "Content-Type: text/html; charset={0}\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        "LXgA6S0=\r\n--b--\r\n"
    ),
    "a numbered parameter": (
        "From: a@acme.test\r\nContent-Type: text/plain; charset*0*={0}''%FF; charset*1={0}\r\n"
        "\r\n{{{{ a }}}}\r\n"
    ),
    "the name of a file": (
        "From: a@acme.test\r\nContent-Type: text/plain; name*={0}''%FF\r\n"
        "Content-Disposition: attachment; filename*={0}''a%00%FF\r\n\r\n{{{{ a }}}}\r\n"
    ),
    "words of a subject": "From: a@acme.test\r\nSubject: =?{0}?q?-x=FF=00-?= {{{{ a }}}}\r\n\r\nx\r\n",
    "words of a mailbox": (
        "From: =?{0}?b?LXgA/y0=?= {{{{ a }}}} <a@acme.test>\r\nTo: =?{0}?q?-x=FF-?= <b@b.example>\r\n"
        "Reply-To: =?{0}?q?-x-?= <c@acme.test>\r\n\r\nx\r\n"
    ),
    "a domain": (
        "From: a@acme.test\r\nTo: b@xn--{0}.example\r\nReply-To: {{{{ a }}}}@xn--\xe9.example\r\n\r\nx\r\n"
    ),
}
REFUSED = "a numbered parameter"
"""Whatever the charset is."""


@pytest.fixture(autouse=True)
def no_bugs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing is logged as a bug of ours."""
    yield
    assert [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("is_large", [False, True], ids=["here", "in a child"])
async def test_a_charset_that_is_none_is_refused_or_sent(
    relay: RelayHarness, mta: FakeMta, place: str, is_large: bool
) -> None:
    sent = 0
    async with relay.api(1) as api:
        for charset in CHARSETS:
            answer = await api.post("/transmissions", json=_body(place, charset, is_large))
            assert answer.status_code in (200, 400, 422), (charset[:20], answer.text)
            sent += answer.status_code == 200
    await relay.quiet()
    assert len(mta.accepted) == sent
    assert sent or place == REFUSED
    for attempt in mta.accepted:
        assert b"\0" not in attempt.content
        assert email.message_from_bytes(attempt.content, policy=policy.compat32)["From"]


@pytest.mark.parametrize("place", PLACES)
async def test_at_its_time_a_scheduled_one_comes_to_an_end(relay: RelayHarness, place: str) -> None:
    start = (relay.clock.now() + timedelta(hours=1)).isoformat()
    async with relay.api(1) as api:
        ids = []
        for charset in CHARSETS:
            answer = await api.post(
                "/transmissions", json={**_body(place, charset), "options": {"start_time": start}}
            )
            assert answer.status_code in (200, 400, 422), (charset[:20], answer.text)
            if answer.status_code == 200:
                ids.append(answer.json()["results"]["id"])
        assert ids or place == REFUSED
        relay.clock.advance(hours=1, seconds=1)
        for id_ in ids:

            async def is_over(id_: str = id_) -> bool:
                shown = (await api.get(f"/transmissions/{id_}")).json()["results"]["transmission"]
                return bool(shown["state"] == "Success")

            await eventually(is_over, 20)
    await relay.quiet()


def _body(place: str, charset: str, is_large: bool = False) -> dict[str, Any]:
    message = PLACES[place].format(charset) + ("x" * 70 + "\r\n") * (2000 * is_large)
    return {
        "recipients": [{"address": "bob@b.example", "substitution_data": {"a": "v"}}],
        "content": {"email_rfc822": message},
    }
