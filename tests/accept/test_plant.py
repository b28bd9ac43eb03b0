"""What a transmission's messages are made with: return paths, and what is filled in for whom."""

from dataclasses import replace

import pytest

from relay.domain.address import parse_mailbox
from relay.domain.changes import Put
from relay.domain.directory import Check, Origin, Plan, Principal, SendingDomain, Subaccount
from relay.domain.ids import SubaccountId
from relay.domain.message import Options
from relay.domain.transmission import InlineContent, Recipient, Rfc822Content
from tests.service.test_transmit import ACME, CONTENT, World, draft
from tests.support.handing import hand_in, smtp_door

FREE, ENTERPRISE = Plan.SELF_SERVE, Plan.ENTERPRISE
OURS = "msprvs1={id}=bounces-{part}@"


async def _set_up(world: World, plan: Plan, bounces: str) -> None:
    """With a domain whose bounces come here, and one whose do not."""
    account = replace(world.live.snapshot.accounts[ACME], plan=plan, bounce_domain=bounces)
    verified = SendingDomain(ACME, "ok.test", origin=Origin.LIVE, cname_status=Check.VALID)
    signing = replace(verified, domain="signs.test", cname_status=Check.INVALID, dkim_status=Check.VALID)
    await world.live.apply(
        [Put(account), Put(verified), Put(signing), Put(Subaccount(ACME, SubaccountId(7), "Team"))], "t"
    )


@pytest.mark.parametrize("where", ["of all", "of the recipient"])
@pytest.mark.parametrize(
    ("plan", "bounces", "asked", "seen", "told"),
    [
        pytest.param(FREE, "", "", "a@acme.test", "a@acme.test", id="the sender"),
        pytest.param(FREE, "b.test", "", OURS + "b.test", "a@acme.test", id="one of ours"),
        pytest.param(FREE, "", "r@else.test", "a@acme.test", "a@acme.test", id="not one at no domain of his"),
        pytest.param(FREE, "b.test", "r@else.test", OURS + "b.test", "a@acme.test", id="ours instead"),
        pytest.param(
            FREE, "", "r@signs.test", "a@acme.test", "a@acme.test", id="not where bounces go astray"
        ),
        pytest.param(FREE, "b.test", "r@B.test", OURS + "b.test", "r@B.test", id="at the bounce domain"),
        pytest.param(FREE, "", "r@ok.test", OURS + "ok.test", "r@ok.test", id="at a verified domain"),
        pytest.param(
            FREE, "b.test", "r@ok.test", OURS + "ok.test", "r@ok.test", id="before the bounce domain"
        ),
        pytest.param(ENTERPRISE, "", "r@else.test", "r@else.test", "r@else.test", id="whatever it is"),
        pytest.param(ENTERPRISE, "b.test", "", OURS + "b.test", "a@acme.test", id="one of ours there too"),
    ],
)
async def test_the_next_hop_sees_as_return_path_and_events_tell(
    world: World, plan: Plan, bounces: str, asked: str, where: str, seen: str, told: str
) -> None:
    await _set_up(world, plan, bounces)
    recipient = Recipient(parse_mailbox("bob@b.example"))
    if where == "of all":
        mail = draft(0, recipients=[recipient], return_path=asked)
    else:
        mail = draft(0, recipients=[replace(recipient, return_path=asked)])
    id_ = await world.transmitter().accept(mail)
    (message,) = await world.messages()
    assert message.mail_from == seen.format(id=id_, part="1")
    (event,) = await world.store.events.story(message.id)
    assert event.submission is not None
    assert event.submission.mail_from == told


@pytest.mark.parametrize("door", ["smtp", "rest"])
async def test_bounces_of_a_subaccount_are_known_by_it(world: World, door: str) -> None:
    await _set_up(world, FREE, "b.test")
    part = SubaccountId(7)
    if door == "smtp":
        id_ = await smtp_door(world).accept(hand_in(subaccount=part))
    else:
        id_ = await world.transmitter().accept(draft(1, principal=Principal(ACME, part)))
    (message,) = await world.messages()
    assert message.mail_from == f"msprvs1={id_}=bounces-1-7@b.test"


async def test_the_null_sender_stays_null(world: World) -> None:
    await _set_up(world, FREE, "b.test")
    await smtp_door(world).accept(hand_in(mail_from=""))
    assert [message.mail_from for message in await world.messages()] == [""]


BOB = Recipient(
    parse_mailbox("bob@b.example"),
    "Bob",
    metadata={"a": "own metadata", "b": "own metadata"},
    substitution_data={"a": "own data", "address": {"street": "Elm", "email": "x@y.test"}},
)
COMMON = {"a": "data", "b": "data", "c": "data", "email": "x@y.test"}
METADATA = {"c": "metadata", "d": "metadata"}


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        pytest.param("{{a}}", "own data", id="first what is the recipient's"),
        pytest.param("{{b}}", "own metadata", id="then his metadata"),
        pytest.param("{{c}}", "data", id="then what is common"),
        pytest.param("{{d}}", "metadata", id="then the metadata of all"),
        pytest.param("{{email}}", "bob@b.example", id="an address that nobody can replace"),
        pytest.param("{{address.email}}", "bob@b.example", id="nor here"),
        pytest.param("{{address.name}}", "Bob", id="a name"),
        pytest.param("{{address.street}}", "Elm", id="what else an address has"),
        pytest.param("{{return_path}}", "a@acme.test", id="the return path"),
        pytest.param("{{env_from}}", "a@acme.test", id="by its other name"),
        pytest.param("{{nothing}}", "", id="nothing"),
    ],
)
@pytest.mark.parametrize("sender", ["a@acme.test", "{{mailbox}}"], ids=["fixed From", "From filled in"])
async def test_a_name_is_filled_in_with(world: World, sender: str, template: str, filled: str) -> None:
    content = InlineContent(sender, "s", text=f"[{template}]")
    common = {**COMMON, "mailbox": "a@acme.test"}
    mail = draft(0, content, recipients=[BOB], substitution_data=common, options=Options(metadata=METADATA))
    await world.transmitter().accept(mail)
    (message,) = await world.messages()
    assert f"[{filled}]".encode() in (await world.store.queue.body(message.id) or b"")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        pytest.param({}, b"To: bob@b.example\r\n", id="the address"),
        pytest.param({"name": "Bob"}, b"To: Bob <bob@b.example>\r\n", id="with its name"),
        pytest.param({"header_to": "carol@c.example"}, b"To: carol@c.example\r\n", id="what is asked for"),
    ],
)
async def test_the_field_to_says(world: World, changes: dict[str, str], field: bytes) -> None:
    recipient = replace(Recipient(parse_mailbox("bob@b.example")), **changes)  # type: ignore[arg-type] # strings
    await world.transmitter().accept(draft(0, CONTENT, recipients=[recipient]))
    (message,) = await world.messages()
    whole = message.prefix + (await world.store.queue.body(message.id) or b"")
    assert whole.count(b"\r\nTo: ") == 1
    assert b"\r\n" + field in whole


@pytest.mark.parametrize(
    ("header_to", "field"),
    [("", b"To: friends@acme.test\r\n"), ("carol@c.example", b"To: carol@c.example\r\n")],
    ids=["as he wrote it", "but for what is asked for"],
)
async def test_of_a_clients_own_message_the_field_to_stays(
    world: World, header_to: str, field: bytes
) -> None:
    content = Rfc822Content(b"From: a@acme.test\r\nTo: friends@acme.test\r\n\r\nHello.\r\n")
    recipient = Recipient(parse_mailbox("bob@b.example"), header_to=header_to)
    await world.transmitter().accept(draft(0, content, recipients=[recipient]))
    (message,) = await world.messages()
    whole = message.prefix + (await world.store.queue.body(message.id) or b"")
    assert whole.count(b"\r\nTo: ") == 1
    assert b"\r\n" + field in whole
