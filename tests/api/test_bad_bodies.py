"""Requests that are wrong: the right refusal, in SparkPost's shape, and nothing changed."""

import logging
import re
import sqlite3
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from relay.domain.directory import GRANTS
from relay.frames.rest.errors import says_message_alone
from relay.testing.harness import RelayHarness
from tests.support.bad_requests import NO_OBJECTS, OPERATORS, TABLES, encoded
from tests.support.rest import described, furnish, operations, takes_body

KEY = b"c100000000000000000000000000000000000001"
"""Account 1's in the lab."""
JSON = {"Content-Type": "application/json"}
ACCOUNTS_OWN = ("/ip-pools", "/sending-ips", "/account", "/billing")
"""Paths that a subaccount's key has no business with."""

OPEN = ("/healthz", "/readyz")
"""Paths without a key; nor are they under /api/v1."""
METHODS = {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"}
BAD_KEYS = (
    b"",
    b" ",
    b"f" * 40,
    KEY + b"0",
    KEY.upper(),
    KEY + b", " + KEY,
    b"Bearer " + KEY,
    b"Basic",
    b"Basic " + KEY,
    b"Basic !!!",
    b"Basic " + b64encode(KEY),
    b"Basic " + b64encode(KEY + b":x"),
    b"Basic " + b64encode(b"\xff\xfe:"),
    b"\xff\xfe",
    b"x" * 30_000,
)
BAD_SUBACCOUNTS = (
    b"all",
    b"",
    b"-1",
    b"123.0",
    b"0x7b",
    b"123, 124",
    b"999",
    b"4294967419",
    b"9" * 5000,
    b"\xb2",
)
BAD_HEADERS = [
    *((b"Authorization", value, 401, "Unauthorized.") for value in BAD_KEYS),
    *((b"X-MSYS-SUBACCOUNT", value, 400, "X-MSYS-SUBACCOUNT must be") for value in BAD_SUBACCOUNTS),
    (b"X-Relay-Account", b"2", 403, "Forbidden."),
    (b"X-Relay-Account", b"x", 400, "X-Relay-Account must be a number"),
]


@pytest.fixture
def relay_settings(relay_settings: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    return {**relay_settings, "http": {"listen": "127.0.0.1:0", "requests_per_second": 1_000_000}}


_NOT_ABOUT_REQUESTS = {"lane", "key_use", "sqlite_sequence"}


class Watch:
    """The store, as it was before the requests."""

    def __init__(self, folder: Path) -> None:
        self._store = folder / "relay.db"
        self._before = self._read()

    def check(self) -> None:
        """All rows are what they were, but for the beats of those who deliver, the days on which keys were
        used, and what tells of the refusals.
        """
        assert self._read() == self._before

    def _read(self) -> dict[str, list[Any]]:
        with closing(sqlite3.connect(f"file:{self._store}?mode=ro", uri=True)) as store:
            tables = [
                name for (name,) in store.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            ]
            return {
                name: [row for row in store.execute(f"SELECT * FROM {name}") if "policy_rejection" not in row]
                for name in tables
                if name not in _NOT_ABOUT_REQUESTS
            }


@pytest.fixture
def no_bugs(caplog: pytest.LogCaptureFixture) -> Any:
    """Nothing is logged as a bug of ours."""
    yield
    assert [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR] == []


def refused(answer: httpx.Response, status: int, sentence: str = "") -> None:
    """With that status, and a problem that says the sentence, in the shape of the path's family."""
    where = f"{answer.request.method} {answer.request.url.path[:80]}"
    assert answer.status_code == status, (where, answer.text[:300])
    assert answer.headers["content-type"] == "application/json", where
    body = answer.json()
    assert set(body) == {"errors"}, where
    assert "Traceback" not in answer.text
    assert len(answer.content) < 20_000, where
    for problem in body["errors"]:
        assert set(problem) <= {"message", "description", "code", "param", "value", "part", "line"}, where
        assert isinstance(problem["message"], str)
        told_in_three = not says_message_alone(answer.request.url.path) and status in (404, 409, 422)
        assert not told_in_three or {"description", "code"} <= set(problem), (where, problem)
    said = [f"{problem['message']} {problem.get('description', '')}" for problem in body["errors"]]
    assert any(sentence in one for one in said), (where, said)


@pytest.mark.usefixtures("no_bugs")
@pytest.mark.parametrize("name", TABLES)
async def test_a_bad_request_is_refused_and_changes_nothing(
    relay: RelayHarness, tmp_path: Path, name: str
) -> None:
    await furnish(relay)
    key = await relay.make_key(is_operator=True) if name == OPERATORS else None
    watch = Watch(tmp_path)
    async with relay.api(key=key) as api:
        for request, body, status, sentence in TABLES[name]:
            method, path = request.split(" ", 1)
            refused(await api.request(method, path, content=encoded(body), headers=JSON), status, sentence)
            watch.check()


async def test_the_tables_leave_out_no_route_that_takes_something(relay: RelayHarness) -> None:
    asked = {row[0].partition("?")[0] for table in TABLES.values() for row in table}
    with_body = takes_body(relay)
    for method, path in operations(relay):
        if "{" in path or (method, path) in with_body:
            pattern = f"{method} " + re.sub(r"\{\w+\}", "[^/]+", path)
            assert any(re.fullmatch(pattern, request) for request in asked), (method, path)


@pytest.mark.usefixtures("no_bugs")
async def test_no_route_takes_a_body_that_is_no_json_object(relay: RelayHarness, tmp_path: Path) -> None:
    known = await furnish(relay)
    key = await relay.make_key(is_operator=True)
    watch = Watch(tmp_path)
    async with relay.api(key=key) as api:
        for body in NO_OBJECTS.values():
            for method, path in takes_body(relay, needs_one=not body.strip()):
                if b"\\u" in body and path == "/transmissions":
                    # There it is a member that nobody knows, and read over.
                    continue
                answer = await api.request(method, path.format(**known), content=body, headers=JSON)
                is_text = b"\\u" not in body and _is_utf8(body)
                sentence = "Problems parsing request as json" if is_text else "Non-UTF-8 data found in json"
                is_told_alone = says_message_alone(f"/api/v1{path}")
                refused(answer, 422 if is_text and not is_told_alone else 400, sentence)
            watch.check()


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.usefixtures("no_bugs")
async def test_no_route_takes_a_body_of_another_type(relay: RelayHarness, tmp_path: Path) -> None:
    known = await furnish(relay)
    key = await relay.make_key(is_operator=True)
    watch = Watch(tmp_path)
    async with relay.api(key=key) as api:
        for kind in (
            "text/plain",
            "",
            "application/x-www-form-urlencoded",
            "json",
            "application/jsonp",
            "\xff",
        ):
            for method, path in takes_body(relay):
                headers = {b"Content-Type": kind.encode("latin-1")}
                answer = await api.request(method, path.format(**known), content=b"{}", headers=headers)
                refused(answer, 415, "Unsupported Content-Type header")
    watch.check()


@pytest.mark.usefixtures("no_bugs")
async def test_no_route_takes_a_bad_header(relay: RelayHarness, tmp_path: Path) -> None:
    known = dict.fromkeys(await furnish(relay), "1")
    watch = Watch(tmp_path)
    async with relay.api() as api:
        for header, value, status, sentence in BAD_HEADERS:
            for method, path in operations(relay):
                if path not in OPEN:
                    headers = {header: value}
                    answer = await api.request(method, path.format(**known), content=b"{}", headers=headers)
                    refused(answer, status, sentence)
            watch.check()


@pytest.mark.usefixtures("no_bugs")
async def test_a_bad_idempotency_key_does_nothing(relay: RelayHarness, tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    async with relay.api() as api:
        for key in (b"", b"x" * 256, b"\xff", b"a\tb"):
            for path in ("/transmissions", "/account/add-ons/dedicated_ips"):
                answer = await api.post(path, content=b"{}", headers={b"Idempotency-Key": key})
                refused(answer, 400, "Idempotency-Key must be 1 to 255 printable characters")
    watch.check()


@pytest.mark.usefixtures("no_bugs")
async def test_a_request_that_is_refused_may_be_repeated_with_its_idempotency_key(
    relay: RelayHarness, tmp_path: Path
) -> None:
    watch = Watch(tmp_path)
    async with relay.api() as api:
        for _ in range(2):
            refused(await api.post("/transmissions", content=b"{}", headers={"Idempotency-Key": "k"}), 422)
            watch.check()


@pytest.mark.usefixtures("no_bugs")
async def test_a_method_that_a_path_does_not_have_is_told_with_those_that_it_has(
    relay: RelayHarness, tmp_path: Path
) -> None:
    known = await furnish(relay)
    watch = Watch(tmp_path)
    allowed: dict[str, set[str]] = {}
    for one, path in operations(relay):
        allowed.setdefault(path, set()).add(one)
    # Elsewhere the name of a subaccount, or a recipient, stands in its place.
    del allowed["/subaccounts/summary"], allowed["/suppression-list/summary"]
    async with relay.api() as api:
        for path, methods in allowed.items():
            url = path if path in OPEN else f"/api/v1{path.format(**known)}"
            for method in METHODS - methods:
                answer = await api.request(method, f"http://relay.test{url}", content=b"{}")
                refused(answer, 405, f"{method} is not supported on {url}")
                assert answer.headers["allow"] == ", ".join(sorted(methods))
    watch.check()


@pytest.mark.usefixtures("no_bugs")
async def test_a_path_that_is_not_there_is_not_found(relay: RelayHarness) -> None:
    async with relay.api() as api:
        for path in ("", "/", "/nothing", "/ip-pools/a/b", "//ip-pools", "/%00", "/%ff", "/" + "x" * 9000):
            refused(await api.get(f"http://relay.test/api/v1{path}"), 404, "resource not found")


@pytest.mark.usefixtures("no_bugs")
async def test_a_subaccounts_key_is_refused_what_is_the_accounts(relay: RelayHarness, tmp_path: Path) -> None:
    known = await furnish(relay)
    key = await relay.make_key(subaccount=123)
    watch = Watch(tmp_path)
    asked = [one for one in operations(relay) if one[1].startswith(ACCOUNTS_OWN)]
    async with relay.api(key=key) as api:
        for method, path in asked:
            answer = await api.request(method, path.format(**known), content=b"{}", headers=JSON)
            refused(answer, 403, "Forbidden.")
    assert len(asked) >= 10
    watch.check()


@pytest.mark.usefixtures("no_bugs")
async def test_a_key_without_grants_is_refused_everything(relay: RelayHarness, tmp_path: Path) -> None:
    known = await furnish(relay)
    key = await relay.make_key(grants=["usage/view"])
    watch = Watch(tmp_path)
    async with relay.api(key=key) as api:
        for method, path in operations(relay):
            if path not in OPEN:
                answer = await api.request(method, path.format(**known), content=b"{}", headers=JSON)
                refused(answer, 403, "Forbidden.")
                before, _, grants = described(answer).partition(" grant ")
                assert before == "the key lacks the"
                assert set(grants.split(" or ")) <= GRANTS, (method, path, grants)
    watch.check()
