"""`relay transmission`: what it shows, what it ends, and what it lets go on."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.domain.classify import ADMIN_FAILURE
from relay.domain.events import GenerationFailure, Subject
from relay.domain.ids import AccountId
from relay.domain.message import Options
from relay.domain.transmission import Transmission
from relay.store import Store
from tests.cli.conftest import Cli
from tests.store.test_transmissions import CONTENT, ROUTING, build, made, recipients
from tests.support.mail import NOW, build_message

Put = Callable[..., str]
HOLDER = "holder"


@pytest.fixture
def put(lab: Cli) -> Put:
    """Submits a transmission of 5 recipients, the first 2 of which are messages; returns its id."""

    def put(number: int = 1, *, aside: bool = False, **changes: object) -> str:
        transmission = build(number, 5, start=NOW, **changes)

        async def work(store: Store) -> None:
            await _submit(store, transmission)
            if aside:
                about = Subject.of(build_message(transmission=transmission.id))
                event = GenerationFailure(NOW, about, ADMIN_FAILURE, 554, "554 set aside")
                assert await store.transmissions.set_aside(transmission.id, HOLDER, event, NOW)
            await store.transmissions.release(HOLDER)

        lab.in_store(work)
        return transmission.id

    return put


async def _submit(store: Store, transmission: Transmission) -> None:
    revision = await store.directory.revision()
    await store.transmissions.add_recipients(transmission.id, transmission.account, 0, recipients(5))
    await store.transmissions.submit(transmission, CONTENT, ROUTING, revision)
    assert await store.transmissions.hold_due(HOLDER, NOW, 60, 10)
    assert await store.transmissions.advance(made(transmission, 0, 2), HOLDER, NOW)


def audited(lab: Cli, id_: str) -> list[tuple[str, str, str]]:
    """What was done to it by this user, newest first: the verb, and the states before and after."""
    lines = [line for line in lab.json("directory", "audit") if line["what"].endswith(f" transmission {id_}")]
    assert all(line["actor"].startswith("cli:") for line in lines)
    told = [
        (line["what"].split()[0], json.loads(line["before"]), json.loads(line["after"])) for line in lines
    ]
    assert all(one["account"] == 1 for _, before, after in told for one in (before, after))
    return [(verb, before["state"], after["state"]) for verb, before, after in told]


def test_nothing_to_list(lab: Cli) -> None:
    assert lab.ok("transmission", "list") == "no unfinished transmissions\n"
    assert lab.json("transmission", "list") == []


def test_what_was_set_aside_is_listed_first(lab: Cli, put: Put) -> None:
    put(1)
    put(2, aside=True, options=Options(campaign_id="a\x1b[31m" + "x" * 60))
    put(3, account=AccountId(2))
    listed = lab.json("transmission", "list")
    assert [(one["id"][-1], one["state"]) for one in listed] == [
        ("2", "set aside"),
        ("1", "Generating"),
        ("3", "Generating"),
    ]
    assert [one["id"][-1] for one in lab.json("transmission", "list", "--account", "2")] == ["3"]
    table = lab.ok("transmission", "list")
    assert max(map(len, table.splitlines())) <= 100
    assert "\x1b" not in lab.ok("transmission", "show", listed[0]["id"])
    assert "2/5" in table
    printed = lab("transmission", "list", "--limit", "1")
    assert printed.status == 0
    assert "there are more" in printed.err


def test_the_widest_row_fits(lab: Cli, put: Put) -> None:
    put(10**19 - 1, aside=True, options=Options(campaign_id="x" * 64), account=AccountId(123_456))
    assert max(map(len, lab.ok("transmission", "list").splitlines())) <= 100


def test_show_says_what_to_do_with_what_was_set_aside(lab: Cli, put: Put) -> None:
    id_ = put(aside=True)
    shown = lab.ok("transmission", "show", id_)
    assert f"relay transmission retry {id_}" in shown
    assert lab.json("transmission", "show", id_)["position"] == 2


def test_retry_goes_on_where_it_stood(lab: Cli, put: Put) -> None:
    id_ = put(aside=True)
    assert "recipient 3 of 5" in lab.ok("transmission", "retry", id_)
    assert lab.json("transmission", "show", id_)["state"] == "Generating"
    assert "is not set aside" in lab.refused("transmission", "retry", id_)
    assert audited(lab, id_) == [("retry", "set aside", "Generating")]

    async def held(store: Store) -> int:
        (standing,) = await store.transmissions.hold_due(HOLDER, NOW, 60, 10)
        return standing.progress.position

    assert lab.in_store(held) == 2


@pytest.mark.parametrize("aside", [True, False])
def test_cancel_ends_it_and_says_what_becomes_of_messages(lab: Cli, put: Put, aside: bool) -> None:
    id_ = put(aside=aside)
    said = lab.ok("transmission", "cancel", id_)
    assert "3 of 5 recipients get no message" in said
    assert "2 were made before" in said
    assert len(lab.json("queue", "list")) == 2
    assert lab.json("transmission", "list") == []
    assert [one["state"] for one in lab.json("transmission", "list", "--all")] == ["Canceled"]
    assert "has ended (Canceled)" in lab.refused("transmission", "cancel", id_)
    assert "has ended (Canceled)" in lab.refused("transmission", "retry", id_)
    assert audited(lab, id_) == [("cancel", "set aside" if aside else "Generating", "Canceled")]


def test_a_scheduled_one_is_cancelled_shortly_before_its_time_too(lab: Cli) -> None:
    """The client may not, shorter than 660 s before; the operator may."""
    transmission = replace(build(1, 5), start=NOW + timedelta(seconds=1))

    async def work(store: Store) -> None:
        await store.transmissions.add_recipients(transmission.id, transmission.account, 0, recipients(5))
        await store.transmissions.submit(transmission, CONTENT, None, await store.directory.revision())

    lab.in_store(work)
    assert "made before" not in lab.ok("transmission", "cancel", transmission.id)


@pytest.mark.parametrize("verb", ["show", "cancel", "retry"])
def test_one_that_is_not_there(lab: Cli, verb: str) -> None:
    assert lab.refused("transmission", verb, "7") == "relay: no transmission 7\n"
    assert lab("transmission", verb).status == 2
