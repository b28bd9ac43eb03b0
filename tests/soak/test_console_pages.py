"""Every page of the console over a store with a million messages and a million events. Run by `make soak`."""

import statistics
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from relay.config.config import load_config
from relay.domain.ids import AccountId
from relay.domain.users import Role
from relay.frames.sign_in import SignIns
from relay.net.ambient import SystemClock, SystemEntropy
from relay.net.passwords import Argon2Hasher
from relay.ports.queue import MailFilter
from relay.process.runtime import Relay
from relay.testing.lab import write_files
from tests.console.site import PASSWORD, SESSION_COOKIE
from tests.support.crowded import DOMAINS, NEEDLE, SHARED, crowd, ips_of

pytestmark = pytest.mark.timeout(900)

MILLION = 1_000_000
LIMIT_MS = 100
TURNS = 7
ONE = AccountId(1)

Say = Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """A function: prints a figure, which is what this test is run for."""

    def tell(line: str) -> None:
        with capsys.disabled():
            print(f"\n  {line}", end="")  # noqa: T201 - as it says

    return tell


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[Relay]:
    """A relay without egress on a crowded store: nothing leaves while pages are timed."""
    await crowd(tmp_path / "relay.db", MILLION, MILLION)
    settings = {"": {"roles": ["smtp", "api", "web"]}}
    config = write_files(tmp_path, "", "127.0.0.1:9", "127.0.0.1:0", settings)
    async with Relay(load_config(config, {})) as relay:
        yield relay


async def test_every_page_takes_less_than_a_tenth_of_a_second(relay: Relay, say: Say) -> None:
    sign_ins = SignIns(
        relay.store.users,
        Argon2Hasher(passes=1, memory_kib=8),
        SystemClock(),
        SystemEntropy(),
        relay.directory,
    )
    token = await _token(sign_ins, Role.ADMIN, ONE)
    operator = await _token(sign_ins, Role.OPERATOR, None)
    ip, shared = ips_of(ONE)[0], SHARED[0]
    some = (await relay.store.reports.messages(MailFilter(ONE), 1)).messages[0]
    pages = [
        "/",
        "/?range=10d",
        "/queue",
        "/queue?by=pool",
        "/queue?by=domain",
        f"/queue?ip={shared}",
        "/queue?by=domain&domain=d1.example",
        "/queue/messages",
        f"/queue/messages?ip={ip}&domain=d1.example",
        f"/queue/messages?ip={shared}",
        "/queue/messages?state=held",
        f"/messages/{some.id}",
        "/explain",
        "/events",
        *(f"/events?{name}={NEEDLE}" for name in ("campaigns", "subjects", "ip_pools", "reasons")),
        f"/events?recipients={NEEDLE}@{NEEDLE}.example",
        "/events?recipients=nobody@nowhere.example",
        f"/events?sending_ips={ip}",
        f"/events?transmissions={some.transmission_id}",
        f"/events?recipient_domains=d{DOMAINS - 1}.example",
        "/account/billing",
        "/account/billing/purchase",
        "/account/ip-pools",
        "/account/ip-pools/create",
        "/account/ip-pools/edit/default",
        "/account/ip-pools/edit/marketing/delete",
        f"/account/ip-pools/edit/default/{ip}",
        "/account/subaccounts",
        "/account/api-keys",
        "/account/sending-domains",
        "/account/smtp",
        "/profile",
        "/guide/warm-up",
    ]
    for_operators = [
        "/?all=on",
        "/queue?all=on",
        "/queue/messages?all=on",
        "/events?all=on",
        "/operate/accounts",
        "/operate/ips",
        "/operate/users",
        "/operate/changes",
    ]
    slow = [
        *[told for path in pages if (told := await _timed(relay, token, path, say))],
        *[told for path in for_operators if (told := await _timed(relay, operator, path, say))],
    ]
    assert slow == []


async def _token(sign_ins: SignIns, role: Role, account: AccountId | None) -> str:
    _, link = await sign_ins.add_user(role.value, role, account, "test")
    return await sign_ins.follow_link(link, PASSWORD, "127.0.0.1", "test")


async def _timed(relay: Relay, token: str, path: str, say: Say) -> str:
    """The page and its time, if that is too long."""
    assert relay.http_url is not None
    async with httpx.AsyncClient(
        base_url=relay.http_url, cookies={SESSION_COOKIE: token}, timeout=60
    ) as http:
        times = []
        for _ in range(TURNS):
            started = time.perf_counter()
            answer = await http.get(path)
            times.append((time.perf_counter() - started) * 1000)
            assert answer.status_code == 200, f"{path}: {answer.status_code}"
    median, worst = statistics.median(times), max(times)
    say(f"{median:7.1f} ms, at most {worst:7.1f} ms, {len(answer.content) / 1000:6.1f} kB  {path}")
    return "" if median < LIMIT_MS else f"{path}: {median:.0f} ms"
