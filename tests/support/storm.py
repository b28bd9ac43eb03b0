"""A relay of two workers under all kinds of work, whose processes are killed and stopped; what came of it."""

import asyncio
import os
import random
import re
import signal
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import aiosmtplib
import httpx

from relay.domain.ids import AccountId
from relay.domain.users import Role
from relay.frames.live import LiveDirectory
from relay.frames.sign_in import SignIns, csrf_of
from relay.net.ambient import SystemClock, SystemEntropy
from relay.net.passwords import Argon2Hasher
from relay.sink.fake_mta import FakeMta
from relay.store import Store, open_store
from relay.testing.injection import InjectionRefusedError
from relay.testing.lab import lab_directory, rest_key_of
from relay.testing.process import free_port
from relay.testing.waiting import eventually
from tests.console.site import PASSWORD, SESSION_COOKIE
from tests.support.workers import Impatient, stop_in_a_transaction, workers

SETTINGS: dict[str, dict[str, object]] = {
    "": {"workers": 2, "roles": ["smtp", "api", "web", "egress"]},
    "queue": {"first_retry": "1s", "max_retry_gap": "2s"},
}
POOLS = ("marketing", "receipts", None)
DOMAINS = 7
FOR_SALE = 400
_SMTP_CLIENTS = 3
_START_S = 240
"""For a machine with much else to do."""
_ADOPTED = re.compile(r"adopts messages=(\d+) left in flight")


def directory() -> str:
    """The lab, with IPs for sale that the first account may have."""
    inventory = "".join(
        f'[[sending_ip]]\naddress = "127.1.{number // 200}.{number % 200 + 1}"\n'
        f'hostname = "spare{number}.relay.test"\n'
        for number in range(FOR_SALE)
    )
    plan = 'plan = "self_serve"\n'
    return inventory + lab_directory().replace(plan, plan + f"dedicated_ip_limit = {FOR_SALE + 9}\n", 1)


class Storm:
    """What clients were told, and what was done to the relay."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.mta = FakeMta(decide=self._decide, port=free_port())
        self.relay = Impatient(folder, self.mta.address, directory=directory(), settings=SETTINGS)
        self.acknowledged: set[str] = set()
        self.told: Counter[str] = Counter()
        """Answers, by door and code."""
        self.done: Counter[str] = Counter()
        """To the relay."""
        self.bought: dict[str, list[str]] = {}
        """By the key of the request, once it was answered."""
        self.unanswered: dict[str, str] = {}
        self._deferred: set[str] = set()
        self._over = asyncio.Event()

    @property
    def store(self) -> Path:
        return self.relay.config.parent / "relay.db"

    async def run(self, kills: int, stops: int) -> None:
        """So many kill -9 of the whole, and so many SIGSTOP of one worker, in an order by chance."""
        acts = [self._kill] * kills
        acts += [(self._stop_in_commit, self._stop_and_kill, self._hang)[i % 3] for i in range(stops)]
        self.chance.shuffle(acts)
        await self.relay.start(timeout_s=_START_S)
        token = await self._sign_in()
        async with asyncio.TaskGroup() as tasks:
            for number in range(_SMTP_CLIENTS):
                tasks.create_task(self._repeat(0.02, self._send_by_smtp, f"s{number}"))
            tasks.create_task(self._repeat(0.1, self._send_by_rest, "r"))
            tasks.create_task(self._repeat(1, self._send_many, "m"))
            tasks.create_task(self._repeat(0.5, self._schedule, "l"))
            tasks.create_task(self._repeat(0.5, self._buy, "b"))
            tasks.create_task(self._repeat(1, lambda name, number: self._steer(token, number), "q"))
            for act in acts:
                await self._work_goes_on(self.chance.randint(1, 40))
                # The moment is to fall anywhere between two acknowledgements, and lives are to differ.
                await asyncio.sleep(self.chance.uniform(0, 1))
                await act()
            await self._work_goes_on(40)
            self._over.set()

    async def is_over(self) -> None:
        """All is sent that can be; the relay has stopped. Raises TimeoutError, AssertionError."""
        for key in list(self.unanswered):
            answer = await self._order(key)
            # What was bought was bought along with its answer: one without it is under way for good.
            assert answer.status_code in (200, 409), answer.text
        assert (await self.relay.run_cli("queue", "release", "--account", "1", "--yes")).status == 0
        for id_ in self._set_aside():
            # Three lives in a row were too short for ten recipients: from outside that is no different
            # from work that kills. As an operator would do:
            assert (await self.relay.run_cli("transmission", "retry", id_)).status == 0
            self.done["set aside, tried again"] += 1

        async def all_arrived() -> bool:
            return self.acknowledged <= {attempt.recipient for attempt in self.mta.accepted}

        async def is_empty() -> bool:
            return not (self._count("message") or self._count("transmission WHERE ended_us IS NULL"))

        for what in (all_arrived, is_empty):
            try:
                await eventually(what, timeout_s=_START_S)
            except TimeoutError:
                raise TimeoutError(f"{what.__name__}: {self._left()}\n{self.relay.log_tail()}") from None
        assert await self.relay.stop() == 0

    def report(self) -> str:
        told = dict(sorted(self.told.items()))
        return (
            f"{dict(self.done)}: {len(self.acknowledged)} acknowledged, all arrived, nothing stuck; "
            f"{self._doubled()} came twice of {self._in_flight()} in flight; "
            f"{len(self.bought)} purchases, {len(self.unanswered)} unanswered; told {told}"
        )

    async def check_store(self) -> None:
        """Raises AssertionError: of what was sold twice or not sold, and of a store that is damaged."""
        with closing(sqlite3.connect(self.store)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        sold = [address for addresses in self.bought.values() for address in addresses]
        async with await open_store(f"sqlite:///{self.store}") as store:
            snapshot = await store.directory.snapshot()
        held = {
            ip.address for ip in snapshot.ips.values() if ip.account == 1 and ip.address.startswith("127.1.")
        }
        assert sorted(sold) == sorted(held)
        assert self._doubled() <= self._in_flight()
        assert "Traceback" not in self.relay.log.read_text()

    # ── what is done to it ───────────────────────────────────────────────────────────────

    async def _kill(self) -> None:
        self.relay.kill()
        self.done["killed"] += 1
        await self.relay.start(timeout_s=_START_S)

    async def _hang(self) -> None:
        """Until the parent kills it."""
        pid = self.chance.choice(sorted(workers(self.relay)))
        os.kill(pid, signal.SIGSTOP)
        await self._is_replaced(pid)
        self.done["stopped, replaced"] += 1

    async def _stop_and_kill(self) -> None:
        pid = self.chance.choice(sorted(workers(self.relay)))
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(self.chance.uniform(0.1, 1.5))
        os.kill(pid, signal.SIGKILL)
        await self._is_replaced(pid)
        self.done["stopped, killed"] += 1

    async def _stop_in_commit(self) -> None:
        pid = await stop_in_a_transaction(self.relay)
        await self._is_replaced(pid)
        self.done["stopped in a commit, replaced"] += 1

    async def _is_replaced(self, pid: int) -> None:
        async def is_so() -> bool:
            there = workers(self.relay)
            return pid not in there and len(there) == 2

        await eventually(is_so, timeout_s=_START_S)

    # ── what it does ─────────────────────────────────────────────────────────────────────

    async def _repeat(self, pause_s: float, work: Callable[[str, int], Awaitable[None]], name: str) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            try:
                async with asyncio.timeout(15):
                    await work(name, number)
            except (OSError, EOFError, TimeoutError, aiosmtplib.SMTPException, httpx.TransportError):
                self.told[f"{name[0]} lost"] += 1
            await asyncio.sleep(pause_s)

    async def _work_goes_on(self, count: int) -> None:
        goal = len(self.acknowledged) + count

        async def is_reached() -> bool:
            return len(self.acknowledged) >= goal

        try:
            await eventually(is_reached, timeout_s=_START_S)
        except TimeoutError:
            raise TimeoutError(f"nothing is taken any more: {self.told}\n{self.relay.log_tail()}") from None

    async def _send_by_smtp(self, name: str, number: int) -> None:
        to = _to(name, number)
        try:
            await self.relay.inject(to, ip_pool=POOLS[number % len(POOLS)])
        except InjectionRefusedError as refusal:
            self.told[f"smtp {refusal.code}"] += 1
        else:
            self.told["smtp 250"] += 1
            self.acknowledged.add(to)

    async def _send_by_rest(self, name: str, number: int) -> None:
        await self._transmit(name, number, 1 + number % 5)

    async def _send_many(self, name: str, number: int) -> None:
        await self._transmit(name, number, 51 + number % 200)

    async def _schedule(self, name: str, number: int) -> None:
        start = SystemClock().now() + timedelta(seconds=self.chance.uniform(1, 4))
        await self._transmit(name, number, 1 + number * 7 % 60, start_time=start.isoformat())

    async def _transmit(self, name: str, number: int, count: int, **options: str) -> None:
        to = [_to(f"{name}{number}", each) for each in range(count)]
        body = {
            "content": {"from": "news@acme.test", "subject": "s", "text": "Hello."},
            "recipients": [{"address": one} for one in to],
            "options": {"ip_pool": "marketing", **options},
        }
        answer = await self._ask("/api/v1/transmissions", json=body)
        self.told[f"rest {answer.status_code}"] += 1
        if answer.status_code == 200:
            self.acknowledged.update(to)

    async def _buy(self, name: str, number: int) -> None:
        key = f"{name}{number}"
        self.unanswered[key] = ""
        answer = await self._order(key)
        self.told[f"buy {answer.status_code}"] += 1

    async def _order(self, key: str) -> httpx.Response:
        body = {"quantity": 1 + len(key) % 2, "ip_pool": "marketing"}
        answer = await self._ask("/api/v1/account/add-ons/dedicated_ips", {"Idempotency-Key": key}, json=body)
        if answer.status_code == 200:
            shown = answer.json()["results"]["ips"]
            self.bought[key] = [one["external_ip"] for one in shown]
            self.unanswered.pop(key, None)
        return answer

    async def _steer(self, token: str, number: int) -> None:
        """Mail to a domain is held, tried again and released, in bulk from the console."""
        verb = ("hold", "retry", "release")[number % 3]
        domain = {} if verb == "release" else {"domain": f"domain{number % DOMAINS}.example"}
        form = {"csrf": csrf_of(token), "for_account": "1", **domain}
        answer = await self._ask(f"/queue/bulk/{verb}", cookies={SESSION_COOKIE: token}, data=form)
        self.told[f"{verb} {answer.status_code}"] += 1

    async def _ask(
        self,
        path: str,
        headers: dict[str, str] | None = None,
        *,
        json: object = None,
        data: dict[str, str] | None = None,
        cookies: dict[str, str] | None = None,
    ) -> httpx.Response:
        host, port = self.relay.http_address
        key = {"Authorization": rest_key_of(self.relay.directory, 1)}
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=15, cookies=cookies) as http:
            return await http.post(path, headers={**key, **(headers or {})}, json=json, data=data)

    async def _sign_in(self) -> str:
        async with await open_store(f"sqlite:///{self.store}") as store:
            return await _session(store)

    # ── what is there ────────────────────────────────────────────────────────────────────

    def _decide(self, source_ip: str, recipient: str) -> str | None:
        """Every seventh recipient has to come twice."""
        if int(recipient.partition("@")[0].rpartition("-")[2]) % 7 or recipient in self._deferred:
            return None
        self._deferred.add(recipient)
        return "451 4.2.1 come again"

    def _set_aside(self) -> list[str]:
        with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT id FROM transmission WHERE set_aside_us IS NOT NULL").fetchall()
        return [id_ for (id_,) in rows]

    def _doubled(self) -> int:
        arrived = Counter(attempt.recipient for attempt in self.mta.accepted)
        return sum(arrived.values()) - len(arrived)

    def _in_flight(self) -> int:
        """How many a process left so, in all."""
        return sum(map(int, _ADOPTED.findall(self.relay.log.read_text())))

    def _count(self, what: str) -> int:
        with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as connection:
            return int(connection.execute(f"SELECT count(*) FROM {what}").fetchone()[0])

    def _left(self) -> str:
        missing = sorted(self.acknowledged - {attempt.recipient for attempt in self.mta.accepted})
        query = (
            "SELECT id, state, position, num_rcpts, tries, holder FROM transmission WHERE ended_us IS NULL"
        )
        with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as connection:
            rows = connection.execute(query).fetchall()
        return f"missing {missing[:20]} ({len(missing)}); messages {self._count('message')}; {rows[:10]}"


def _to(name: str, number: int) -> str:
    return f"{name}-{number}@domain{number % DOMAINS}.example"


async def _session(store: Store) -> str:
    clock = SystemClock()
    live = LiveDirectory(store.directory, await store.directory.snapshot(), clock)
    sign_ins = SignIns(store.users, Argon2Hasher(passes=1, memory_kib=8), clock, SystemEntropy(), live)
    _, link = await sign_ins.add_user("storm", Role.ADMIN, AccountId(1), "test")
    return await sign_ins.follow_link(link, PASSWORD, "127.0.0.1", "test")
