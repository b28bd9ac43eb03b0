"""What a next hop can do to us, row by row: the outcome, its event, and that mail goes on afterwards."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import pytest

from relay.domain.events import Bounce, Delay, Delivery, Event
from relay.domain.message import State
from relay.domain.reply import Phase
from relay.net.timeouts import Timeouts
from relay.net.tls import ensure_self_signed, server_context
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.lab import lab_directory

TO = "bob@gmail.example"
SHORT = Timeouts(**{field.name: 0.4 for field in fields(Timeouts)})
LOGIN = {"relay": "s3cret"}
GARBAGE = b"\x00\xff\x16\x03 what?\r\n"
LARGE = ("x" * 98 + "\r\n") * 120_000
"""More than the buffers of both kernels hold."""

HUNG_UP = "451 4.4.2 [internal] connection closed by remote host"
MALFORMED = "451 4.5.0 [internal] protocol error"

Act = Callable[[FakeMta], None]


@pytest.fixture
def certificate(tmp_path: Path) -> ssl.SSLContext:
    return server_context(*ensure_self_signed(tmp_path, "mx.test"))


@asynccontextmanager
async def _relay(
    folder: Path,
    mta: FakeMta,
    tls: str = "off",
    timeouts: Timeouts | None = SHORT,
    login: str = 'username = "relay"\npassword = "s3cret"\n',
) -> AsyncIterator[RelayHarness]:
    route = f'\n[[route]]\ndomains = ["*"]\nsmarthost = "{mta.address}"\ntls = "{tls}"\n'
    route += login
    async with RelayHarness(folder, mta, directory=lab_directory() + route, timeouts=timeouts) as relay:
        yield relay


async def _event_of(relay: RelayHarness, text: str = "Hello.\r\n") -> Event:
    """The last event of a message that was injected and had its attempt."""
    injected = await relay.inject(TO, ip_pool="receipts", text=text)
    await relay.quiet(15)
    return (await relay.story(injected.message_id))[-1].event


def _hangs(phase: Phase) -> Act:
    return lambda mta: mta.hang(phase)


def _drops(phase: Phase) -> Act:
    return lambda mta: mta.drop(phase)


def _says(phase: Phase, reply: str | bytes) -> Act:
    return lambda mta: mta.say(phase, reply)


def _drops_in_body(mta: FakeMta) -> None:
    mta.drop_in_body(100_000)


def _late(phase: Phase) -> str:
    return f"451 4.4.2 [internal] no reply in time: {phase.upper()}"


_OPENING = (Phase.GREETING, Phase.EHLO, Phase.AUTH)
_TRANSACTION = (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY)


@pytest.mark.parametrize(
    ("act", "reason", "is_ambiguous"),
    [
        *[
            pytest.param(_hangs(phase), _late(phase), phase is Phase.BODY, id=f"hangs at {phase}")
            for phase in (*_OPENING, *_TRANSACTION)
        ],
        *[
            pytest.param(_drops(phase), HUNG_UP, phase is Phase.BODY, id=f"hangs up at {phase}")
            for phase in (*_OPENING, *_TRANSACTION)
        ],
        pytest.param(_drops_in_body, HUNG_UP, False, id="hangs up in the middle of the content"),
        pytest.param(
            _says(Phase.EHLO, "502 5.5.1 no"),
            "454 4.7.0 [internal] the host offers no AUTH that we know",
            False,
            id="knows HELO only",
        ),
        *[
            pytest.param(
                _says(phase, GARBAGE), MALFORMED, phase is Phase.BODY, id=f"answers garbage to {phase}"
            )
            for phase in (*_OPENING, *_TRANSACTION)
        ],
        *[
            pytest.param(_says(phase, "550 5.7.1 no"), "550 5.7.1 no", False, id=f"refuses us at {phase}")
            for phase in (Phase.GREETING, Phase.AUTH)
        ],
        *[
            pytest.param(_says(phase, "451 4.7.1 not now"), "451 4.7.1 not now", False, id=f"4xx to {phase}")
            for phase in (*_OPENING, *_TRANSACTION)
        ],
        *[
            pytest.param(_says(phase, "421 4.3.2 down"), "421 4.3.2 down", False, id=f"421 to {phase}")
            for phase in _TRANSACTION
        ],
        *[
            pytest.param(
                _says(phase, "999 what"), MALFORMED, phase is Phase.BODY, id=f"a code that is none to {phase}"
            )
            for phase in _TRANSACTION
        ],
    ],
)
async def test_what_may_pass_is_a_delay_and_the_mail_is_delivered_once_it_has(
    tmp_path: Path, act: Act, reason: str, is_ambiguous: bool
) -> None:
    """Ambiguous is what was lost after the final dot: the next hop may have it (RFC 5321 §4.2.5)."""
    async with FakeMta(credentials=LOGIN) as mta, _relay(tmp_path, mta) as relay:
        act(mta)
        event = await _event_of(relay, LARGE if act is _drops_in_body else "Hello.\r\n")
        assert isinstance(event, Delay)
        assert event.raw_reason.startswith(reason)
        assert event.is_ambiguous == is_ambiguous
        (waiting,) = await relay.queue()
        assert (waiting.state, waiting.attempts) == (State.QUEUED, 1)
        assert waiting.due == relay.clock.now() + timedelta(minutes=20)
        mta.behave()
        relay.clock.advance(minutes=20)
        assert await relay.quiet() == []
        assert len(mta.accepted) == 1


@pytest.mark.parametrize("phase", _TRANSACTION)
async def test_a_5xx_to_the_mail_is_its_bounce(tmp_path: Path, phase: Phase) -> None:
    async with FakeMta(credentials=LOGIN) as mta, _relay(tmp_path, mta) as relay:
        mta.say(phase, "550 5.1.1 no such user")
        event = await _event_of(relay)
        assert isinstance(event, Bounce)
        assert event.raw_reason == "550 5.1.1 no such user"
        assert await relay.queue() == []


async def test_a_refused_connection_is_a_delay_and_the_mail_is_delivered_once_it_listens(
    tmp_path: Path,
) -> None:
    mta = FakeMta(credentials=LOGIN)
    async with mta:
        pass
    async with _relay(tmp_path, mta) as relay:
        event = await _event_of(relay)
        assert isinstance(event, Delay)
        assert event.raw_reason == "451 4.4.1 [internal] No valid hosts (unable to make any connections)"
        async with mta:
            relay.clock.advance(minutes=20)
            assert await relay.quiet() == []
            assert len(mta.accepted) == 1


# ── answers that come late ───────────────────────────────────────────────────────────────

_MINUTE = 60
_SCALE = 300
"""How much faster than real the late answers come."""


def test_a_next_hop_has_the_time_that_rfc_5321_gives_it() -> None:
    """§4.5.3.2; ten minutes for the final reply, so that nine are in time."""
    given = Timeouts()
    assert (given.greeting_s, given.mail_s, given.rcpt_s) == (5 * _MINUTE,) * 3
    assert (given.data_s, given.block_s, given.body_s) == (2 * _MINUTE, 3 * _MINUTE, 10 * _MINUTE)


@pytest.mark.parametrize(
    ("minutes", "kind"),
    [pytest.param(9, Delivery, id="in time"), pytest.param(11, Delay, id="too late")],
)
async def test_a_final_reply_counts_when_it_comes_within_ten_minutes(
    tmp_path: Path, minutes: int, kind: type
) -> None:
    scaled = Timeouts(**{field.name: getattr(Timeouts(), field.name) / _SCALE for field in fields(Timeouts)})
    delay_s = minutes * _MINUTE / _SCALE
    # Told of the recipient's fate, the fake has not sent the final reply yet.
    async with (
        FakeMta(on_attempt=lambda _: mta.restrict(delay_s=delay_s), credentials=LOGIN) as mta,
        _relay(tmp_path, mta, timeouts=scaled) as relay,
    ):
        event = await _event_of(relay)
        assert type(event) is kind
        assert not isinstance(event, Delay) or event.is_ambiguous


# ── connections ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("messages_per_connection", "connections"),
    [
        pytest.param(1, None, id="closes after each message"),
        pytest.param(None, 1, id="one connection at a time"),
        pytest.param(1, 1, id="both"),
    ],
)
async def test_a_host_that_grudges_connections_gets_all_mail_and_nothing_is_delayed_for_long(
    tmp_path: Path, messages_per_connection: int | None, connections: int | None
) -> None:
    async with FakeMta(credentials=LOGIN) as mta, _relay(tmp_path, mta) as relay:
        mta.restrict(messages_per_connection=messages_per_connection, connections=connections, delay_s=0.002)
        async with asyncio.TaskGroup() as tasks:
            for number in range(30):
                tasks.create_task(relay.inject(f"r{number}@gmail.example", ip_pool="receipts"))
        for _ in range(3):
            if not await relay.quiet(20):
                break
            relay.clock.advance(minutes=20)
        assert len({attempt.recipient for attempt in mta.accepted}) == len(mta.accepted) == 30


# ── TLS ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(_says(Phase.STARTTLS, "454 4.7.0 not available"), id="refuses"),
        pytest.param(_says(Phase.STARTTLS, b"220 Go ahead\r\n"), id="talks SMTP in the handshake"),
        pytest.param(_says(Phase.STARTTLS, b"220 Go ahead\r\n250 surplus\r\n"), id="injects a reply"),
        pytest.param(_says(Phase.STARTTLS, GARBAGE), id="garbage"),
        pytest.param(_drops(Phase.STARTTLS), id="hangs up"),
        pytest.param(_hangs(Phase.STARTTLS), id="hangs"),
    ],
)
@pytest.mark.parametrize("tls", ["opportunistic", "required"])
async def test_broken_tls_is_done_without_where_that_is_allowed_and_waited_for_where_not(
    tmp_path: Path, certificate: ssl.SSLContext, act: Act, tls: str
) -> None:
    async with (
        FakeMta(tls=certificate) as mta,
        _relay(tmp_path, mta, tls, login="") as relay,
    ):
        act(mta)
        event = await _event_of(relay)
        assert isinstance(event, Delivery | Delay)
        assert event.peer.outbound_tls == -1
        if tls == "opportunistic":
            assert isinstance(event, Delivery)
            assert [attempt.tls for attempt in mta.accepted] == [False]
        else:
            assert isinstance(event, Delay)
            assert event.raw_reason.startswith("454 4.7.5 [internal] TLS failed: ")
            assert mta.accepted == []


@pytest.mark.parametrize(
    "act",
    [_says(Phase.STARTTLS, "454 4.7.0 not available"), _drops(Phase.STARTTLS)],
    ids=["refuses", "hangs up"],
)
@pytest.mark.parametrize("tls", ["opportunistic", "required"])
async def test_a_login_never_goes_in_clear_where_tls_is_broken(
    tmp_path: Path, certificate: ssl.SSLContext, act: Act, tls: str
) -> None:
    async with FakeMta(tls=certificate, credentials=LOGIN) as mta, _relay(tmp_path, mta, tls) as relay:
        act(mta)
        event = await _event_of(relay)
        assert isinstance(event, Delay)
        assert event.raw_reason.startswith("454 4.7.5 [internal] TLS failed: ")
        assert (mta.logins, mta.accepted) == ([], [])


@pytest.mark.parametrize("tls", ["opportunistic", "required"])
async def test_mail_waits_for_tls_where_a_login_needs_it(
    tmp_path: Path, certificate: ssl.SSLContext, tls: str
) -> None:
    async with FakeMta(credentials=LOGIN) as mta, _relay(tmp_path, mta, tls) as relay:
        event = await _event_of(relay)
        assert isinstance(event, Delay)
        assert event.raw_reason == "454 4.7.0 [internal] a login needs TLS"
        assert (mta.logins, mta.accepted) == ([], [])
    async with FakeMta(tls=certificate, credentials=LOGIN) as mta, _relay(tmp_path, mta, tls) as relay:
        event = await _event_of(relay)
        assert isinstance(event, Delay), "nobody vouches for this certificate"
        assert mta.logins == []
