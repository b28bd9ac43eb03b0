"""`relay queue`: what it shows, what it touches, and what it asks first."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.domain.dsn import DsnRequest
from relay.domain.events import Bounce, Delay, Delivery, Subject
from relay.domain.ids import IpAddress, NodeName, PoolId, WorkerId
from relay.domain.lifecycle import Finish, Requeue
from relay.domain.message import Message, Options, Pin, State
from relay.domain.outcome import Peer
from relay.ports.queue import MailFilter
from relay.resources.queue.bulk import SLICE
from relay.resources.queue.commands import BulkProgress
from relay.store import Store
from tests.cli.conftest import Cli
from tests.store.conftest import build_batch, copies
from tests.support.mail import IP, NOW, build_message

OTHER = IpAddress("127.0.0.13")
THEIRS, FREE = IpAddress("127.0.0.21"), IpAddress("127.0.0.12")
LATER = "451 4.2.1 later \x1b[31m"
Put = Callable[..., list[str]]


@pytest.fixture
def put(lab: Cli) -> Put:
    """Enqueues these messages, each as a submission of its own; returns their ids."""

    def put(*messages: Message, subject: str = "hello") -> list[str]:
        async def work(store: Store) -> None:
            revision = await store.directory.revision()
            for message in messages:
                batch = build_batch(message, revision=revision)
                submission = replace(batch.submission, subject=subject, options=Options(campaign_id="spring"))
                await store.queue.enqueue(replace(batch, submission=submission))

        lab.in_store(work)
        return [message.id for message in messages]

    return put


def mail(to: str, ip: IpAddress = IP, pool: str = "marketing") -> Message:
    return replace(build_message(to, ip=ip), pin=Pin(PoolId(pool), ip, f"mta.{ip}", ip))


def states(lab: Cli) -> dict[str, str]:
    return {entry["rcpt_to"]: entry["state"] for entry in lab.json("queue", "list")}


# ── list ─────────────────────────────────────────────────────────────────────────────────


def test_an_empty_queue(lab: Cli) -> None:
    assert lab.ok("queue", "list") == "no unfinished mail\n"
    assert lab.json("queue", "list") == []


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        pytest.param((), "abc", id="all"),
        pytest.param(("--domain", "GMAIL.example"), "ab", id="domain"),
        pytest.param(("--ip", "127.0.0.13"), "c", id="ip"),
        pytest.param(("--pool", "Marketing"), "ab", id="pool"),
        pytest.param(("--account", "2"), "", id="account"),
        pytest.param(("--state", "held"), "b", id="state"),
        pytest.param(("--state", "queued", "--domain", "gmail.example"), "a", id="two"),
    ],
)
def test_filters_select(lab: Cli, put: Put, filters: tuple[str, ...], found: str) -> None:
    _, held, _ = put(mail("a@gmail.example"), mail("b@gmail.example"), mail("c@b.example", OTHER, "receipts"))
    lab.ok("queue", "hold", held)
    listed = lab.json("queue", "list", *filters)
    assert "".join(sorted(entry["rcpt_to"][0] for entry in listed)) == found


def test_a_list_says_how_many_more_there_are(lab: Cli, put: Put) -> None:
    put(*(mail(f"r{number}@b.example") for number in range(3)))
    printed = lab("queue", "list", "--limit", "2", "--json")
    assert printed.out.count('"id"') == 2
    assert printed.err.startswith("1 more")
    assert lab("queue", "list").err == ""


def test_a_list_tells_the_pin(lab: Cli, put: Put) -> None:
    (id_,) = put(mail("a@gmail.example"))
    (entry,) = lab.json("queue", "list")
    assert (entry["id"], entry["ip"], entry["pool"], entry["account"]) == (id_, IP, "marketing", 1)
    said = lab.ok("queue", "list")
    for piece in (id_, IP, "marketing", "a@gmail.example", "queued"):
        assert piece in said


# ── verbs ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("verb", "count"),
    [
        pytest.param(("hold",), 2, id="hold: what is not held"),
        pytest.param(("release",), 1, id="release: what is held"),
        pytest.param(("retry",), 2, id="retry: what is queued"),
        pytest.param(("cancel",), 3, id="cancel: everything"),
        pytest.param(("repin", "--to", OTHER), 2, id="repin: what is pinned elsewhere"),
        pytest.param(("hold", "--state", "held"), 0, id="nothing to hold"),
        pytest.param(("hold", "--domain", "b.example"), 1, id="a domain"),
    ],
)
def test_a_bulk_verb_says_how_many_it_would_touch_and_does_it_with_yes(
    lab: Cli, put: Put, verb: tuple[str, ...], count: int
) -> None:
    _, held, _ = put(mail("a@gmail.example"), mail("b@gmail.example"), mail("c@b.example", OTHER))
    lab.ok("queue", "hold", held)
    before = lab.json("queue", "list")
    asked = lab.refused("queue", *verb)
    assert f"would touch {count} message" in asked
    assert "--yes" in asked
    assert lab.json("queue", "list") == before
    assert f": {count} message" in lab.ok("queue", *verb, "--yes")


def test_what_takes_long_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    progress = BulkProgress(25_000)
    for touched in (9_999, 0, 1, 9_000, 2_000):
        assert progress(touched)
    assert capsys.readouterr().err == "10,000 of 25,000 messages\n21,000 of 25,000 messages\n"


def test_a_verb_is_done_to_more_than_a_slice(lab: Cli) -> None:
    async def work(store: Store) -> None:
        revision = await store.directory.revision()
        await store.queue.enqueue(build_batch(*copies(SLICE + 7), revision=revision))

    lab.in_store(work)
    assert lab.ok("queue", "hold", "--yes") == f"hold: {SLICE + 7} messages\n"
    assert lab.ok("queue", "release", "--yes") == f"release: {SLICE + 7} messages\n"


def test_ids_need_no_yes(lab: Cli, put: Put) -> None:
    first, second, _ = put(mail("a@b.example"), mail("b@b.example"), mail("c@b.example"))
    assert lab.ok("queue", "hold", first, second) == "hold: 2 messages\n"
    assert states(lab) == {"a@b.example": "held", "b@b.example": "held", "c@b.example": "queued"}
    assert lab.ok("queue", "hold", first) == "hold: 0 messages\n"
    assert lab.ok("queue", "release", first) == "release: 1 message\n"


def test_an_id_that_is_not_in_the_queue_is_refused_and_nothing_touched(lab: Cli, put: Put) -> None:
    (id_,) = put(mail("a@b.example"))
    assert "no unfinished message 0123" in lab.refused("queue", "hold", id_, "0123")
    assert states(lab) == {"a@b.example": "queued"}


def test_a_hold_lasts_as_long_as_the_configuration_says(lab: Cli, put: Put) -> None:
    (id_,) = put(mail("a@b.example"))
    lab.config.write_text(lab.config.read_text().replace("[queue]", '[queue]\nhold_expire_after = "1d"'))
    lab.ok("queue", "hold", id_)
    assert "held until" in lab.ok("queue", "show", id_)

    async def deadline(store: Store) -> timedelta:
        (held,) = await store.queue.select(MailFilter(None, state=State.HELD), 1)
        events = await store.events.story(held.id)
        return held.expires - events[-1].event.at

    assert lab.in_store(deadline) == timedelta(days=1)


def test_mail_is_repinned_to_a_known_ip_alone(lab: Cli, put: Put) -> None:
    put(mail("a@b.example"))
    unknown = lab.refused("queue", "repin", "--ip", IP, "--to", "127.0.0.77", "--yes")
    assert "no sending IP 127.0.0.77" in unknown
    lab.ok("queue", "repin", "--ip", IP, "--to", OTHER, "--yes")
    (entry,) = lab.json("queue", "list")
    assert (entry["ip"], entry["hostname"], entry["pool"]) == (OTHER, "mta13.relay.test", "marketing")


def test_mail_is_repinned_to_no_ip_that_is_not_its_accounts(lab: Cli, put: Put) -> None:
    put(mail("a@b.example"))
    lab.ok("ip", "release", FREE)
    for address, whose in ((FREE, "nobody"), (THEIRS, "account 2")):
        refused = lab.refused("queue", "repin", "--ip", IP, "--to", address, "--yes")
        assert f"sending IP {address} belongs to {whose}" in refused
    (entry,) = lab.json("queue", "list")
    assert entry["ip"] == IP


# ── show ─────────────────────────────────────────────────────────────────────────────────


def attempt(lab: Cli, *, end: bool) -> None:
    """One failed attempt at everything due, and then, with end, a delivery."""

    async def work(store: Store) -> None:
        worker, peer = WorkerId("w"), Peer("127.0.0.99", 1)
        lanes = await store.queue.hold_lanes(worker, NodeName("n1"), 60, 100)
        lane = next(lane for lane in lanes if lane.ip == IP)
        (claimed,) = await store.queue.claim(lane, ["b.example"], NOW, 10, 1 << 20)
        about = Subject.of(claimed.message)
        if end:
            done = Delivery(NOW, about, 1, 5, peer, "250 2.0.0 Ok")
            await store.queue.settle(lane, [Finish(claimed.message.id, claimed.message.body_id, done)])
        else:
            delay = Delay(NOW, about, 0, 5, peer, 21, 451, LATER)
            await store.queue.settle(lane, [Requeue(claimed.message.id, NOW, delay, LATER)])
        await store.queue.release_lanes(worker)

    lab.in_store(work)


def test_show_tells_the_whole_story(lab: Cli, put: Put) -> None:
    (id_,) = put(mail("a@b.example"), subject="spring \x1b]0;sale")
    attempt(lab, end=False)
    lab.ok("queue", "hold", id_)
    lab.ok("queue", "release", id_)
    lab.ok("queue", "repin", id_, "--to", OTHER)
    said = lab.ok("queue", "show", id_)
    for piece in (
        *(id_, "a@b.example", "queued", "account 1", "spring", "sender@acme.test", "Acme <sender@acme.test>"),
        *("127.0.0.13 (mta13.relay.test), pool marketing", "R20", "nothing named: the default pool"),
        *("injection", "delay", "451 4.2.1 later", "127.0.0.99, TLS", "hold", "release", "repin", "cli:"),
    ):
        assert piece in said
    assert said.index("injection") < said.index("delay  ") < said.index("hold  ") < said.index("repin  ")
    assert "delivery" not in said
    assert "\x1b" not in said, "what strangers sent does not steer the terminal"


def test_show_tells_the_story_of_mail_that_has_left(lab: Cli, put: Put) -> None:
    (id_,) = put(mail("a@b.example"))
    attempt(lab, end=False)
    attempt(lab, end=True)
    assert lab.ok("queue", "list") == "no unfinished mail\n"
    said = lab.ok("queue", "show", id_)
    for piece in ("left the queue", f"{IP}, pool marketing", "delay", "delivery", "250 2.0.0 Ok", "R20"):
        assert piece in said
    assert said.count("docs/rules.md") == 1
    told = lab.json("queue", "show", id_)
    assert [event["event"] for event in told["events"]] == ["injection", "delay", "delivery"]
    for event in told["events"]:
        assert (event["sending_ip"], event["ip_pool"]) == (IP, "marketing")
    _, delay, delivery = told["events"]
    both = {"queue_time": 5, "ip_address": "127.0.0.99", "outbound_tls": 1}
    assert both.items() <= delay.items() & delivery.items()
    assert {"num_retries": 0, "bounce_class": 21, "error_code": 451, "reply": LATER}.items() <= delay.items()
    assert {"num_retries": 1, "reply": "250 2.0.0 Ok"}.items() <= delivery.items()
    assert (told["state"], told["ip"], told["pool"]) == (None, IP, "marketing")
    assert told["submission"]["campaign_id"] == "spring"
    assert told["submission"]["steps"][0]["rule"] == "R20"


def test_show_tells_programs_the_pin_of_waiting_mail(lab: Cli, put: Put) -> None:
    (id_,) = put(mail("a@b.example"))
    told = lab.json("queue", "show", id_)
    assert (told["state"], told["bind"], told["hostname"]) == ("queued", IP, f"mta.{IP}")
    assert [event["event"] for event in told["events"]] == ["injection"]


def test_show_tells_what_is_to_be_reported(lab: Cli, put: Put) -> None:
    asked = DsnRequest("HDRS", "QQ314", "NEVER", "rfc822;a@b.example")
    first, second = put(replace(mail("a@b.example"), dsn_request=asked), mail("c@b.example"))
    said = "RET=HDRS ENVID=QQ314 NOTIFY=NEVER ORCPT=rfc822;a@b.example"
    assert said in lab.ok("queue", "show", first)
    assert lab.json("queue", "show", first)["dsn_request"] == said
    assert "reports" not in lab.ok("queue", "show", second)
    assert lab.json("queue", "show", second)["dsn_request"] is None


def test_a_bounce_is_told_with_its_class(lab: Cli, put: Put) -> None:
    (id_,) = put(mail("a@b.example"))

    async def bounce(store: Store) -> None:
        lanes = await store.queue.hold_lanes(WorkerId("w"), NodeName("n1"), 60, 100)
        lane = next(lane for lane in lanes if lane.ip == IP)
        (claimed,) = await store.queue.claim(lane, ["b.example"], NOW, 10, 1 << 20)
        about = Subject.of(claimed.message)
        event = Bounce(NOW, about, 0, 5, Peer(), 25, 554, "554 5.7.1 [internal] cancelled")
        await store.queue.settle(lane, [Finish(claimed.message.id, claimed.message.body_id, event)])

    lab.in_store(bounce)
    assert "bounce    554 5.7.1 [internal] cancelled  (no connection, class 25)" in lab.ok(
        "queue", "show", id_
    )


def test_a_message_that_never_was_is_refused(lab: Cli) -> None:
    assert lab.refused("queue", "show", "0123") == "relay: no message 0123\n"
