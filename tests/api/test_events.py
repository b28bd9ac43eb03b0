"""`/events/message`."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from relay.resources.events.documentation import documentation, samples
from relay.testing.harness import RelayHarness
from tests.support.rest import refusal, results

PATH = "/events/message"


async def search(relay: RelayHarness, query: str = "", account: int = 1) -> list[dict[str, Any]]:
    async with relay.api(account) as client:
        found: list[dict[str, Any]] = results(await client.get(f"{PATH}?{query}"))
        return found


async def send(relay: RelayHarness) -> None:
    """A delivered message of a campaign, a bounced one of a subaccount, a refused one; a second apart."""
    relay.mta.answer("eve@b.example", "550 5.1.1 <eve@b.example> unknown at 192.0.2.7")
    options = {
        "campaign_id": "Black-Friday",
        "metadata": {"customer": 42},
        "tags": ["sale"],
        "options": {"ip_pool": "Marketing", "transactional": True},
    }
    await relay.inject("Bob@B.example", msys=options, headers={"Subject": "Summer sale"})
    await relay.quiet()
    relay.clock.advance(seconds=1)
    await relay.inject("eve@b.example", subaccount=123, mail_from="joe@joe.test")
    await relay.quiet()
    relay.clock.advance(seconds=1)
    with pytest.raises(Exception, match="does not exist"):
        await relay.inject("x@y.example", ip_pool="nowhere")
    relay.clock.advance(seconds=1)


async def test_an_event_tells_all_that_sparkposts_does(relay: RelayHarness) -> None:
    await send(relay)
    delivery = (await search(relay, "events=delivery"))[0]
    message, transmission = delivery["message_id"], delivery["transmission_id"]
    assert len(message) == 20
    assert set(message) <= set("0123456789abcdef")
    accepted = relay.clock.now() - timedelta(seconds=3)
    assert delivery == {
        "type": "delivery",
        "event_id": delivery["event_id"],
        "timestamp": f"{accepted:%Y-%m-%dT%H:%M:%S}.000Z",
        "customer_id": "1",
        "message_id": message,
        "transmission_id": transmission,
        "rcpt_to": "bob@b.example",
        "raw_rcpt_to": "Bob@B.example",
        "rcpt_hash": delivery["rcpt_hash"],
        "recipient_domain": "b.example",
        "routing_domain": "b.example",
        "sending_ip": delivery["sending_ip"],
        "ip_pool": "marketing",
        "ip_pool_raw": "Marketing",
        "delv_method": "esmtp",
        "campaign_id": "Black-Friday",
        "msg_from": "sender@acme.test",
        "friendly_from": "sender@acme.test",
        "sending_domain": "acme.test",
        "subject": "Summer sale",
        "rcpt_meta": {"customer": 42},
        "rcpt_tags": ["sale"],
        "injection_time": f"{accepted:%Y-%m-%dT%H:%M:%S}.000Z",
        "recv_method": "esmtp",
        "transactional": "1",
        "open_tracking": False,
        "click_tracking": False,
        "initial_pixel": False,
        "num_retries": "0",
        "queue_time": "0",
        "ip_address": "127.0.0.1",
        "outbound_tls": "0",
        "msg_size": delivery["msg_size"],
    }
    assert delivery["sending_ip"] in {"127.0.0.11", "127.0.0.12"}


async def test_a_bounce_has_its_reason_masked_and_raw(relay: RelayHarness) -> None:
    await send(relay)
    (bounce,) = await search(relay, "events=bounce")
    assert bounce["raw_reason"] == "550 5.1.1 <eve@b.example> unknown at 192.0.2.7"
    assert bounce["reason"] == "550 5.1.1 <user@domain> unknown at a.b.c.d"
    assert (bounce["bounce_class"], bounce["error_code"], bounce["subaccount_id"]) == ("10", "550", "123")


async def test_a_refusal_is_told_too(relay: RelayHarness) -> None:
    await send(relay)
    (refused,) = await search(relay, "events=policy_rejection")
    assert (refused["remote_addr"], refused["ip_pool_raw"]) == ("127.0.0.1", "nowhere")
    assert refused["raw_reason"] == "550 5.7.1 IP Pool 'nowhere' does not exist"
    assert refused["rcpt_to"] == "x@y.example"


ALL = "policy_rejection bounce injection delivery injection"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param("", ALL, id="all, newest first"),
        pytest.param("events=bounce,delivery", "bounce delivery", id="events"),
        pytest.param("events=bounce|delivery&delimiter=|", "bounce delivery", id="another delimiter"),
        pytest.param("events=open,click", "", id="what does not happen here"),
        pytest.param("recipients=BOB@b.example", "delivery injection", id="recipients"),
        pytest.param("recipient_domains=b.example", "bounce injection delivery injection", id="domains"),
        pytest.param("from_addresses=joe@joe.test", "bounce injection", id="from"),
        pytest.param("sending_domains=acme.test", "delivery injection", id="sending domains"),
        pytest.param("subjects=sale", "delivery injection", id="subjects"),
        pytest.param("bounce_classes=10,20", "bounce", id="bounce classes"),
        pytest.param("reasons=unknown", "bounce", id="reasons"),
        pytest.param("campaigns=friday", "delivery injection", id="campaigns"),
        pytest.param("sending_ips=127.0.0.11,127.0.0.12", "bounce injection delivery injection", id="IPs"),
        pytest.param("sending_ips=127.0.0.13", "", id="another IP"),
        pytest.param("ip_pools=MARKETING", "bounce injection delivery injection", id="pools"),
        pytest.param("ip_pools=market", "", id="part of a pool"),
        pytest.param("subaccounts=123", "bounce injection", id="a subaccount"),
        pytest.param("subaccounts=0", "policy_rejection delivery injection", id="the account itself"),
        pytest.param("templates=x", "", id="templates"),
        pytest.param("mailbox_providers=Gmail", "", id="providers"),
        pytest.param("event_ids=1", "injection", id="event ids"),
        pytest.param("event_ids=x", "", id="event ids that are none"),
        pytest.param("messages=x", "", id="messages"),
        pytest.param("campaigns=,,&per_page=2", "policy_rejection bounce", id="per page"),
        pytest.param("from=2000-01-01T00:00&to=2000-01-02", "", id="another time"),
        pytest.param("nonsense=1", ALL, id="what is not known is ignored"),
    ],
)
async def test_events_are_searched(relay: RelayHarness, query: str, found: str) -> None:
    await send(relay)
    assert " ".join(event["type"] for event in await search(relay, query)) == found


async def test_events_of_a_message_and_of_a_transmission(relay: RelayHarness) -> None:
    await send(relay)
    (bounce,) = await search(relay, "events=bounce")
    for query in (f"messages={bounce['message_id']}", f"transmissions={bounce['transmission_id']}"):
        assert [event["type"] for event in await search(relay, query)] == ["bounce", "injection"]


async def test_from_is_in_and_to_is_not(relay: RelayHarness) -> None:
    """`to` is exclusive."""
    await send(relay)
    times = [event["timestamp"] for event in await search(relay)]
    query = f"from={times[1]}&to={times[0]}"
    assert [event["type"] for event in await search(relay, query)] == ["bounce", "injection"]


async def test_the_last_day_is_searched_unless_asked(relay: RelayHarness) -> None:
    await send(relay)
    relay.clock.advance(hours=25)
    assert await search(relay) == []
    since = (relay.clock.now() - timedelta(hours=48)).isoformat()
    assert len(await search(relay, f"from={since}")) == 5


async def pages(client: httpx.AsyncClient, query: str) -> tuple[list[str], list[int]]:
    """The ids and the counts of all pages."""
    ids: list[str] = []
    totals: list[int] = []
    path: str | None = f"{PATH}?{query}"
    while path is not None:
        page = (await client.get(path.removeprefix("/api/v1"))).json()
        ids += [event["event_id"] for event in page["results"]]
        totals.append(page["total_count"])
        path = page["links"].get("next")
    return ids, totals


async def test_pages_join_and_what_happens_meanwhile_is_on_none(relay: RelayHarness) -> None:
    await send(relay)
    async with relay.api() as client:
        whole, _ = await pages(client, "")
        assert await pages(client, "cursor=initial&per_page=2&recipient_domains=b.example") == (
            [id_ for id_ in whole if id_ in whole[1:]],
            [4, 4],
        )
        first = (await client.get(f"{PATH}?per_page=4")).json()
        await relay.inject("late@b.example")
        last = (await client.get(first["links"]["next"].removeprefix("/api/v1"))).json()
        assert [event["event_id"] for event in (*first["results"], *last["results"])] == whole


@pytest.mark.parametrize(
    "query",
    [
        *("events=nonsense", "bounce_classes=x", "subaccounts=-1", "sending_ips=x", "per_page=0"),
        *("per_page=10001", "per_page=x", "from=yesterday", "to=0001-01-01T00:00:00%2B12:00"),
        *("from=2020-01-02&to=2020-01-01", "delimiter=", "delimiter=ab", "cursor=x", "cursor=W10"),
        # [-1, 0, 0, 0, 0] and one number that no database holds
        *("cursor=Wy0xLDAsMCwwLDBd", f"cursor={'WzEwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwLDAsMCwwLDBd'}"),
    ],
)
async def test_what_cannot_be_asked_is_refused(relay: RelayHarness, query: str) -> None:
    async with relay.api() as client:
        answer = await client.get(f"{PATH}?{query}")
    assert answer.status_code == 400
    problem = answer.json()["errors"][0]
    assert problem["message"] in {"invalid params", "cursor is not valid"}


async def test_an_address_may_have_4096_characters(relay: RelayHarness) -> None:
    room = 4096 - len(f"/api/v1{PATH}?campaigns=")
    async with relay.api() as client:
        results(await client.get(f"{PATH}?campaigns={'x' * room}"))
        assert refusal(await client.get(f"{PATH}?campaigns={'x' * (room + 1)}")) == (414, "URI too long")
        results(await client.get(f"{PATH}?ip_pools={'x,' * 2000}"))


async def test_nobody_sees_what_happened_to_others(relay: RelayHarness) -> None:
    await send(relay)
    seen = await search(relay)
    for query in (
        "",
        f"messages={seen[1]['message_id']}",
        f"transmissions={seen[1]['transmission_id']}",
        f"event_ids={','.join(event['event_id'] for event in seen)}",
        f"sending_ips={seen[1]['sending_ip']}",
        "recipients=bob@b.example&ip_pools=marketing",
        "subaccounts=123",
    ):
        assert await search(relay, query, account=2) == []


async def test_a_subaccounts_key_sees_its_own_events(relay: RelayHarness) -> None:
    await send(relay)
    key = await relay.make_key(grants=["message_events/view"], subaccount=123)
    async with relay.api(key=key) as client:
        for query, number in (
            ("", 2),
            ("subaccounts=123", 2),
            ("subaccounts=0", 0),
            ("subaccounts=0,123", 2),
        ):
            assert len(results(await client.get(f"{PATH}?{query}"))) == number


async def test_the_header_does_not_matter(relay: RelayHarness) -> None:
    """Events go by `subaccounts`."""
    await send(relay)
    async with relay.api(subaccount=124) as client:
        assert len(results(await client.get(PATH))) == 5


async def test_the_grant_is_needed(relay: RelayHarness) -> None:
    key = await relay.make_key(grants=["ip_pools/view"])
    async with relay.api(key=key) as client:
        for path in (PATH, f"{PATH}/documentation", f"{PATH}/samples"):
            assert refusal(await client.get(path)) == (403, "Forbidden.")


async def test_documentation_and_samples_are_of_the_same_events(relay: RelayHarness) -> None:
    async with relay.api() as client:
        told = results(await client.get(f"{PATH}/documentation"))
        shown = results(await client.get(f"{PATH}/samples"))
        bounces = results(await client.get(f"{PATH}/samples?events=bounce"))
        assert refusal(await client.get(f"{PATH}/samples?events=x"))[0] == 400
    assert told == documentation()
    assert shown == samples()
    assert [event["type"] for event in bounces] == ["bounce"]
    assert [entry["type"] for entry in told] == [event["type"] for event in shown]
    await send(relay)
    described = {entry["type"]: set(entry["event"]) for entry in told}
    for event in await search(relay):
        assert set(event) <= described[event["type"]]


@pytest.mark.parametrize("domain", ["nümlaut.example", "NÜMLAUT.example", "xn--nmlaut-3ya.example"])
async def test_an_internationalised_domain_is_found_in_each_spelling(
    relay: RelayHarness, domain: str
) -> None:
    content = {"from": "news@nümlaut.example", "subject": "s", "text": "t"}
    async with relay.api() as client:
        sent = {
            "content": content,
            "recipients": [{"address": "bob@nümlaut.example"}, {"address": "x@y.example"}],
        }
        results(await client.post("/transmissions", json=sent))
    relay.clock.advance(seconds=1)
    found = await search(relay, f"events=injection&recipient_domains={domain}")
    assert [event["recipient_domain"] for event in found] == ["xn--nmlaut-3ya.example"]
    assert len(await search(relay, f"events=injection&sending_domains={domain}")) == 2
    assert len(await search(relay, f"events=injection&recipients=bob@{domain}")) == 1


async def test_an_empty_cursor_is_the_first_page(relay: RelayHarness) -> None:
    await send(relay)
    assert await search(relay, "cursor=") == await search(relay, "cursor=initial") != []
