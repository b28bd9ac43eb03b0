"""`/message-events`, the older name of `/events/message`, as clients that know no other read it."""

import re
from typing import Any

import pytest

from relay.resources.events.documentation import documentation, samples
from relay.testing.harness import RelayHarness
from tests.api.test_events import ALL, send
from tests.support.rest import refusal, results

PATH = "/message-events"
CLIENTS_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d")
"""Go's layout 2006-01-02T15:04:05.000-07:00, which knows no Z."""


async def page_of(relay: RelayHarness, query: str = "") -> dict[str, Any]:
    async with relay.api() as client:
        answer = await client.get(f"{PATH}?{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_an_event_is_that_of_the_newer_search_but_for_its_time(relay: RelayHarness) -> None:
    await send(relay)
    old = await page_of(relay)
    async with relay.api() as client:
        new = (await client.get("/events/message")).json()
        slashed = (await client.get(f"{PATH}/")).json()
    assert slashed == old
    assert (old["total_count"], old["links"]) == (5, [])
    for one, other in zip(old["results"], new["results"], strict=True):
        assert CLIENTS_TIME.fullmatch(one["timestamp"])
        assert one == {**other, "timestamp": other["timestamp"].replace("Z", "+00:00")}


async def test_links_are_walked_through_by_relation(relay: RelayHarness) -> None:
    """As gosparkpost does: each `href` behind a base without a path, until no link is `next`."""
    await send(relay)
    whole = [event["event_id"] for event in (await page_of(relay))["results"]]
    seen, relations, href = (
        [],
        [],
        f"/api/v1{PATH}?per_page=2&page=1&events={','.join(sorted(set(ALL.split())))}",
    )
    async with relay.api() as client:
        while href:
            page = (await client.get(href.removeprefix("/api/v1"))).json()
            seen += [event["event_id"] for event in page["results"]]
            linked = {link["rel"]: link["href"] for link in page["links"]}
            assert all(set(link) == {"href", "rel"} for link in page["links"])
            relations.append(list(linked))
            assert page["total_count"] == 5
            href = linked.get("next", "")
    assert seen == whole
    assert relations == [["first", "next"], ["first", "next"], ["first"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param("events=bounce,delivery", "bounce delivery", id="events"),
        pytest.param("recipients=BOB@b.example", "delivery injection", id="recipients"),
        pytest.param("campaign_ids=Black-Friday", "delivery injection", id="campaigns"),
        pytest.param("campaigns=friday", "delivery injection", id="a newer name"),
        pytest.param("friendly_froms=joe@joe.test", "bounce injection", id="From"),
        pytest.param("subject=sale", "delivery injection", id="subject"),
        pytest.param("reason=unknown", "bounce", id="reason"),
        pytest.param("message_ids=x", "", id="messages"),
        pytest.param("transmission_ids=1", "", id="transmissions"),
        pytest.param("template_ids=x", "", id="templates"),
        pytest.param("bounce_classes=10&timezone=UTC&page=1", "bounce", id="what changes nothing"),
        pytest.param("campaign_ids=&from=2020-01-01T08:00", ALL, id="an empty one, and a time of minutes"),
        pytest.param("nonsense=1", ALL, id="what is not known is ignored, as by the newer search"),
    ],
)
async def test_older_filters_filter(relay: RelayHarness, query: str, found: str) -> None:
    await send(relay)
    page = await page_of(relay, query)
    assert " ".join(event["type"] for event in page["results"]) == found
    assert page["total_count"] == len(found.split())


async def test_ids_are_found_by_their_older_names(relay: RelayHarness) -> None:
    await send(relay)
    (delivery,) = (await page_of(relay, "events=delivery"))["results"]
    for name in ("message", "transmission"):
        found = (await page_of(relay, f"{name}_ids={delivery[f'{name}_id']}"))["results"]
        assert [event["type"] for event in found] == ["delivery", "injection"]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("page=2", "param 'page' must be 1: the link whose rel is 'next' goes on"),
        ("page=x", "param 'page' must be 1: the link whose rel is 'next' goes on"),
        (
            "timezone=America/New_York",
            "param 'timezone' must be UTC: 'from' and 'to' may name an offset, as +02:00",
        ),
        (
            "campaign_ids=a&campaigns=b",
            "param 'campaign_ids' is the older name of 'campaigns': give one of them",
        ),
        ("per_page=0", "param 'per_page' must be an integer from 1 to 10000"),
    ],
)
async def test_what_would_be_answered_wrongly_is_refused(
    relay: RelayHarness, query: str, problem: str
) -> None:
    async with relay.api() as client:
        answer = await client.get(f"{PATH}?{query}")
    assert refusal(answer) == (400, "invalid params")
    assert answer.json()["errors"][0]["description"] == problem


async def test_an_address_may_have_4096_characters_here_too(relay: RelayHarness) -> None:
    async with relay.api() as client:
        assert refusal(await client.get(f"{PATH}?subject={'x' * 4096}"))[0] == 414


async def test_nobody_sees_what_happened_to_others(relay: RelayHarness) -> None:
    await send(relay)
    async with relay.api(2) as client:
        assert (await client.get(PATH)).json() == {"results": [], "total_count": 0, "links": []}
    key = await relay.make_key(grants=["ip_pools/view"])
    async with relay.api(key=key) as client:
        for path in (PATH, f"{PATH}/events/documentation", f"{PATH}/events/samples"):
            assert refusal(await client.get(path)) == (403, "Forbidden.")
        assert refusal(await client.get("/webhooks/events/documentation")) == (403, "Forbidden.")


async def test_documentation_is_in_classes_and_of_the_same_events(relay: RelayHarness) -> None:
    async with relay.api() as client:
        told = results(await client.get(f"{PATH}/events/documentation"))
        assert results(await client.get("/webhooks/events/documentation")) == told
    flat = {entry["type"]: entry for entry in documentation()}
    named = {name: sorted(group["events"]) for name, group in told.items()}
    assert named == {
        "message_event": ["bounce", "delay", "delivery", "injection", "policy_rejection"],
        "gen_event": ["generation_failure", "generation_rejection"],
    }
    for group in told.values():
        assert group["display_name"]
        assert group["description"]
        for name, entry in group["events"].items():
            assert set(entry) == {"display_name", "description", "event"}
            assert (entry["description"], entry["event"]) == (flat[name]["description"], flat[name]["event"])


async def test_samples_are_those_of_the_newer_name_but_for_their_time(relay: RelayHarness) -> None:
    async with relay.api() as client:
        shown = results(await client.get(f"{PATH}/events/samples"))
        bounces = results(await client.get(f"{PATH}/events/samples?events=bounce"))
        assert refusal(await client.get(f"{PATH}/events/samples?events=x"))[0] == 400
    assert all(CLIENTS_TIME.fullmatch(event["timestamp"]) for event in shown)
    assert [{**event, "timestamp": ""} for event in shown] == [
        {**event, "timestamp": ""} for event in samples()
    ]
    assert [event["type"] for event in bounces] == ["bounce"]
