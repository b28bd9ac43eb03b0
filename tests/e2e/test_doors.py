"""Who may do what: each door, really, against the one table of `tests.support.authority`."""

import base64
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from relay.domain.changes import Remove
from relay.domain.directory import GRANTS, SUBACCOUNT_GRANTS
from relay.domain.events import GenerationRejection, Injection
from relay.domain.ids import TransmissionId
from relay.net.ambient import SystemClock
from relay.resources.api_keys.rules import hash_key
from relay.sink.fake_mta import FakeMta
from relay.store import Store
from relay.testing.harness import RelayHarness
from relay.testing.lab import lab_directory
from relay.testing.waiting import eventually
from relay.testing.wire import Wire, connect_wire
from tests.cli.conftest import Cli
from tests.console.site import PASSWORD, WITH_CONSOLE, Console
from tests.support.authority import ACCOUNT, PART, STATUSES, become, measured, now_being, rows, sign

TRUSTED = {"trusted": "127.0.0.2", "trusted part": "127.0.0.3"}
FEW = sorted(grant for grant in GRANTS if grant.endswith("/view"))
LATER = timedelta(minutes=20)
SMTP_STEPS: Mapping[str, bytes] = {
    "MAIL": b"MAIL FROM:<a@acme.test>",
    "RCPT": b"RCPT TO:<b@gmail.example>",
    "DATA": b"DATA",
    "end": b"From: a@acme.test\r\n\r\nx\r\n.",
}


@pytest_asyncio.fixture
async def relay(tmp_path: Path, mta: FakeMta) -> AsyncIterator[RelayHarness]:
    """The lab with two trusted addresses and a hundred IPs for sale."""
    inventory = "".join(
        f'[[sending_ip]]\naddress = "127.1.0.{number}"\nhostname = "mta{number}.relay.test"\n'
        for number in range(1, 101)
    )
    directory = inventory + lab_directory()
    relay = RelayHarness(tmp_path, mta, directory=directory, settings=WITH_CONSOLE)
    config = tmp_path / "relay.toml"
    networks = (
        f'{{ network = "{TRUSTED["trusted"]}/32", account = 1 }}, '
        f'{{ network = "{TRUSTED["trusted part"]}/32", account = 1, subaccount = 123 }}'
    )
    config.write_text(config.read_text().replace("[smtp]\n", f"[smtp]\ntrusted = [{networks}]\n"))
    async with relay:
        await relay.change_account(1, lambda account: replace(account, dedicated_ip_limit=500))
        yield relay


class Keys:
    """The key of each role, and the headers that it is shown with."""

    def __init__(self, relay: RelayHarness) -> None:
        self._relay = relay
        self.texts: dict[str, str] = {}

    async def make(self, role: str) -> str:
        """A new one."""
        match role:
            case "all" | "all for part":
                text = await self._relay.make_key()
            case "few":
                text = await self._relay.make_key(1, FEW)
            case "part":
                text = await self._relay.make_key(1, SUBACCOUNT_GRANTS, subaccount=PART)
            case "operator":
                text = await self._relay.make_key(2, is_operator=True)
            case "stranger":
                text = await self._relay.make_key(2)
            case _:
                text = ""
        return text

    async def headers(self, role: str, key: str | None = None) -> dict[str, str]:
        if key is None:
            if role not in self.texts:
                self.texts[role] = await self.make(role)
            key = self.texts[role]
        headers = {"Authorization": key} if key else {}
        if role == "all for part":
            headers["X-MSYS-SUBACCOUNT"] = str(PART)
        if role in ("operator", "stranger"):
            headers["X-Relay-Account"] = str(ACCOUNT)
        return headers


class Rest:
    """Requests, each with its object."""

    def __init__(self, relay: RelayHarness, api: httpx.AsyncClient) -> None:
        self.relay, self.api, self.keys = relay, api, Keys(relay)
        self._number = itertools.count()

    async def ask(self, verb: str, role: str, status: str, *, late: bool = False) -> str:
        """late: the status is reached when the request has come but for its body."""
        await become(self.relay, "active")
        headers = await self.keys.headers(role)
        if late:
            return await self.ask_slowly(verb, role, headers, lambda: become(self.relay, status))
        method, path, body = await self._request(verb, role)
        await become(self.relay, status)
        return sign(await self.api.request(method, path, json=body, headers=headers))

    async def ask_slowly(
        self, verb: str, role: str, headers: dict[str, str], happens: Callable[[], Awaitable[None]]
    ) -> str:
        """What happens does so before the end of the body; before the request if that has none."""
        method, path, body = await self._request(verb, role)
        if body is None:
            await happens()
            return sign(await self.api.request(method, path, headers=headers))
        content = httpx.Request(method, "http://x", json=body).content

        async def slowly() -> AsyncIterator[bytes]:
            yield content[:1]
            await happens()
            yield content[1:]

        headers = {**headers, "Content-Type": "application/json"}
        return sign(await self.api.request(method, path, content=slowly(), headers=headers))

    async def schedule(self, role: str, key: str | None = None) -> str:
        """The id of a transmission for later, by that role; by the account when it may not."""
        headers = await self.keys.headers("all" if role in ("few", "stranger", "nobody") else role, key)
        answer = await self.api.post("/transmissions", json=self._mail(LATER), headers=headers)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["results"]["id"])

    def _mail(self, ahead: timedelta | None = None) -> dict[str, object]:
        start = {} if ahead is None else {"start_time": (self.relay.clock.now() + ahead).isoformat()}
        return {
            "content": {"from": "news@acme.test", "subject": "s", "text": "t"},
            "recipients": [{"address": "bob@gmail.example"}],
            "options": start,
        }

    async def _request(self, verb: str, role: str) -> tuple[str, str, object]:
        name = f"x{next(self._number)}"
        match verb:
            case "look":
                return "GET", "/transmissions", None
            case "pool":
                return "POST", "/ip-pools", {"name": name}
            case "key":
                return "POST", "/api-keys", {"label": name, "grants": ["smtp/inject"]}
            case "domain":
                return "POST", "/sending-domains", {"domain": f"{name}.test", "generate_dkim": False}
            case "suppress":
                return "PUT", f"/suppression-list/{name}@b.example", {"type": "transactional"}
            case "buy":
                return "POST", "/account/add-ons/dedicated_ips", {"quantity": 1, "ip_pool": "marketing"}
            case "terms":
                return "PUT", "/billing/subscription", {"limit": 500 + next(self._number)}
            case "send":
                return "POST", "/transmissions", self._mail()
            case "schedule":
                return "POST", "/transmissions", self._mail(LATER)
            case "cancel":
                return "DELETE", f"/transmissions/{await self.schedule(role)}", None
            case "campaign":
                return "DELETE", "/transmissions?campaign_id=none", None
        raise AssertionError(verb)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("late", [False, True], ids=["before", "during the body"])
async def test_rest(relay: RelayHarness, late: bool) -> None:
    async with relay.api(key="") as api:
        del api.headers["Authorization"]
        rest = Rest(relay, api)

        async def cell(verb: str, role: str, status: str) -> str:
            return await rest.ask(verb, role, status, late=late)

        assert await measured("REST", cell) == rows("REST")


@pytest.mark.parametrize("role", ["all", "part", "operator"])
async def test_a_key_that_is_revoked_during_the_body_does_nothing(relay: RelayHarness, role: str) -> None:
    async with relay.api(key="") as api:
        del api.headers["Authorization"]
        rest = Rest(relay, api)
        for verb in ("pool", "key", "domain", "suppress", "buy", "terms", "send", "schedule"):
            key = await rest.keys.make(role)

            async def revoke(key: str = key) -> None:
                await relay.apply(Remove(relay.inside.directory.snapshot.keys[hash_key(key)]))

            headers = await rest.keys.headers(role, key)
            assert await rest.ask_slowly(verb, role, headers, revoke) == "-", verb
    assert not await relay.queue()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("is_heard", [True, False], ids=["heard", "by another process"])
async def test_smtp(relay: RelayHarness, is_heard: bool) -> None:
    """Of what another process changed the end of DATA hears first: from the store."""
    keys = Keys(relay)
    texts = {role: await keys.make(role) for role in ("all", "all for part", "few", "part")}
    texts["operator"] = await relay.make_key(1, is_operator=True)

    async def reach(status: str) -> None:
        inside = relay.inside
        snapshot = await inside.directory.refresh()
        changes = now_being(snapshot, status)
        if is_heard:
            await relay.apply(*changes)
        else:
            await inside.store.directory.apply(changes, snapshot.revision, "other", relay.clock.now())

    async def log_in(wire: Wire, role: str) -> str:
        user = "SMTP_Injection" + (f":X-MSYS-SUBACCOUNT={PART}" if role == "all for part" else "")
        shown = base64.b64encode(f"\0{user}\0{texts[role]}".encode())
        return await wire.ask(b"AUTH PLAIN " + shown)

    async def cell(verb: str, role: str, status: str) -> str:
        await become(relay, "active")
        await relay.inside.directory.refresh()
        async with connect_wire(relay.smtp_address, TRUSTED.get(role, "")) as wire:
            await wire.reply()
            await wire.ask(b"EHLO client.test")
            if verb == "AUTH":
                await reach(status)
                return _smtp_sign(await log_in(wire, role))
            if role in texts:
                assert (await log_in(wire, role))[:3] == "235"
            for step, line in SMTP_STEPS.items():
                if step == verb:
                    await reach(status)
                    return _smtp_sign(await wire.ask(line))
                assert (await wire.ask(line))[:1] in "23"
        raise AssertionError(verb)

    # A command before that may pass by what was so a moment ago; nothing is taken in because of it.
    door = "SMTP" if is_heard else "SMTP end"
    assert await measured(door, cell) == rows(door)


def _smtp_sign(reply: str) -> str:
    refused = ("535 ", "550 5.7.1 relaying denied")
    return "+" if reply[:1] in "23" else "-" if reply.startswith(refused) else reply


@pytest.mark.timeout(120)
async def test_what_is_due_is_judged_by_whose_it_is_and_not_by_who_scheduled_it(relay: RelayHarness) -> None:
    found: dict[str, list[str]] = {name: [] for name in rows("due")}
    async with relay.api(key="") as api:
        del api.headers["Authorization"]
        rest = Rest(relay, api)
        for status in STATUSES:
            await become(relay, "active")
            ids = {}
            for name in found:
                role = name.removeprefix("due").removeprefix(", revoked").strip()
                key = await rest.keys.make(role)
                ids[name] = await rest.schedule(role, key)
                if "revoked" in name:
                    await relay.apply(Remove(relay.inside.directory.snapshot.keys[hash_key(key)]))
            await become(relay, status)
            relay.clock.advance_to(relay.clock.now() + LATER)
            for name, id_ in ids.items():
                found[name].append(await _outcome(relay, id_))
    assert found == rows("due")


async def _outcome(relay: RelayHarness, id_: str) -> str:
    async def told() -> str:
        events = await relay.inside.store.events.of_transmission(TransmissionId(id_))
        for one in events:
            if isinstance(one.event, Injection):
                return "+"
            if isinstance(one.event, GenerationRejection):
                return "-" if one.event.raw_reason == "550 5.7.1 relaying denied" else one.event.raw_reason
        return ""

    return await eventually(told)


@pytest.mark.timeout(120)
async def test_console(relay: RelayHarness) -> None:
    console, number = Console(relay), itertools.count()
    async with AsyncExitStack() as stack:
        people = {
            role: await stack.enter_async_context(console.client(role))
            for role in ("reader", "admin", "operator")
        }
        outside = await stack.enter_async_context(httpx.AsyncClient(base_url=console.url))

        async def cell(verb: str, role: str, status: str) -> str:
            await become(relay, status)
            name, path = f"x{next(number)}", _PATHS[verb]
            form = {
                "name": name,
                "plan": "self_serve",
                "key_label": name,
                "permissions": "all",
                "allowed_ips": "",
                "once": f"{name:x>30}",
                "quantity": "1",
                "pool": "existing",
                "ip_pool": "marketing",
                "domain": "nobody.example",
                "old": PASSWORD,
                "password": PASSWORD,
                "again": PASSWORD,
            }
            if verb == "look":
                http = outside if role == "nobody" else people[role]
                return sign(await http.get(path))
            if role == "nobody":
                return sign(await outside.post(path, data=form))
            return sign(await people[role].post(path, form))

        assert await measured("console", cell) == rows("console")


_PATHS = {
    "look": "/account/api-keys",
    "own": "/profile/password",
    "pool": "/account/ip-pools/create",
    "key": "/account/api-keys/create",
    "buy": "/account/billing/purchase",
    "bulk": "/queue/bulk/hold",
    "found": "/operate/accounts/create",
}

_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "look": ("key", "list", "--account", "1"),
    "pool": ("pool", "create", "{name}", "--account", "1"),
    "key": ("key", "create", "--account", "1", "--label", "{name}", "--grant", "smtp/inject"),
    "terms": ("account", "set-terms", "1", "--limit", "9"),
    "hold": ("queue", "hold", "--account", "1", "--yes"),
}


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli, found = Cli(tmp_path, capsys), {}
    cli.ok("directory", "apply", str(cli.directory))
    for name in rows("CLI"):
        found[name] = [_told(cli, name.split()[1], status) for status in STATUSES]
    assert found == rows("CLI")


def _told(cli: Cli, verb: str, status: str) -> str:
    async def reach(store: Store) -> None:
        snapshot, now = await store.directory.snapshot(), SystemClock().now()
        await store.directory.apply(now_being(snapshot, status), snapshot.revision, "test", now)

    cli.in_store(reach)
    name = f"x{list(STATUSES).index(status)}"
    printed = cli(*(word.format(name=name) for word in _COMMANDS[verb]))
    return "+" if printed.status == 0 else printed.err
