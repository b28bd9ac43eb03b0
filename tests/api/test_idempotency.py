"""`Idempotency-Key`: a repeated request is carried out once and answered again, for 24 hours."""

import asyncio
import hashlib
import json
from collections.abc import Mapping

import httpx
import pytest

from relay.ports.idempotency import Ticket
from relay.testing.harness import RelayHarness
from relay.testing.lab import lab_directory
from tests.support.rest import refusal

BUY = "/account/add-ons/dedicated_ips"


@pytest.fixture
def relay_directory() -> str:
    """The lab without dedicated IPs; 127.0.0.71 to .76 are for sale."""
    inventory = [
        f'[[sending_ip]]\naddress = "127.0.0.{number}"\nhostname = "mta{number}.relay.test"\n'
        for number in range(71, 77)
    ]
    return "\n".join([lab_directory({}), *inventory])


def held(relay: RelayHarness, account: int = 1) -> set[str]:
    return {ip for pool in relay.pools(account).values() for ip in pool}


async def again(relay: RelayHarness, key: str, quantity: int = 1, account: int = 1) -> httpx.Response:
    """A purchase with that key."""
    body = {"quantity": quantity, "ip_pool": "default"}
    async with relay.api(account) as api:
        return await api.post(BUY, json=body, headers={"Idempotency-Key": key})


async def test_a_repeated_purchase_buys_once_and_is_answered_again(relay: RelayHarness) -> None:
    first, second = await again(relay, "k-1"), await again(relay, "k-1")
    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.headers["content-type"] == "application/json"
    assert len(held(relay)) == 1
    third = await again(relay, "k-2")
    assert third.json() != first.json()
    relay.clock.advance(hours=24)
    await again(relay, "k-1")
    assert len(held(relay)) == 2, "kept for 24 hours"
    relay.clock.advance(seconds=1)
    assert "Idempotent-Replayed" not in (await again(relay, "k-1")).headers
    assert len(held(relay)) == 3


async def test_soon_after_the_time_was_set_no_answer_is_forgotten(relay: RelayHarness) -> None:
    first = await again(relay, "k-1")
    relay.clock.steady = False
    relay.clock.advance(days=4)
    second = await again(relay, "k-1")
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.json() == first.json()
    assert len(held(relay)) == 1
    relay.clock.steady = True
    assert "Idempotent-Replayed" not in (await again(relay, "k-1")).headers
    assert len(held(relay)) == 2


async def test_repetitions_at_the_same_moment_buy_once(relay: RelayHarness) -> None:
    answers: list[httpx.Response] = []

    async def one() -> None:
        answers.append(await again(relay, "k"))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(one())
    assert len(held(relay)) == 1
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len({answer.text for answer in answers if answer.status_code == 200}) == 1


async def test_a_repetition_while_the_first_is_being_worked_on_is_told_so(relay: RelayHarness) -> None:
    store, now = relay.inside.store.idempotency, relay.clock.now()
    body = {"quantity": 1, "ip_pool": "default"}
    await store.begin(Ticket("1/0", "k", now), _fingerprint(body), expired=now, given_up=now)
    response = await again(relay, "k")
    assert refusal(response) == (
        409,
        "A request with this Idempotency-Key is still being processed.",
    )
    relay.clock.advance(minutes=11)
    assert (await again(relay, "k")).status_code == 200, "the first was cut off"


def _fingerprint(body: Mapping[str, object]) -> str:
    """What a request with that body is known by."""
    octets = json.dumps(body, separators=(",", ":")).encode()
    return hashlib.sha256(f"POST /api/v1{BUY}?\n".encode() + octets).hexdigest()


async def test_a_key_belongs_to_one_request_of_one_account(relay: RelayHarness) -> None:
    await again(relay, "k")
    response = await again(relay, "k", quantity=2)
    assert refusal(response) == (422, "Idempotency-Key was used for another request")
    assert len(held(relay)) == 1
    assert (await again(relay, "k", account=2)).status_code == 200
    assert len(held(relay, 2)) == 1


async def test_a_refused_request_frees_its_key(relay: RelayHarness) -> None:
    assert (await again(relay, "k", quantity=5)).status_code == 400
    assert (await again(relay, "k", quantity=4)).status_code == 200


@pytest.mark.parametrize(
    "key", [pytest.param("", id="empty"), pytest.param("x" * 256, id="256"), "tab\there", "ü"]
)
async def test_a_key_that_is_none_is_refused(relay: RelayHarness, key: str) -> None:
    async with relay.api() as api:
        response = await api.post(
            BUY,
            json={"quantity": 1, "ip_pool": "default"},
            headers={b"Idempotency-Key": key.encode("latin-1")},
        )
    assert refusal(response) == (
        400,
        "Idempotency-Key must be 1 to 255 printable characters",
    )
    assert held(relay) == set()


async def test_an_answer_survives_a_restart(relay: RelayHarness) -> None:
    first = await again(relay, "k" * 255)
    await relay.restart()
    assert (await again(relay, "k" * 255)).json() == first.json()
    assert len(held(relay)) == 1
