"""A relay whose n-th write, sync or truncate of its store's files fails, and clients that notice."""

import asyncio
import json
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import httpx

from relay.sink.fake_mta import FakeMta
from relay.testing.injection import InjectionRefusedError
from relay.testing.lab import WITH_API
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually

SOURCE = Path(__file__).with_name("faults.c")
REST_KEY = "c100000000000000000000000000000000000001"
SAID = {250: 200, 451: 503}
"""What a client may hear by SMTP, and what the same is called by REST."""


def build_faults(folder: Path) -> Path:
    """The library to preload. Raises CalledProcessError, FileNotFoundError without gcc."""
    library = folder / "faults.so"
    command = ["gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return library


class FaultyRelay(RelayProcess):
    """`fail_at(n)`: counted from now, the n-th call fails, once; 0: all do, until `heal`."""

    def __init__(self, folder: Path, mta: FakeMta, library: Path) -> None:
        self.trigger = folder / "fail"
        self.store = folder / "volume" / "relay.db"
        self.store.parent.mkdir()
        self.acknowledged: set[str] = set()
        self._asked = 0
        settings: Mapping[str, Mapping[str, object]] = {
            "": {**WITH_API[""], "store": f"sqlite:///{self.store}"},
            "queue": {"first_retry": "1s", "max_retry_gap": "2s"},
        }
        environment = {
            "LD_PRELOAD": str(library),
            "FAULTS_UNDER": str(self.store),
            "FAULTS_AT": str(self.trigger),
        }
        super().__init__(folder, mta.address, settings=settings, environment=environment)

    def fail_at(self, number: int, kinds: str = "wst") -> None:
        """kinds: of writes, syncs and truncations."""
        # Whole at once: it counts from here.
        prepared = self.trigger.with_name("prepared")
        prepared.write_text(f"{number} {kinds}")
        prepared.rename(self.trigger)

    def heal(self) -> None:
        self.trigger.unlink()

    @property
    def has_failed(self) -> bool:
        return not self.trigger.exists()

    async def ask(self, client: httpx.AsyncClient) -> tuple[int, int]:
        """Hand in a message by SMTP and one by REST; what was answered."""
        self._asked += 1
        by_smtp, by_rest = f"s{self._asked}@gmail.example", f"r{self._asked}@gmail.example"
        async with asyncio.TaskGroup() as tasks:
            one = tasks.create_task(self._by_smtp(by_smtp))
            other = tasks.create_task(self._by_rest(client, by_rest))
        smtp, rest = one.result(), other.result()
        self.acknowledged |= {by_smtp} if smtp == 250 else set()
        self.acknowledged |= {by_rest} if rest == 200 else set()
        return smtp, rest

    async def ask_until_it_failed(self, *, is_killed: bool = False) -> None:
        """is_killed: whether it is, when it failed, and started again.

        Raises AssertionError when a client hears anything else than that it is taken, or to come again."""
        host, port = self.http_address
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=20) as client:
            while not self.has_failed:
                smtp, rest = await self.ask(client)
                assert smtp in SAID, self.log_tail()
                assert rest in SAID.values(), self.log_tail()
            if is_killed:
                self.kill()
                await self.start()
            await self.becomes(client, 200)
            assert await self.ask(client) == (250, 200)

    async def becomes(self, client: httpx.AsyncClient, status: int) -> None:
        """`/readyz` says so within ten seconds. Raises TimeoutError."""

        async def is_so() -> bool:
            return (await client.get("/readyz")).status_code == status

        await eventually(is_so, 10)

    async def delivers(self, mta: FakeMta) -> None:
        """All that was acknowledged arrives. Raises TimeoutError."""

        async def arrived() -> bool:
            return {attempt.recipient for attempt in mta.accepted} >= self.acknowledged

        await eventually(arrived, 30)

    def is_sound(self) -> bool:
        """Whether SQLite finds the store whole, which nobody has open."""
        copy = self.store.with_name("copy.db")
        for suffix in ("", "-wal"):
            if (file := Path(f"{self.store}{suffix}")).exists():
                shutil.copyfile(file, f"{copy}{suffix}")
        with closing(sqlite3.connect(copy)) as connection:
            return bool(connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)])

    async def _by_smtp(self, to: str) -> int:
        try:
            await self.inject(to, ip_pool="marketing")
        except InjectionRefusedError as refusal:
            return refusal.code
        return 250

    async def _by_rest(self, client: httpx.AsyncClient, to: str) -> int:
        body = {
            "options": {"ip_pool": "marketing"},
            "recipients": [{"address": to}],
            "content": {"from": "a@acme.test", "subject": "one", "text": "Hello."},
        }
        answer = await client.post(
            "/api/v1/transmissions", content=json.dumps(body), headers={"Authorization": REST_KEY}
        )
        return answer.status_code
