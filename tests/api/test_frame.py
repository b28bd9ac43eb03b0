"""What holds for all resources: bodies, methods, paths, limits, and bugs of ours."""

import json
import logging
from collections.abc import AsyncIterator

import httpx
import pytest

from relay.domain import errors
from relay.domain.words import find_words
from relay.frames.rest.errors import api_error
from relay.testing.harness import RelayHarness
from tests.support.rest import refusal, results

POOLS, OTHERS = "/ip-pools", "/transmissions"


@pytest.mark.parametrize(
    "path", ["/ip-pools/", "/ip-pools///", "/ip-pools/default/", "/subaccounts/summary/"]
)
async def test_a_trailing_slash_is_answered_directly(relay: RelayHarness, path: str) -> None:
    async with relay.api() as api:
        results(await api.get(path))


async def test_paths_are_case_sensitive(relay: RelayHarness) -> None:
    async with relay.api() as api:
        assert (await api.get("/IP-Pools")).status_code == 404


async def test_a_method_that_is_not_supported_is_told_with_those_that_are(relay: RelayHarness) -> None:
    async with relay.api() as api:
        answer = await api.patch("/ip-pools/default/")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "DELETE, GET, PUT"
    assert answer.json()["errors"] == [
        {
            "message": "invalid http method",
            "description": "PATCH is not supported on /api/v1/ip-pools/default",
            "code": "1102",
        }
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"", "Problems parsing request as json", id="empty"),
        pytest.param(b"{", "Problems parsing request as json", id="cut off"),
        pytest.param(b"[]", "Problems parsing request as json", id="a list"),
        pytest.param(b'{"name": NaN}', "Problems parsing request as json", id="NaN"),
        pytest.param(b'{"a": ' + b"[" * 9_000, "Problems parsing request as json", id="deep"),
        pytest.param(
            b'{"a": [' + b"[]," * 100_000 + b"0]}",
            "a body may have at most 10,000 json values",
            id="many values",
        ),
        pytest.param(b'{"a": ' + b"9" * 5000 + b"}", "Problems parsing request as json", id="a long number"),
        pytest.param('{"name": "é"}'.encode("latin-1"), "Non-UTF-8 data found in json", id="Latin-1"),
        pytest.param('{"name": "é"}'.encode("utf-16"), "Non-UTF-8 data found in json", id="UTF-16"),
        pytest.param(rb'{"name": "\ud800"}', "Non-UTF-8 data found in json", id="half a surrogate pair"),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(
    relay: RelayHarness, body: bytes, message: str
) -> None:
    async with relay.api() as api:
        answer = await api.post(POOLS, content=body, headers={"Content-Type": "application/json"})
    assert refusal(answer) == (400, message)
    assert answer.json() == {"errors": [{"message": message}]}


async def test_a_whole_surrogate_pair_is_a_character(relay: RelayHarness) -> None:
    async with relay.api() as api:
        body = rb'{"name": "\ud83d\ude00"}'
        answer = await api.post(POOLS, content=body, headers={"Content-Type": "application/json"})
    assert refusal(answer) == (400, "name must contain only letters, numbers and spaces")


@pytest.mark.parametrize(
    ("kind", "is_json"),
    [
        pytest.param("application/json", True, id="JSON"),
        pytest.param("Application/JSON; charset=utf-8", True, id="with a charset"),
        pytest.param(None, True, id="not said"),
        pytest.param("application/x-www-form-urlencoded", False, id="a form, as curl says by default"),
        pytest.param("text/plain", False, id="text"),
        pytest.param("multipart/form-data; boundary=x", False, id="files"),
    ],
)
async def test_a_body_says_that_it_is_json(relay: RelayHarness, kind: str | None, is_json: bool) -> None:
    async with relay.api() as api:
        headers = {} if kind is None else {"Content-Type": kind}
        answer = await api.post(POOLS, content=b'{"name": "News"}', headers=headers)
    if is_json:
        assert results(answer) == {"id": "news"}
    else:
        assert refusal(answer) == (415, "Unsupported Content-Type header")
        assert answer.json()["errors"][0]["code"] == "1700"


async def test_a_long_body_is_refused_while_it_comes(relay: RelayHarness) -> None:
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b" " * 100_000

    async with relay.api() as api:
        headers = {"Content-Type": "application/json"}
        announced = await api.post(POOLS, content=b" " * ((1 << 20) + 1), headers=headers)
        assert refusal(announced) == (413, "Request body too large")
        unannounced = await api.post(POOLS, content=body(), headers=headers)
        assert refusal(unannounced) == (413, "Request body too large")
        results(await api.post(POOLS, content=b'{"name":"News"}' + b" " * 1_000_000, headers=headers))
    assert sent < 20


async def test_a_transmission_may_have_50_mb(relay: RelayHarness) -> None:
    """More is refused before it is sent, or where it goes past the limit."""
    whole = json.dumps(
        {
            "recipients": [{"address": "bob@b.example"}],
            "content": {"from": "a@acme.test", "subject": "s", "text": "t"},
        }
    ).encode()
    headers = {"Content-Type": "application/json"}
    async with relay.api() as api:
        path = "/transmissions"
        taken = await api.post(path, content=whole + b" " * (50_000_000 - len(whole)), headers=headers)
        assert results(taken)["total_accepted_recipients"] == 1
        refused = await api.post(path, content=whole + b" " * (50_000_001 - len(whole)), headers=headers)
        assert refusal(refused) == (413, "Request body too large")
        assert refused.json()["errors"][0]["description"] == "the body may have at most 50000000 bytes"


async def test_nobody_makes_us_read_a_body_without_a_key(relay: RelayHarness) -> None:
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        sent += 1
        yield b" " * 100_000

    transport = httpx.ASGITransport(relay.inside.http_app)
    async with httpx.AsyncClient(transport=transport, base_url="http://relay.test/api/v1") as api:
        assert (await api.post(POOLS, content=body())).status_code == 401
    assert sent == 0


async def test_bodies_share_the_memory_of_messages(relay: RelayHarness) -> None:
    async with relay.api() as api:
        budget = relay.inside.http_app.state.services.budget  # type: ignore[attr-defined]
        room = budget.room_bytes
        budget.count(room - 10)
        answer = await api.post(POOLS, json={"name": "Longer than ten"})
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert budget.room_bytes == 10
        budget.give_back(room - 10)
        results(await api.post(POOLS, json={"name": "News"}))
        assert budget.room_bytes == room


class TestRate:
    @pytest.fixture
    def relay_settings(self, relay_settings: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
        return {**relay_settings, "http": {"listen": "127.0.0.1:0", "requests_per_second": 0.2}}

    async def test_a_key_that_asks_too_often_waits_and_others_do_not(self, relay: RelayHarness) -> None:
        async with relay.api() as api, relay.api(2) as other:
            results(await api.get("/ip-pools"))
            results(await api.get("/ip-pools"))
            answer = await api.get("/ip-pools")
            assert refusal(answer) == (429, "Too many requests")
            assert 1 <= int(answer.headers["retry-after"]) <= 5
            results(await other.get("/ip-pools"))


async def test_a_bug_of_ours_tells_a_reference_and_nothing_else(
    relay: RelayHarness, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> None:
        raise ZeroDivisionError("secret")

    app = relay.inside.http_app
    app.add_api_route("/api/v1/broken", broken)  # type: ignore[attr-defined]
    async with relay.api() as api:
        with caplog.at_level(logging.ERROR):
            status, message = refusal(await api.get("/broken"))
    assert status == 500
    assert "secret" not in message
    reference = message.split()[-1]
    (record,) = [record for record in caplog.records if record.name == "relay.api"]
    assert f"reference={reference}" in record.getMessage()
    assert record.exc_info is not None


def _leaves(kind: type[errors.RelayError]) -> set[type[errors.RelayError]]:
    below = kind.__subclasses__()
    return {kind} if not below else set().union(*(_leaves(one) for one in below))


def test_every_refusal_that_a_client_can_cause_has_its_sentence() -> None:
    # These become outcomes of messages, or are the store's own; no request ends with one.
    inner = {
        errors.IdTaken,
        errors.PeerUnreachable,
        errors.RecipientsSuppressed,
        errors.SourceUnplumbed,
    }
    ours = {kind for kind in _leaves(errors.RelayError) if kind.__module__ == "relay.domain.errors"}
    assert {kind for kind in ours if find_words(kind, "rest") is None} <= inner


@pytest.mark.parametrize(
    ("error", "status", "description"),
    [
        pytest.param(errors.UnknownPool("News"), 422, "IP Pool 'News' does not exist", id="unknown"),
        pytest.param(errors.PoolEmpty("News"), 422, "IP Pool 'News' is empty", id="empty"),
        pytest.param(
            errors.SharedNotAllowed(), 422, "sp_shared is not a valid customer ip pool", id="shared"
        ),
    ],
)
def test_pools_that_cannot_be_used_are_told_in_the_second_familys_shape(
    error: errors.RelayError, status: int, description: str
) -> None:
    found = api_error(error, f"/api/v1{OTHERS}")
    assert found is not None
    (problem,) = found.problems
    assert (found.status, problem.code) == (status, "1300")
    assert (problem.message, problem.description) == ("invalid data format/type", description)


async def test_the_description_has_every_path_and_never_fastapis_own_refusal(relay: RelayHarness) -> None:
    async with relay.api() as api:
        answer = await api.get("http://relay.test/api/openapi.json")
        page = (await api.get("http://relay.test/api/docs")).text
    found = answer.json()
    assert "HTTPValidationError" not in json.dumps(found)
    for path, operations in found["paths"].items():
        assert path in page
        for method, operation in operations.items():
            if path.startswith("/api/v1/"):
                assert {"401", "403", "429"} <= set(operation["responses"]), (path, method)
            if method in ("post", "put"):
                assert operation["requestBody"]["required"], (path, method)
    assert "src=" not in page
    assert "http" not in page.split("<h1>")[0]


async def test_a_change_leaves_an_audit_line_with_the_key_that_made_it(relay: RelayHarness) -> None:
    async with relay.api() as api:
        results(await api.post(POOLS, json={"name": "News"}))
    audit = await relay.inside.store.directory.audit(limit=1)
    (line,) = audit
    assert (line.actor, line.what) == ("key:c100", "put pool 1/news")
    assert line.before is None
    assert '"name":"News"' in (line.after or "")
