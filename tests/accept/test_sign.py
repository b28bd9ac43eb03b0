"""In whose name mail leaves: who signs it, who may stand in From, and whose key may be asked for."""

import asyncio
import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from relay.domain.address import parse_mailbox
from relay.domain.changes import Put
from relay.domain.directory import Check, DkimKey, Origin, Pool, Principal, SendingDomain, Subaccount
from relay.domain.errors import NoSender, RelayError, UnconfiguredDomain, UnknownDkimKey, UnverifiedDkimKey
from relay.domain.events import GenerationRejection
from relay.domain.ids import PoolId, SubaccountId
from relay.domain.message import Message, Options
from relay.domain.transmission import InlineContent, Recipient
from relay.net.records import RsaKeys
from tests.service.test_transmit import ACME, IPS, World, draft
from tests.support.handing import hand_in, smtp_door

DOORS = ["smtp", "rest"]
NEWS = Options(ip_pool="news")
TEAM, OTHERS = SubaccountId(7), SubaccountId(8)


@pytest.fixture(scope="module")
def key() -> DkimKey:
    return asyncio.run(RsaKeys().generate("k1"))


async def _set_up(world: World, *domains: SendingDomain, signing: str = "", loops: str = "") -> None:
    """With two subaccounts, and a pool of one IP that signs by these."""
    pool = Pool(ACME, PoolId("news"), "News", signing_domain=signing, fbl_signing_domain=loops)
    ip = replace(world.live.snapshot.ips[IPS[0]], pool=pool.id)
    teams = [Subaccount(ACME, TEAM, "Team"), Subaccount(ACME, OTHERS, "Others")]
    await world.live.apply([Put(pool), Put(ip), *map(Put, teams), *map(Put, domains)], "t")


async def _send(
    world: World,
    door: str,
    sender: str,
    *to: str,
    options: Options = NEWS,
    subaccount: SubaccountId | None = None,
    body: str = "Hello.\r\n",
) -> None:
    if door == "smtp":
        fields = f"From: {sender}\r\n".encode()
        mail = hand_in(*to, fields=fields, options=options, subaccount=subaccount, body=body.encode())
        await smtp_door(world).accept(mail)
        return
    recipients = [Recipient(parse_mailbox(one)) for one in to or ("bob@b.example",)]
    content = InlineContent(sender, "s", text=body)
    principal = Principal(ACME, subaccount)
    await world.transmitter().accept(
        draft(0, content, recipients=recipients, options=options, principal=principal)
    )


async def _signers(world: World, message: Message) -> list[str]:
    """The d= of its signatures, from above."""
    whole = message.prefix + (await world.store.queue.body(message.id) or b"")
    header = whole.partition(b"\r\n\r\n")[0]
    return [one.decode() for one in re.findall(rb"\bd=([a-z.]+);", header)]


def _domain(name: str, key: DkimKey, **changes: object) -> SendingDomain:
    made = SendingDomain(ACME, name, dkim=key, dkim_status=Check.VALID, origin=Origin.LIVE)
    return replace(made, **changes)  # type: ignore[arg-type] # the tests name real fields


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("verified", "signing", "loops", "to", "expected"),
    [
        pytest.param([], "", "", "bob@b.example", [], id="nobody"),
        pytest.param(["acme.test"], "", "", "bob@b.example", ["acme.test"], id="the domain of From"),
        pytest.param(["pool.test"], "", "", "bob@b.example", [], id="not a domain that nobody names"),
        pytest.param(["pool.test"], "pool.test", "", "bob@b.example", ["pool.test"], id="else the pool's"),
        pytest.param([], "pool.test", "", "bob@b.example", [], id="not one of the pool's that is unverified"),
        pytest.param(
            ["acme.test", "pool.test"], "pool.test", "", "bob@b.example", ["acme.test"], id="From before it"
        ),
        pytest.param(
            ["acme.test", "fbl.test"],
            "",
            "fbl.test",
            "bob@yahoo.example",
            ["fbl.test", "acme.test"],
            id="twice for a provider with such a feedback loop",
        ),
        pytest.param(
            ["acme.test", "fbl.test"], "", "fbl.test", "bob@b.example", ["acme.test"], id="not for others"
        ),
        pytest.param(
            ["acme.test"], "", "acme.test", "bob@yahoo.example", ["acme.test"], id="once where both are one"
        ),
        pytest.param(
            ["fbl.test"], "", "fbl.test", "bob@yahoo.example", ["fbl.test"], id="for the loop alone"
        ),
        pytest.param(["fbl.test"], "", "fbl.test", "bob@b.example", [], id="for a loop elsewhere"),
    ],
)
async def test_mail_is_signed_by(
    world: World,
    key: DkimKey,
    door: str,
    verified: Sequence[str],
    signing: str,
    loops: str,
    to: str,
    expected: list[str],
) -> None:
    names = ("acme.test", "pool.test", "fbl.test")
    states = {name: Check.VALID if name in verified else Check.INVALID for name in names}
    domains = [_domain(name, key, dkim_status=states[name]) for name in names]
    await _set_up(world, *domains, signing=signing, loops=loops)
    await _send(world, door, "a@acme.test", to)
    (message,) = await world.messages()
    assert await _signers(world, message) == expected


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("changes", "subaccount", "may"),
    [
        pytest.param({}, None, True, id="the account, of its own"),
        pytest.param({}, TEAM, False, id="a subaccount, of the account's"),
        pytest.param({"shared_with_subaccounts": True}, TEAM, True, id="a subaccount, of what is shared"),
        pytest.param({"subaccount": TEAM}, TEAM, True, id="a subaccount, of its own"),
        pytest.param({"subaccount": TEAM}, OTHERS, False, id="a subaccount, of another's"),
        pytest.param({"subaccount": TEAM}, None, False, id="the account, of a subaccount's"),
        pytest.param({"dkim_status": Check.INVALID}, None, False, id="the account, of one without a check"),
    ],
)
async def test_a_domain_signs_and_stands_in_from_for_whom_it_is(
    world: World,
    key: DkimKey,
    door: str,
    changes: dict[str, object],
    subaccount: SubaccountId | None,
    may: bool,
) -> None:
    await _set_up(world, _domain("acme.test", key, **changes))
    await _send(world, door, "a@acme.test", options=Options(), subaccount=subaccount)
    (message,) = await world.messages()
    assert await _signers(world, message) == ["acme.test"] * may
    account = replace(world.live.snapshot.accounts[ACME], require_sending_domain=True)
    await world.live.apply([Put(account)], "t")
    if may:
        await _send(world, door, "a@acme.test", options=Options(), subaccount=subaccount)
    else:
        with pytest.raises(UnconfiguredDomain) as caught:
            await _send(world, door, "a@acme.test", options=Options(), subaccount=subaccount)
        assert caught.value.domain == "acme.test"
    assert len(await world.messages()) == 1 + may


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("sender", "asked", "refusal"),
    [
        pytest.param("a@acme.test", "K1", None, id="its own, in whatever case"),
        pytest.param("a@acme.test", "k2", UnknownDkimKey, id="another"),
        pytest.param("a@other.test", "k1", UnknownDkimKey, id="another domain's"),
        pytest.param("a@new.test", "k1", UnverifiedDkimKey, id="one that receivers do not find"),
        pytest.param("a@bare.test", "k1", UnknownDkimKey, id="of a domain without"),
    ],
)
async def test_the_key_that_is_asked_for_is_the_from_domains(
    world: World, key: DkimKey, door: str, sender: str, asked: str, refusal: type[RelayError] | None
) -> None:
    new = _domain("new.test", key, dkim_status=Check.INVALID)
    await _set_up(world, _domain("acme.test", key), new, _domain("bare.test", key, dkim=None))
    if refusal is None:
        await _send(world, door, sender, options=Options(dkim_key=asked))
    else:
        with pytest.raises(refusal):
            await _send(world, door, sender, options=Options(dkim_key=asked))
    assert len(await world.messages()) == (refusal is None)


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        pytest.param(b"From: a@acme.test\r\n", None, id="one mailbox"),
        pytest.param(b"From: a@acme.test, b@acme.test\r\n", NoSender, id="two of the domain"),
        pytest.param(b"From: a@acme.test, b@else.test\r\n", UnconfiguredDomain, id="two of two domains"),
        pytest.param(b"From: a@acme.test\r\nFrom: a@acme.test\r\n", UnconfiguredDomain, id="two fields"),
        pytest.param(b"From: somebody\r\n", UnconfiguredDomain, id="none"),
        pytest.param(b"Subject: s\r\n", UnconfiguredDomain, id="no field"),
    ],
)
async def test_from_is_one_mailbox_where_its_domain_is_judged(
    world: World, key: DkimKey, fields: bytes, refusal: type[RelayError] | None
) -> None:
    """Over SMTP it leaves as it came, and readers might each see another sender."""
    await _set_up(world, _domain("acme.test", key))
    await smtp_door(world).accept(hand_in(fields=fields))
    account = replace(world.live.snapshot.accounts[ACME], require_sending_domain=True)
    await world.live.apply([Put(account)], "t")
    if refusal is None:
        await smtp_door(world).accept(hand_in(fields=fields))
    else:
        with pytest.raises(refusal):
            await smtp_door(world).accept(hand_in(fields=fields))
    assert len(await world.messages()) == 1 + (refusal is None)


async def test_a_from_that_is_filled_in_is_judged_and_signed_for_each(world: World, key: DkimKey) -> None:
    await _set_up(world, _domain("acme.test", key))
    account = replace(world.live.snapshot.accounts[ACME], require_sending_domain=True)
    await world.live.apply([Put(account)], "t")
    content = InlineContent("a@{{domain}}", "s", text="t")
    good, bad = (
        Recipient(parse_mailbox(f"bob@{domain}"), substitution_data={"domain": domain})
        for domain in ("acme.test", "else.test")
    )
    id_ = await world.transmitter().accept(draft(0, content, recipients=[good, bad]))
    (message,) = await world.messages()
    assert (message.rcpt_to, await _signers(world, message)) == ("bob@acme.test", ["acme.test"])
    assert message.particulars is not None
    assert message.particulars.sending_domain == "acme.test"
    told = [one.event for one in await world.store.events.of_transmission(id_)]
    rejections = [one for one in told if isinstance(one, GenerationRejection)]
    assert [(one.about.rcpt_to, one.error_code) for one in rejections] == [("bob@else.test", 550)]
    with pytest.raises(UnconfiguredDomain):
        await world.transmitter().accept(draft(0, content, recipients=[bad, bad]))


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("lines", [1, 20_000], ids=["in the loop", "beside it"])
async def test_the_hash_of_a_body_is_the_same_however_large_it_is(
    world: World, key: DkimKey, door: str, lines: int
) -> None:
    await _set_up(world, _domain("acme.test", key))
    body = "x" * 8 + "\r\n"
    await _send(world, door, "a@acme.test", body=body * lines)
    (message,) = await world.messages()
    whole = message.prefix + (await world.store.queue.body(message.id) or b"")
    header, _, content = whole.partition(b"\r\n\r\n")
    (stated,) = re.findall(rb"\bbh=([^;]+);", header)
    assert base64.b64decode(stated) == hashlib.sha256(content.rstrip(b"\r\n") + b"\r\n").digest()
