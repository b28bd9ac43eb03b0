"""What a version without the gate stored passes it before it is sent."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from relay.domain.events import Bounce
from relay.domain.ids import MessageId
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.lab import WITH_API

HEAD = (
    b"From: a@acme.test\r\nSubject: Hi\r\n"
    b"Date: Thu, 1 Jan 2026 12:00:00 +0000\r\nMessage-ID: <1@acme.test>\r\n"
)


@pytest.fixture
def relay_settings() -> dict[str, dict[str, object]]:
    return {name: dict(values) for name, values in WITH_API.items()}


@contextmanager
def older_store(folder: Path) -> Iterator[sqlite3.Connection]:
    """The store of a stopped relay as if no version had had a gate yet."""
    with closing(sqlite3.connect(folder / "relay.db")) as connection, connection:
        yield connection
        connection.execute("UPDATE ungated SET last_message = (SELECT max(id) FROM message)")


async def by_rest(relay: RelayHarness, to: str) -> None:
    body = {
        "content": {"from": "a@acme.test", "subject": "Hi", "text": "Hello."},
        "recipients": [{"address": to}],
    }
    async with relay.api() as api:
        assert (await api.post("/transmissions", json=body)).status_code == 200


async def waiting(relay: RelayHarness, mta: FakeMta, is_composed: bool) -> MessageId:
    """A message that the next hop has put off once."""
    mta.answer("b@dst.test", "451 4.3.0 later", "250 2.0.0 Ok")
    await (by_rest(relay, "b@dst.test") if is_composed else relay.inject("b@dst.test"))
    (message,) = await relay.quiet()
    return message.id


@pytest.mark.parametrize(
    ("is_composed", "prefix", "body", "reason"),
    [
        pytest.param(False, b"", HEAD + b"\r\na\nb\r\n", "a bare CR or LF in the body", id="bare LF"),
        pytest.param(False, b"", HEAD + b"\r\na\rb\r\n", "a bare CR or LF in the body", id="bare CR"),
        pytest.param(False, b"", HEAD + b"\r\na\0b\r\n", "a NUL octet in the body", id="NUL"),
        pytest.param(
            False,
            b"",
            HEAD + b"no field\r\n\r\nx\r\n",
            "a line of the header section is neither a field nor the rest of one: b'no field\\r'",
            id="no field",
        ),
        pytest.param(
            False,
            b"X: a\nY: b\r\n",
            HEAD + b"\r\nx\r\n",
            "a line of the header section is neither a field nor the rest of one: b'X: a'",
            id="LF in the copy's own fields",
        ),
        pytest.param(False, HEAD, b"no end", "no empty line ends the header section", id="no end"),
        pytest.param(
            True, HEAD, b"From: c@acme.test\r\n\r\nx\r\n", "2 fields From where there must be one", id="From"
        ),
        pytest.param(
            True, b"", HEAD[HEAD.index(b"Subject") :] + b"\r\nx\r\n", "0 fields From where", id="no From"
        ),
        pytest.param(
            True, b"To: b@dst.test\r\nTo: c@dst.test\r\n", HEAD + b"\r\nx\r\n", "2 fields To", id="To"
        ),
        pytest.param(
            True, b"", HEAD.replace(b"a@", b"c@bank.test, a@") + b"\r\nx\r\n", "From is not one", id="list"
        ),
    ],
)
async def test_what_must_not_leave_bounces_at_its_next_attempt(
    relay: RelayHarness,
    mta: FakeMta,
    tmp_path: Path,
    is_composed: bool,
    prefix: bytes,
    body: bytes,
    reason: str,
) -> None:
    message = await waiting(relay, mta, is_composed)
    await relay.stop()
    with older_store(tmp_path) as connection:
        connection.execute("UPDATE body SET content = ?", (body,))
        connection.execute("UPDATE message SET prefix = ?", (prefix,))
    await relay.restart()
    relay.clock.advance(minutes=21)
    assert await relay.quiet() == []
    assert len(mta.attempts_for("b@dst.test")) == 1
    last = (await relay.story(message))[-1].event
    assert isinstance(last, Bounce)
    assert last.raw_reason.startswith(f"550 5.6.0 [internal] {reason}")


@pytest.mark.parametrize("is_composed", [False, True], ids=["smtp", "rest"])
async def test_what_may_leave_does(
    relay: RelayHarness, mta: FakeMta, tmp_path: Path, is_composed: bool
) -> None:
    await waiting(relay, mta, is_composed)
    await relay.stop()
    with older_store(tmp_path):
        pass
    await relay.restart()
    relay.clock.advance(minutes=21)
    assert await relay.quiet() == []
    assert [attempt.is_accepted for attempt in mta.attempts_for("b@dst.test")] == [False, True]


async def test_mail_by_smtp_keeps_its_doubled_fields(
    relay: RelayHarness, mta: FakeMta, tmp_path: Path
) -> None:
    await waiting(relay, mta, is_composed=False)
    await relay.stop()
    content = HEAD + b"From: c@acme.test\r\nX : obsolete\r\nTo: d@x.test\r\nTo: e@x.test\r\n\r\nx\r\n"
    with older_store(tmp_path) as connection:
        connection.execute("UPDATE body SET content = ?", (content,))
    await relay.restart()
    relay.clock.advance(minutes=21)
    assert await relay.quiet() == []
    assert mta.attempts_for("b@dst.test")[-1].content == content


async def test_what_this_version_stored_is_not_read_again(
    relay: RelayHarness, mta: FakeMta, tmp_path: Path
) -> None:
    """It has passed the gate; a store that is changed behind its back shows that nobody looks."""
    await waiting(relay, mta, is_composed=False)
    await relay.stop()
    with closing(sqlite3.connect(tmp_path / "relay.db")) as connection, connection:
        connection.execute("UPDATE body SET content = ?", (HEAD + HEAD + b"no field\r\n\r\nx\r\n",))
    await relay.restart()
    relay.clock.advance(minutes=21)
    assert await relay.quiet() == []
    assert [attempt.is_accepted for attempt in mta.attempts_for("b@dst.test")] == [False, True]
