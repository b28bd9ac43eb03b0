"""`/subaccounts`, with SparkPost's texts to the letter (R23-R26)."""

from typing import Any

import pytest

from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.injection import InjectionRefusedError
from tests.support.rest import refusal, results

GRANTS = (
    "'smtp/inject', 'sending_domains/manage', 'tracking_domains/view', 'tracking_domains/manage', "
    "'message_events/view', 'suppression_lists/manage', 'transmissions/view', 'transmissions/modify', "
    "'webhooks/view', 'webhooks/modify', 'templates/preview'"
)
BAD_GRANTS = f"Invalid `key_grants value`. Supported values are: {GRANTS}"
KEY = {"key_label": "first", "key_grants": ["smtp/inject"]}


async def test_a_new_subaccount_gets_the_next_number_and_a_key_that_sends(
    relay: RelayHarness, mta: FakeMta
) -> None:  # R23, R26
    async with relay.api(key=await relay.make_key()) as api:
        made = results(await api.post("/subaccounts", json={"name": "Shop", "ip_pool": "receipts", **KEY}))
        assert made == {
            "subaccount_id": 126,
            "key": made["key"],
            "label": "first",
            "short_key": made["key"][:4],
        }
        assert results(await api.get("/subaccounts/126")) == {
            "id": 126,
            "name": "Shop",
            "status": "active",
            "compliance_status": "active",
            "ip_pool": "receipts",
        }
    await relay.inject("bob@gmail.example", login=("SMTP_Injection", made["key"]))
    (attempt,) = await mta.attempts_reached(1)
    assert attempt.peer_ip == "127.0.0.13"
    with pytest.raises(InjectionRefusedError):
        await relay.inject("bob@gmail.example", ip_pool="marketing", login=("SMTP_Injection", made["key"]))


async def test_no_key_is_made_unless_it_is_wanted(relay: RelayHarness) -> None:
    keys = len(relay.inside.directory.snapshot.keys)
    async with relay.api() as api:
        made = results(await api.post("/subaccounts", json={"name": "Shop", "setup_api_key": False}))
    assert made == {"subaccount_id": 126}
    assert len(relay.inside.directory.snapshot.keys) == keys


@pytest.mark.parametrize(
    ("body", "problems"),
    [
        pytest.param(
            {},
            {
                ("`name` is a required field", "name"),
                ("`key_label` is a required field", "key_label"),
                ("`key_grants` is a required field", "key_grants"),
            },
            id="nothing: all at once",
        ),
        pytest.param({**KEY}, {("`name` is a required field", "name")}, id="no name"),
        pytest.param(
            {"name": "x" * 65, **KEY}, {("`name` must be 64 characters or less", "name")}, id="long name"
        ),
        pytest.param(
            {"name": "a\nb", **KEY},
            {("`name` must have 1 to 64 printable characters", "name")},
            id="two lines",
        ),
        pytest.param(
            {"name": "A", "key_label": "k", "key_grants": ["ip_pools/manage"]},
            {(BAD_GRANTS, "key_grants")},
            id="a grant of accounts",
        ),
        pytest.param(
            {"name": "A", "key_label": "k", "key_grants": "smtp/inject"},
            {(BAD_GRANTS, "key_grants")},
            id="grants that are no list",
        ),
        pytest.param(
            {"name": "A", "key_label": "k", "key_grants": [{"a": []}]},
            {(BAD_GRANTS, "key_grants")},
            id="grants that are no texts",
        ),
        pytest.param(
            {"name": "A", "key_label": "k", "key_grants": []},
            {("`key_grants` is a required field", "key_grants")},
            id="no grants",
        ),
        pytest.param(
            {"name": "A", **KEY, "key_valid_ips": "10.0.0.0/8"},
            {("`key_valid_ips` must be an Array", "key_valid_ips")},
            id="clients that are no list",
        ),
        pytest.param(
            {"name": "A", **KEY, "key_valid_ips": ["10.0.0.0/33"]},
            {("`key_valid_ips` must have valid netmask values", "key_valid_ips")},
            id="a netmask that is none",
        ),
        pytest.param(
            {"name": "A", "setup_api_key": "no", **KEY},
            {("`setup_api_key` must be a boolean", "setup_api_key")},
            id="setup_api_key",
        ),
        pytest.param(
            {"name": "A", **KEY, "ip_pool": "p" * 21},
            {("ip_pool must be 20 characters or less", "ip_pool")},
            id="long pool",
        ),
        pytest.param(
            {"name": "A", **KEY, "ip_pool": "a-b"},
            {("ip_pool must be alphanumeric and underscore", "ip_pool")},
            id="pool of other characters",
        ),
        pytest.param(
            {"name": "A", **KEY, "ip_pool": 7},
            {("ip_pool must be alphanumeric and underscore", "ip_pool")},
            id="pool that is no text",
        ),
    ],
)
async def test_what_is_wrong_is_told_all_at_once_and_nothing_is_made(
    relay: RelayHarness, body: dict[str, Any], problems: set[tuple[str, str]]
) -> None:
    before = relay.inside.directory.snapshot.revision
    async with relay.api() as api:
        answer = await api.post("/subaccounts", json=body)
    assert answer.status_code == 400
    told = answer.json()["errors"]
    assert {(problem["message"], problem["param"]) for problem in told} == problems
    assert all(problem.get("value") == body.get(problem["param"]) for problem in told)
    assert relay.inside.directory.snapshot.revision == before


async def test_a_pool_is_assigned_and_unassigned_without_asking_whether_it_exists(
    relay: RelayHarness, mta: FakeMta
) -> None:  # R23, R24, R25, A9
    said = {"message": "Successfully updated subaccount information"}
    async with relay.api() as api:
        assert results(await api.put("/subaccounts/124", json={"ip_pool": "receipts"})) == said
        await relay.inject("one@gmail.example", subaccount=124)
        results(await api.put("/subaccounts/124", json={"ip_pool": "nowhere"}))
        with pytest.raises(InjectionRefusedError):
            await relay.inject("two@gmail.example", subaccount=124)
        results(await api.put("/subaccounts/124", json={"ip_pool": ""}))
        assert "ip_pool" not in results(await api.get("/subaccounts/124"))
    await relay.inject("three@gmail.example", subaccount=124)
    attempts = await mta.attempts_reached(2)
    assert {attempt.peer_ip for attempt in attempts} == {"127.0.0.13", "127.0.0.14"}


async def test_a_suspended_subaccount_reads_and_sends_no_more(relay: RelayHarness) -> None:
    key = await relay.make_key(1, ["smtp/inject", "api_keys/manage"], subaccount=124)
    async with relay.api() as api, relay.api(key=key) as part:
        results(await api.put("/subaccounts/124", json={"status": "suspended", "name": "Bad"}))
        assert results(await api.get("/subaccounts/124"))["status"] == "suspended"
        results(await part.get("/api-keys"))
        made = await part.post("/api-keys", json={"label": "x", "grants": ["smtp/inject"]})
        assert refusal(made) == (403, "Forbidden.")
        with pytest.raises(InjectionRefusedError):
            await relay.inject("two@gmail.example", subaccount=124)
        results(await api.put("/subaccounts/124", json={"status": "active"}))
    await relay.inject("two@gmail.example", subaccount=124)


@pytest.mark.parametrize(
    ("number", "body", "status", "message"),
    [
        pytest.param("7", {"name": "A"}, 404, "Subaccount 7 does not exist.", id="unknown"),
        pytest.param("x", {"name": "A"}, 404, "Subaccount x does not exist.", id="no number"),
        pytest.param("0124", {"name": "A"}, 404, "Subaccount 0124 does not exist.", id="another spelling"),
        pytest.param(
            "124",
            {"status": "gone"},
            400,
            "`status` must be one of 'active', 'suspended', 'terminated'",
            id="status",
        ),
        pytest.param("124", {"ip_pool": "é"}, 400, "ip_pool must be alphanumeric and underscore", id="pool"),
    ],
)
async def test_an_update_that_breaks_a_rule_is_refused(
    relay: RelayHarness, number: str, body: dict[str, object], status: int, message: str
) -> None:
    async with relay.api() as api:
        assert refusal(await api.put(f"/subaccounts/{number}", json=body)) == (status, message)


async def test_the_list_is_whole_until_a_parameter_asks_for_pages(relay: RelayHarness) -> None:
    async with relay.api() as api:
        whole = (await api.get("/subaccounts", params={"option": "deliverability", "other": "1"})).json()
        assert set(whole) == {"results"}
        assert [entry["id"] for entry in whole["results"]] == [125, 124, 123]
        assert results(await api.get("/subaccounts/summary")) == {"total": 3}
        page = (await api.get("/subaccounts", params={"cursor": "initial"})).json()
        assert page == {"results": whole["results"], "total_count": 3, "links": {}}


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", ["created_at", "updated_at", "id", "name"])
async def test_pages_hold_every_subaccount_once_in_order(relay: RelayHarness, sort: str, order: str) -> None:
    async with relay.api() as api:
        for number in range(4):
            relay.clock.advance(seconds=number % 2)
            results(
                await api.post("/subaccounts", json={"name": f"Shop {number % 3}", "setup_api_key": False})
            )
        results(await api.put("/subaccounts/126", json={"name": "Shop 9"}))
        whole = results(await api.get("/subaccounts", params={"sort_by": sort, "order": order}))
        assert len(whole) == 7
        found = []
        link: str | None = f"/api/v1/subaccounts?sort_by={sort}&order={order}&per_page=2"
        for _ in range(5):
            if link is None:
                break
            page = (await api.get(f"http://relay.test{link}")).json()
            assert page["total_count"] == 7
            found += page["results"]
            link = page["links"].get("next")
    assert link is None
    assert found == whole


@pytest.mark.parametrize(
    ("params", "ids"),
    [
        pytest.param({"ip_pool": "Marketing"}, [123], id="ip_pool"),
        pytest.param({"status": "suspended"}, [125], id="status"),
        pytest.param({"name": "joe"}, [123], id="name"),
        pytest.param({"ids": "125,123,999"}, [125, 123], id="ids"),
        pytest.param({"ids": "124", "name": "joe"}, [], id="two filters"),
    ],
)
async def test_a_filter_leaves_what_it_names(
    relay: RelayHarness, params: dict[str, str], ids: list[int]
) -> None:
    async with relay.api() as api:
        results(await api.put("/subaccounts/125", json={"status": "suspended"}))
        found = (await api.get("/subaccounts", params=params)).json()
    assert [entry["id"] for entry in found["results"]] == ids
    assert found["total_count"] == len(ids)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        pytest.param({"per_page": "0"}, "per_page must be a number from 1 to 100", id="per_page 0"),
        pytest.param({"per_page": "101"}, "per_page must be a number from 1 to 100", id="per_page 101"),
        pytest.param({"per_page": "²"}, "per_page must be a number from 1 to 100", id="no digit"),
        pytest.param(
            {"sort_by": "ip_pool"}, "sort_by must be one of created_at, updated_at, id, name", id="sort_by"
        ),
        pytest.param({"order": "up"}, "order must be one of asc, desc", id="order"),
        pytest.param({"status": "x"}, "status must be one of active, suspended, terminated", id="status"),
        pytest.param({"ids": "1,,2"}, "ids must be numbers, separated by commas", id="ids"),
        pytest.param({"cursor": "x"}, "cursor is not valid", id="cursor"),
        pytest.param({"cursor": "WyJhIiwxXQ"}, "cursor is not valid", id="cursor of another order"),
        pytest.param({"cursor": "é" * 2000}, "cursor is not valid", id="long cursor"),
    ],
)
async def test_a_parameter_that_means_nothing_is_refused(
    relay: RelayHarness, params: dict[str, str], message: str
) -> None:
    async with relay.api() as api:
        assert refusal(await api.get("/subaccounts", params=params)) == (400, message)


async def test_the_header_shows_one_subaccount_and_lets_it_change_nothing(relay: RelayHarness) -> None:
    async with relay.api(subaccount=124) as api:
        assert [entry["id"] for entry in results(await api.get("/subaccounts"))] == [124]
        assert results(await api.get("/subaccounts/summary")) == {"total": 1}
        assert refusal(await api.get("/subaccounts/123")) == (404, "Subaccount 123 does not exist.")
        assert refusal(await api.put("/subaccounts/124", json={"name": "A"})) == (403, "Forbidden.")
