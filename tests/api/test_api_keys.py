"""`/api-keys`."""

import pytest

from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.injection import InjectionRefusedError
from tests.support.rest import refusal, results


async def test_a_new_key_is_shown_once_and_works_at_once(relay: RelayHarness, mta: FakeMta) -> None:
    owner = await relay.make_key()
    async with relay.api(key=owner) as api:
        body = {"label": "news", "grants": ["smtp/inject"], "valid_ips": ["127.0.0.0/8"], "is_operator": True}
        made = results(await api.post("/api-keys", json=body))
        assert len(made["key"]) == 40
        assert made["short_key"] == made["key"][:4]
        shown = results(await api.get(f"/api-keys/{made['id']}"))
        assert shown == {name: value for name, value in made.items() if name != "key"}
        assert shown["grants"] == ["smtp/inject"]
        assert shown in results(await api.get("/api-keys"))
        assert made["key"] not in (await api.get("/api-keys")).text
        login = ("SMTP_Injection", made["key"])
        await relay.inject("bob@gmail.example", login=login)
        await mta.attempts_reached(1)
        assert (await api.delete(f"/api-keys/{made['id']}")).status_code == 204
        with pytest.raises(InjectionRefusedError):
            await relay.inject("bob@gmail.example", login=login)
        unknown = (404, f"API key {made['id']} does not exist.")
        assert refusal(await api.get(f"/api-keys/{made['id']}")) == unknown
        assert refusal(await api.delete(f"/api-keys/{made['id']}")) == unknown


async def test_a_key_makes_none_that_may_do_more_than_itself(relay: RelayHarness) -> None:
    key = await relay.make_key(1, ["api_keys/manage", "smtp/inject"])
    async with relay.api(key=key) as api:
        more = await api.post("/api-keys", json={"label": "x", "grants": ["ip_pools/manage", "smtp/inject"]})
        assert refusal(more) == (403, "Forbidden.")
        (problem,) = more.json()["errors"]
        assert problem["description"] == "grants exceed those of the key in use: ip_pools/manage"
        results(await api.post("/api-keys", json={"label": "x", "grants": ["smtp/inject"]}))


async def test_keys_of_a_subaccount_are_reached_by_the_header(relay: RelayHarness) -> None:
    key = await relay.make_key()
    async with relay.api(key=key, subaccount=124) as part, relay.api(key=key, subaccount=0) as account:
        made = results(await part.post("/api-keys", json={"label": "x", "grants": ["smtp/inject"]}))
        assert made["subaccount_id"] == 124
        assert [entry["id"] for entry in results(await part.get("/api-keys"))] == [made["id"]]
        assert all("subaccount_id" not in entry for entry in results(await account.get("/api-keys")))
        assert (await account.delete(f"/api-keys/{made['id']}")).status_code == 404
        # What only accounts may have.
        refused = await part.post("/api-keys", json={"label": "x", "grants": ["ip_pools/view"]})
        assert refusal(refused)[0] == 400
        assert (await part.delete(f"/api-keys/{made['id']}")).status_code == 204


async def test_operators_keys_are_hidden_from_the_account(relay: RelayHarness) -> None:
    text = await relay.make_key(1, is_operator=True)
    async with relay.api() as api, relay.api(key=text) as operator:
        shown = {entry["id"] for entry in results(await api.get("/api-keys"))}
        (hidden,) = {entry["id"] for entry in results(await operator.get("/api-keys"))} - shown
        assert (await api.delete(f"/api-keys/{hidden}")).status_code == 404


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param({"grants": ["smtp/inject"]}, "label is a required field", id="no label"),
        pytest.param({"label": "x"}, "grants is a required field", id="no grants"),
        pytest.param({"label": "x", "grants": ["all"]}, "grants must be an array of some of ", id="unknown"),
        pytest.param({"label": "x", "grants": []}, "grants must be an array of some of ", id="empty"),
        pytest.param(
            {"label": "", "grants": ["ip_pools/view"]},
            "label must be a string of 1 to 64 printable characters",
            id="label",
        ),
        pytest.param(
            {"label": "x", "grants": ["ip_pools/view"], "valid_ips": ["everywhere"]},
            "valid_ips must be an array of addresses and networks",
            id="valid_ips",
        ),
    ],
)
async def test_a_key_that_breaks_a_rule_is_not_made(
    relay: RelayHarness, body: dict[str, object], message: str
) -> None:
    async with relay.api() as api:
        status, told = refusal(await api.post("/api-keys", json=body))
    assert status == 400
    assert told.startswith(message)
