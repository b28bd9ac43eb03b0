"""`/sending-ips`, with SparkPost's texts to the letter (R17, R28)."""

import pytest

from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.injection import InjectionRefusedError
from tests.support.rest import refusal, results

IP = "127.0.0.13"


async def test_the_accounts_dedicated_ips_are_listed_and_no_others(relay: RelayHarness) -> None:
    async with relay.api() as api:
        ips = results(await api.get("/sending-ips"))
        assert [ip["external_ip"] for ip in ips] == [f"127.0.0.{number}" for number in (11, 12, 13, 14)]
        assert results(await api.get(f"/sending-ips/{IP}")) == {
            "external_ip": IP,
            "hostname": "mta13.relay.test",
            "ip_pool": "receipts",
            "customer_provided": False,
            "auto_warmup_enabled": False,
        }


@pytest.mark.parametrize(
    ("address", "status", "message"),
    [
        pytest.param("mine", 400, "external ip must be a valid IPv4 address", id="no address"),
        pytest.param("::1", 400, "external ip must be a valid IPv4 address", id="IPv6"),
        pytest.param("127.0.0.011", 400, "external ip must be a valid IPv4 address", id="a leading zero"),
        pytest.param("127.0.0.77", 404, "Sending IP does not exist", id="nobody's"),
        pytest.param("127.0.0.21", 404, "Sending IP does not exist", id="another account's"),
        pytest.param("127.0.0.91", 404, "Sending IP does not exist", id="shared"),
    ],
)
async def test_what_is_none_of_the_accounts_ips_is_refused(
    relay: RelayHarness, address: str, status: int, message: str
) -> None:
    async with relay.api() as api:
        assert refusal(await api.get(f"/sending-ips/{address}")) == (status, message)
        moved = await api.put(f"/sending-ips/{address}", json={"ip_pool": "quiet"})
        assert refusal(moved) == (status, message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param({"ip_pool": "nope"}, "IP Pool nope does not exist.", id="unknown pool"),
        pytest.param({"ip_pool": "news"}, "IP Pool news does not exist.", id="another account's pool"),
        pytest.param({"ip_pool": ""}, "IP Pool  does not exist.", id="no pool"),
        pytest.param({"ip_pool": 7}, "ip_pool must be a string", id="a number"),
        pytest.param(
            {"auto_warmup_enabled": True},
            "Auto warm-up is not available on this installation.",
            id="warm-up on",
        ),
        pytest.param(
            {"ip_pool": "quiet", "auto_warmup_enabled": True},
            "Auto warm-up is not available on this installation.",
            id="warm-up on, with a pool",
        ),
        pytest.param({"auto_warmup_enabled": "no"}, "auto_warmup_enabled must be a boolean", id="no boolean"),
        *(
            pytest.param(
                {"auto_warmup_stage": stage},
                "auto_warmup_stage must be between 1 and 29",
                id=f"stage {stage}",
            )
            for stage in (0, 30, -1, "3", 1.5, True)
        ),
        pytest.param(
            {"auto_warmup_stage": 3},
            "auto_warmup_enabled must be true to update auto_warmup_stage",
            id="a stage while off",
        ),
    ],
)
async def test_a_change_that_breaks_a_rule_is_refused_and_changes_nothing(
    relay: RelayHarness, body: dict[str, object], message: str
) -> None:
    before = relay.inside.directory.snapshot.revision
    async with relay.api() as api:
        assert refusal(await api.put(f"/sending-ips/{IP}", json=body)) == (400, message)
    assert relay.inside.directory.snapshot.revision == before


async def test_the_next_message_leaves_from_the_moved_ip(relay: RelayHarness, mta: FakeMta) -> None:  # R17
    with pytest.raises(InjectionRefusedError):
        await relay.inject("bob@gmail.example", ip_pool="quiet")
    async with relay.api() as api:
        whole = results(await api.get(f"/sending-ips/{IP}"))
        # The web app sends the whole object back.
        answer = await api.put(f"/sending-ips/{IP}", json={**whole, "ip_pool": "Quiet"})
    assert results(answer) == {"message": "Updated Sending IP."}
    await relay.inject("bob@gmail.example", ip_pool="quiet")
    (attempt,) = await mta.attempts_reached(1)
    assert attempt.peer_ip == IP


async def test_queued_mail_keeps_the_ip_that_was_moved_away(relay: RelayHarness, mta: FakeMta) -> None:  # R28
    mta.answer("bob@gmail.example", "451 4.2.1 later", then="250 2.0.0 Ok")
    await relay.inject("bob@gmail.example", ip_pool="receipts")
    await relay.quiet()
    async with relay.api() as api:
        results(await api.put(f"/sending-ips/{IP}", json={"ip_pool": "default"}))
    relay.clock.advance(minutes=20)
    await relay.quiet()
    assert [attempt.peer_ip for attempt in mta.attempts_for("bob@gmail.example")] == [IP, IP]


async def test_the_last_ip_may_leave_the_default_pool(relay: RelayHarness, mta: FakeMta) -> None:  # A2, R21
    async with relay.api() as api:
        results(await api.put("/sending-ips/127.0.0.14", json={"ip_pool": "quiet"}))
    await relay.inject("bob@gmail.example")
    (attempt,) = await mta.attempts_reached(1)
    assert attempt.peer_ip in relay.ips_of("sp_shared")
