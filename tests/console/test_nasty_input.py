"""Every route with values that no browser sends: none is a bug, and none that only looks changes anything."""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import httpx
from starlette.routing import Route

from relay.domain.ids import AccountId
from relay.domain.users import Role
from relay.frames.console.routing import Pages
from relay.frames.console.visit import TOAST_COOKIE
from relay.frames.sign_in import csrf_of
from relay.process import mount as mounted
from relay.resources.events.search import FILTERS
from relay.sink.fake_mta import FakeMta
from relay.testing.waiting import eventually
from tests.console.site import SESSION_COOKIE, Console
from tests.console.test_security import VISITOR_COOKIE, client, session, state

NASTY: Sequence[str] = (
    "",
    "%ED%A0%80",  # A lone surrogate.
    "a%00b",
    "1" + "0" * 30,
    "9223372036854775808",
    "-1",
    quote("٣"),  # A digit to Python, and to nobody else.
    "..%2F..%2Fetc%2Fpasswd",
    quote("😀<script>\"'\r\nX: y", safe=""),
    quote("中\u0301" * 60),
    "x" * 1200,
    "0001-01-01T00:00:00",
    "9999-12-31T23:59:59-23:59",
)
"""Percent-encoded, as they go over the wire."""
_MOST_TURNS = 10
"""On how many routes of a view a field has its values by itself, in turns; all at once have each on all."""

_READ = re.compile(
    r"""(?:query|form|typed|asked)(?:\.\w+\(|\[)"(\w+)"|read(?:_name)?\((?:[\w.]+, )?"(\w+)\""""
)
_BY_FUNCTION: Mapping[str, Sequence[str]] = {
    "read_search": ("events", "from", "to", "all", *(one.name for one in FILTERS)),
    "read_filter": ("ip", "pool", "domain", "state", "transmission", "subaccount", "all"),
    "read_key": ("key_label", "permissions", "grants", "allowed_ips"),
    "do_once": ("once",),
    "_terms": ("limit", "price", "day"),
    "_MOVE": ("name", "overflow", "signing_domain", "move:127.0.0.11"),
    "listed": ("page",),
}
"""What a view reads by way of others."""
_LEFT_OUT = frozenset({"/sign-out", "/sign-in"})
"""The first reads nothing and ends the session; the second hashes a password at each try."""
_FINE: Mapping[str, str] = {
    "name": "Fine",
    "role": "reader",
    "account": "1",
    "plan": "self_serve",
    "status": "active",
    "quantity": "1",
    "ip_pool": "marketing",
    "key_label": "fine",
    "permissions": "all",
    "address": "127.0.0.99",
    "hostname": "fine.example",
    "weight": "1",
    "to": "127.0.0.12",
}
"""What stands in the other fields, so that each has its turn."""


@dataclass(frozen=True, slots=True)
class Door:
    """A route, and the names of all that it might read."""

    route: Route
    names: Sequence[str]
    turn: int
    turns: int

    @property
    def parameters(self) -> Sequence[str]:
        return re.findall(r"\{(\w+)\}", self.route.path)


def doors(method: str) -> Iterator[Door]:
    for module in vars(mounted).values():
        pages = getattr(module, "pages", None)
        if isinstance(pages, Pages):
            source = inspect.getsource(module)
            names = {one or other for one, other in _READ.findall(source)}
            for function, more in _BY_FUNCTION.items():
                if function in source:
                    names.update(more)
            routes = [one for one in pages.routes if method in (one.methods or ())]
            turns = min(_MOST_TURNS, len(routes))
            for turn, route in enumerate(routes):
                if route.path not in _LEFT_OUT:
                    yield Door(route, sorted(names), turn, turns)


async def things(console: Console, mta: FakeMta) -> Mapping[str, str]:
    """For each name in a path something that there is, after the part of the console where it is."""
    relay = console.relay
    mta.answer("bob@gmail.example", "450 4.2.1 later")
    injected = await relay.inject("bob@gmail.example", ip_pool="marketing")
    await mta.attempts_reached(1)
    await relay.quiet()
    await session(console, Role.READER)
    (reader,) = [one for one in await console.sign_ins.users() if one.role is Role.READER]
    _, link = await console.sign_ins.new_link(reader.name, "test")
    return {
        "pool": "marketing",
        "ip": "127.0.0.11",
        "messages/id": injected.message_id,
        "subaccounts/id": "123",
        "accounts/id": "1",
        "users/id": str(reader.id),
        "verb": "hold",
        "token": link,
    }


def filled_in(path: str, known: Mapping[str, str]) -> str:
    """The path with something for each of its names."""

    def one(found: re.Match[str]) -> str:
        places = [key for key in known if key.endswith(f"/{found[1]}") and key.split("/")[0] in path]
        return known.get(found[1]) or next((known[key] for key in places), "x")

    return re.sub(r"\{(\w+)\}", one, path)


def paths(door: Door, known: Mapping[str, str]) -> Iterator[str]:
    """As it should be, then with each value in each place."""
    yield filled_in(door.route.path, known)
    for name in door.parameters:
        for value in NASTY:
            yield filled_in(door.route.path, {**known, name: value or "%20"})


def fields(door: Door) -> Iterator[Mapping[str, str]]:
    """Each value in all fields at once, and in one while the others are fine."""
    for value in NASTY:
        yield dict.fromkeys(door.names, value)
    others = {one: fine for one, fine in _FINE.items() if one in door.names}
    for name in door.names:
        for value in NASTY[door.turn % door.turns :: door.turns]:
            yield {**others, name: value}


def encoded(values: Mapping[str, str]) -> str:
    return "&".join(f"{name}={value}" for name, value in values.items())


class Asking:
    """Requests, and those that found a bug: one run tells of all."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http, self.bugs = http, list[str]()

    async def get(self, url: str, headers: Mapping[bytes, bytes] | None = None) -> None:
        self._look(f"GET {url}", await self._http.get(url, headers=headers))

    async def post(self, path: str, body: str) -> None:
        kind = {"content-type": "application/x-www-form-urlencoded"}
        self._look(f"POST {path} {body}", await self._http.post(path, content=body, headers=kind))

    def _look(self, asked: str, answer: httpx.Response) -> None:
        if answer.status_code >= 500:
            self.bugs.append(f"{answer.status_code}: {asked[:300]}")


async def everything(console: Console) -> object:
    users = await console.sign_ins.users()
    sessions = [len(await console.sign_ins.sessions(user)) for user in users]
    return await state(console.relay), users, sessions


async def test_no_page_fails_or_changes_anything_whatever_its_address_says(
    console: Console, mta: FakeMta
) -> None:
    token = await session(console, Role.OPERATOR)
    known = await things(console, mta)
    before = await everything(console)
    async with client(console, token) as http:
        asking = Asking(http)
        for door in doors("GET"):
            for path in paths(door, known):
                await asking.get(path)
            for values in fields(door):
                await asking.get(f"{filled_in(door.route.path, known)}?{encoded(values)}")
    assert asking.bugs == []
    assert await everything(console) == before


async def test_no_form_fails_whatever_is_typed_into_its_fields(console: Console, mta: FakeMta) -> None:
    token = await session(console, Role.OPERATOR)
    known = await things(console, mta)
    async with client(console, token) as http:
        http.cookies.set(VISITOR_COOKIE, "a visitor")
        asking = Asking(http)
        for door in doors("POST"):
            is_open = door.route.path.startswith("/sign-in")
            guard = f"csrf={csrf_of('a visitor' if is_open else token)}"
            for path in paths(door, known):
                await asking.post(path, guard)
            for values in fields(door):
                await asking.post(filled_in(door.route.path, known), f"{guard}&{encoded(values)}")
                if door.route.path.startswith("/queue/bulk/"):
                    await eventually(lambda: nothing_at_work(console))
    assert asking.bugs == []


async def nothing_at_work(console: Console) -> bool:
    """Of account 1 in bulk: while much is, no more can be started."""
    return all(one.ended is not None for one in console.relay.inside.http.bulk.of(AccountId(1)))


async def test_nobody_is_signed_in_and_nothing_fails_whatever_is_typed_there(console: Console) -> None:
    async with client(console) as http:
        http.cookies.set(VISITOR_COOKIE, "a visitor")
        asking, guard = Asking(http), f"csrf={csrf_of('a visitor')}"
        for value in NASTY:
            await asking.get(f"/sign-in?next={value}")
            await asking.post("/sign-in", f"{guard}&name={value}&password={value}&next={value}")
        assert SESSION_COOKIE not in http.cookies
    assert asking.bugs == []


async def test_no_page_fails_whatever_the_header_fields_say(console: Console) -> None:
    token = await session(console, Role.OPERATOR)
    async with client(console, token) as http:
        asking = Asking(http)
        for name in (b"Host", b"Sec-Fetch-Site", b"User-Agent", b"Content-Type", b"X-Forwarded-For"):
            for value in (b"", b"[", b"a b", b"x/operate/", b"\xe9", b"x" * 3000):
                await asking.get("/account/users", {name: value})
        for cookie in (SESSION_COOKIE, VISITOR_COOKIE, TOAST_COOKIE):
            for value in (b"", b'"', b"%ED%A0%80", b"%00", b"\xe9", b"=;=", b"x" * 3000):
                theirs = b"%s=%s" % (cookie.encode(), value)
                await asking.get("/sign-in", {b"Cookie": theirs})
                if cookie != SESSION_COOKIE:
                    signed_in = b"%s=%s; " % (SESSION_COOKIE.encode(), token.encode())
                    await asking.get("/profile", {b"Cookie": signed_in + theirs})
    assert asking.bugs == []
