"""`/ip-pools`, with SparkPost's texts to the letter (R8, R9, R16, R29)."""

import pytest

from relay.domain.changes import Put
from relay.domain.directory import Check, DkimKey, SendingDomain
from relay.domain.ids import AccountId
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from tests.support.rest import refusal, results

ACME = AccountId(1)


async def test_all_pools_are_listed_with_their_ips_and_default_among_them(relay: RelayHarness) -> None:
    async with relay.api() as api:
        pools = {pool["id"]: pool for pool in results(await api.get("/ip-pools"))}
    assert set(pools) == {"default", "marketing", "receipts", "quiet"}
    assert pools["quiet"] == {"id": "quiet", "name": "Quiet", "ips": []}
    assert pools["default"]["name"] == "Default"
    assert pools["receipts"]["ips"] == [
        {"external_ip": "127.0.0.13", "hostname": "mta13.relay.test", "auto_warmup_enabled": False}
    ]


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        pytest.param("Above Ground", "above_ground", id="two words"),
        pytest.param("Olympic", "olympic", id="one word"),
        pytest.param("My-Other New_IP Pool", "my_other_new_ip_pool", id="20 characters"),
    ],
)
async def test_a_new_pool_gets_the_id_that_its_name_gives(
    relay: RelayHarness, name: str, id_: str
) -> None:  # R8, R9
    async with relay.api() as api:
        assert results(await api.post("/ip-pools", json={"name": name})) == {"id": id_}
        assert results(await api.get(f"/ip-pools/{id_}")) == {"id": id_, "name": name, "ips": []}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        pytest.param({}, 400, "name is a required field", id="no name"),
        pytest.param({"name": None}, 400, "name is a required field", id="null"),
        pytest.param({"Name": "News"}, 400, "name is a required field", id="keys are case-sensitive"),
        pytest.param({"name": 5}, 400, "name must be a string", id="a number"),
        pytest.param({"name": "x" * 21}, 400, "name must be 20 characters or less", id="R8, 21"),
        *(
            pytest.param(
                {"name": name}, 400, "name must contain only letters, numbers and spaces", id=repr(name)
            )
            for name in ("", " ", " a", "a  b", "a.b", "Größe", "a\n", "--", "٣")
        ),
        pytest.param({"name": "marketing"}, 409, "IP Pool marketing already exists.", id="taken"),
        pytest.param({"name": "DEFAULT"}, 400, "IP Pool default is reserved.", id="default"),
        pytest.param({"name": "sp shared"}, 400, "IP Pool sp_shared is reserved.", id="sp_shared"),
        pytest.param({"name": "Shared Pool"}, 400, "IP Pool shared_pool is reserved.", id="shared_pool"),
        pytest.param(
            {"name": "News", "signing_domain": "nowhere.test"},
            400,
            "signing_domain must be a DKIM verified sending domain",
            id="an unknown signing domain",
        ),
        pytest.param(
            {"name": "News", "fbl_signing_domain": "unverified.test"},
            400,
            "fbl_signing_domain must be a DKIM verified sending domain",
            id="an unverified signing domain",
        ),
        pytest.param(
            {"name": "News", "auto_warmup_overflow_pool": "nope"},
            400,
            "Auto Warmup Overflow Pool nope does not exist.",
            id="an unknown overflow pool",
        ),
        pytest.param(
            {"name": "News", "auto_warmup_overflow_pool": "news"},
            400,
            "news cannot be its own overflow pool",
            id="its own overflow",
        ),
        pytest.param(
            {"name": "News", "auto_warmup_overflow_pool": "quiet"},
            400,
            "quiet has an overflow pool and cannot be an overflow pool",
            id="two steps of overflow",
        ),
    ],
)
async def test_a_pool_that_breaks_a_rule_is_refused_in_the_contracts_words(
    relay: RelayHarness, body: dict[str, object], status: int, message: str
) -> None:
    await relay.apply(Put(SendingDomain(ACME, "unverified.test")))
    async with relay.api() as api:
        quiet = {"name": "Quiet", "auto_warmup_overflow_pool": "receipts"}
        results(await api.put("/ip-pools/quiet", json=quiet))
        revision = relay.inside.directory.snapshot.revision
        assert refusal(await api.post("/ip-pools", json=body)) == (status, message)
    assert relay.inside.directory.snapshot.revision == revision


@pytest.mark.parametrize(
    ("pool", "body", "status", "message"),
    [
        pytest.param(
            "default", {"name": "X"}, 400, "IP Pool default is reserved and cannot be updated.", id="default"
        ),
        pytest.param("nope", {"name": "X"}, 404, "IP Pool nope does not exist.", id="unknown"),
        pytest.param("news", {"name": "X"}, 404, "IP Pool news does not exist.", id="another account's"),
        pytest.param("Quiet", {"name": "X"}, 404, "IP Pool Quiet does not exist.", id="paths have a case"),
        pytest.param("quiet", {}, 400, "name is a required field", id="no name"),
        pytest.param(
            "receipts",
            {"name": "Receipts", "auto_warmup_overflow_pool": "marketing"},
            400,
            "receipts is an overflow pool and cannot have an overflow pool",
            id="an overflow pool",
        ),
        pytest.param(
            "marketing",
            {"name": "Marketing", "auto_warmup_overflow_pool": "quiet"},
            400,
            "quiet has an overflow pool and cannot be an overflow pool",
            id="into a pool with overflow",
        ),
    ],
)
async def test_an_update_that_breaks_a_rule_is_refused(
    relay: RelayHarness, pool: str, body: dict[str, object], status: int, message: str
) -> None:
    async with relay.api() as api:
        results(
            await api.put("/ip-pools/quiet", json={"name": "Quiet", "auto_warmup_overflow_pool": "receipts"})
        )
        assert refusal(await api.put(f"/ip-pools/{pool}", json=body)) == (status, message)


async def test_a_renamed_pool_keeps_its_id_and_empty_texts_remove(relay: RelayHarness) -> None:
    key = DkimKey("s1", "public", "private")
    await relay.apply(Put(SendingDomain(ACME, "acme.test", dkim=key, dkim_status=Check.VALID)))
    async with relay.api() as api:
        full = {
            "name": "Letters",
            "signing_domain": "acme.test",
            "fbl_signing_domain": "acme.test",
            "auto_warmup_overflow_pool": "shared pool",
        }
        # The web app sends the whole pool back, ips and all.
        sent = {**full, "id": "other", "ips": [], "surprise": {"a": 1}}
        assert results(await api.put("/ip-pools/quiet", json=sent)) == {"id": "quiet", **full}
        assert results(await api.get("/ip-pools/quiet")) == {"id": "quiet", "ips": [], **full}
        emptied = {"name": "Letters", "signing_domain": "", "auto_warmup_overflow_pool": ""}
        assert results(await api.put("/ip-pools/quiet", json=emptied)) == {"id": "quiet", **emptied}
        assert results(await api.get("/ip-pools/quiet")) == {
            "id": "quiet",
            "name": "Letters",
            "ips": [],
            "fbl_signing_domain": "acme.test",
        }


async def test_enterprise_has_no_shared_pool_to_overflow_into(relay: RelayHarness) -> None:
    async with relay.api(3) as api:
        answer = await api.post(
            "/ip-pools", json={"name": "More", "auto_warmup_overflow_pool": "shared pool"}
        )
    assert refusal(answer) == (400, "Auto Warmup Overflow Pool shared pool does not exist.")


async def test_a_pool_may_be_made_on_the_free_plan(relay: RelayHarness) -> None:
    async with relay.api(5) as api:
        assert results(await api.post("/ip-pools", json={"name": "News"})) == {"id": "news"}


async def test_an_unknown_pool_is_not_found(relay: RelayHarness) -> None:
    async with relay.api() as api:
        assert refusal(await api.get("/ip-pools/nope")) == (404, "IP pool not found.")
        assert refusal(await api.delete("/ip-pools/nope")) == (404, "IP Pool nope does not exist.")
        assert refusal(await api.delete("/ip-pools/default")) == (400, "IP Pool default is reserved.")


async def test_the_ips_of_a_deleted_pool_go_to_default_and_its_overflow_is_gone(
    relay: RelayHarness,
) -> None:  # R16, A9, A31
    async with relay.api() as api:
        body = {"name": "Quiet", "auto_warmup_overflow_pool": "marketing"}
        results(await api.put("/ip-pools/quiet", json=body))
        gone = await api.delete("/ip-pools/marketing")
        assert (gone.status_code, gone.content) == (204, b"")
        default = results(await api.get("/ip-pools/default"))
        assert {ip["external_ip"] for ip in default["ips"]} == {"127.0.0.11", "127.0.0.12", "127.0.0.14"}
        assert "auto_warmup_overflow_pool" not in results(await api.get("/ip-pools/quiet"))
    assert relay.inside.directory.snapshot.subaccounts[ACME, 123].ip_pool == "marketing"  # type: ignore[index]


async def test_a_pool_made_by_rest_takes_the_next_message(relay: RelayHarness, mta: FakeMta) -> None:
    async with relay.api() as api:
        pool = results(await api.post("/ip-pools", json={"name": "Brand New"}))["id"]
        results(await api.put("/sending-ips/127.0.0.14", json={"ip_pool": pool}))
    await relay.inject("bob@gmail.example", ip_pool=pool)
    (attempt,) = await mta.attempts_reached(1)
    assert attempt.peer_ip == "127.0.0.14"  # R9, R17, R18
