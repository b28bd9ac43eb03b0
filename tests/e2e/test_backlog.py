"""A backlog on its way out: what goes with it, what it may take, and what may change meanwhile."""

from dataclasses import replace
from pathlib import Path

import pytest

from relay.domain.changes import SetRoutes
from relay.domain.reply import Phase
from relay.domain.route import Route, SmarthostRoute, TlsPolicy
from relay.sink.fake_mta import FakeMta
from relay.testing.fake_dns import FakeDns
from relay.testing.harness import RelayHarness
from relay.testing.injection import InjectionRefusedError
from relay.testing.lab import lab_directory
from relay.testing.waiting import eventually

POOL = "receipts"
LATER = "451 4.2.1 later"


async def _deferred(relay: RelayHarness, mta: FakeMta, *mail: tuple[str, int]) -> None:
    """Inject messages of so many lines; all wait for their second attempt."""
    mta.say(Phase.MAIL, LATER)
    for to, lines in mail:
        await relay.inject(to, ip_pool=POOL, text=("x" * 98 + "\r\n") * lines)
        relay.clock.advance(milliseconds=1)
    assert len(await relay.quiet(20)) == len(mail)
    mta.behave()


async def test_a_small_message_ahead_of_a_large_one_does_not_end_the_claim_for_good(
    tmp_path: Path, mta: FakeMta
) -> None:
    """A claim that octets ended has not emptied the domain."""
    async with RelayHarness(tmp_path, mta) as relay:
        sizes = (1, 170_000, 1, 1, 1)
        await _deferred(relay, mta, *[(f"r{number}@a.example", size) for number, size in enumerate(sizes)])
        relay.clock.advance(minutes=21)
        assert await relay.quiet(10) == [], "at once, not when the lane looks the next time"
        assert len(mta.accepted) == len(sizes)


async def test_a_route_that_changes_takes_the_backlog_along(tmp_path: Path, mta: FakeMta) -> None:
    settings: dict[str, dict[str, object]] = {"limits": {"connections": 1}}
    async with FakeMta() as other, RelayHarness(tmp_path, mta, settings=settings) as relay:
        await _deferred(relay, mta, *[(f"r{number}@a.example", 1) for number in range(60)])
        first = len(mta.attempts)
        mta.restrict(delay_s=0.01)
        relay.clock.advance(minutes=21)
        await mta.attempts_reached(first + 2)
        await relay.apply(SetRoutes((Route(("*",), SmarthostRoute("127.0.0.1", other.port, TlsPolicy.OFF)),)))
        assert await relay.quiet(20) == []
        assert len(mta.accepted) + len(other.accepted) == 60
        assert len(other.accepted) > 30, "all but what was in hand"


async def test_hosts_that_take_their_time_do_not_keep_us_from_accepting(tmp_path: Path, mta: FakeMta) -> None:
    domains = [f"d{number}.example" for number in range(10)]
    dns = FakeDns({}, {domain: ["127.0.0.1"] for domain in domains})
    route = f'\n[[route]]\ndomains = ["*"]\nmx = true\nport = {mta.port}\nallow_private = true\ntls = "off"\n'
    settings: dict[str, dict[str, object]] = {
        "smtp": {"max_message_bytes": 500_000, "body_budget_bytes": 1_000_000}
    }
    async with RelayHarness(
        tmp_path, mta, directory=lab_directory() + route, resolver=dns, settings=settings
    ) as relay:
        mail = [(f"r{number}@{domain}", 4_000) for number in range(4) for domain in domains]
        await _deferred(relay, mta, *mail)
        mta.hang(Phase.BODY)
        relay.clock.advance(minutes=21)

        async def hangs() -> bool:
            return mta.open_connections > 0

        await eventually(hangs)
        for number in range(20):
            try:
                await relay.inject(f"new{number}@d0.example", ip_pool=POOL)
            except InjectionRefusedError as refused:
                pytest.fail(f"refused while others wait: {refused}")
        mta.behave()
        mta.drop_all()
        while waiting := await relay.quiet(20):
            relay.clock.advance_to(max(message.due for message in waiting))
        assert {attempt.recipient for attempt in mta.accepted} >= {to for to, _ in mail}


async def test_a_bounce_to_tell_does_not_break_a_stop(tmp_path: Path, mta: FakeMta) -> None:
    """Its DSN goes to a domain that nobody has looked up yet; it waits for the next start."""
    dns = FakeDns({}, {"a.example": ["127.0.0.1"], "acme.test": ["127.0.0.1"]})
    route = f'\n[[route]]\ndomains = ["*"]\nmx = true\nport = {mta.port}\nallow_private = true\ntls = "off"\n'
    async with RelayHarness(tmp_path, mta, directory=lab_directory() + route, resolver=dns) as relay:
        await relay.change_account(1, lambda account: replace(account, dsn=True))
        mta.restrict(delay_s=0.2)
        mta.answer("bob@a.example", "550 5.1.1 no such user")
        await relay.inject("bob@a.example", ip_pool=POOL)
        await relay.restart()
        assert await relay.quiet(10) == []
        assert [attempt.mail_from for attempt in mta.accepted] == [""]
