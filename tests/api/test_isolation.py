"""Two accounts never see or touch each other's objects; nor do the parts of one."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import httpx
import pytest

from relay.domain.changes import Put
from relay.domain.directory import Check, Origin, SendingDomain
from relay.domain.ids import AccountId, SubaccountId
from relay.testing.harness import RelayHarness
from tests.support.rest import furnish, operations, results

TO = "ann@acme.example"
"""Who got a message of the victim's."""
NOBODYS = {
    "pool": "nobodys",
    "external_ip": "127.9.9.9",
    "subaccount": "999",
    "key": "f" * 16,
    "invoice": "1-19990101",
    "domain": "nobody.test",
    "recipient": "joe@nobody.example",
    "id": "999999999999",
}


class Ask(NamedTuple):
    """One request with the victim's ids where names in braces stand, and its statuses.

    status: told to another account. bound: told to the key of another subaccount; None: the same.
    """

    url: str
    status: int
    bound: int | None = None
    body: Mapping[str, Any] | None = None


def _sent(domain: str = "birch.test", pool: str = "") -> dict[str, Any]:
    content = {"from": f"news@{domain}", "subject": "Hello", "text": "Hello."}
    return {"content": content, "recipients": [{"address": "x@b.example"}], "options": {"ip_pool": pool}}


_KEY = {"label": "k", "grants": ["message_events/view"]}
_EVENTS = "/events/message"
_BUY = "/account/add-ons/dedicated_ips"

WALK: dict[tuple[str, str], list[Ask]] = {
    ("GET", "/ip-pools"): [Ask("/ip-pools", 200, 403)],
    ("POST", "/ip-pools"): [
        Ask("/ip-pools", 400, 403, {"name": "New", "auto_warmup_overflow_pool": "{pool}"}),
        Ask("/ip-pools", 400, 403, {"name": "New", "signing_domain": "{domain}"}),
        Ask("/ip-pools", 400, 403, {"name": "New", "fbl_signing_domain": "{domain}"}),
    ],
    ("GET", "/ip-pools/{pool}"): [Ask("/ip-pools/{pool}", 404, 403)],
    ("PUT", "/ip-pools/{pool}"): [
        Ask("/ip-pools/{pool}", 404, 403, {"name": "Stolen"}),
        Ask("/ip-pools/news", 400, 403, {"name": "News", "auto_warmup_overflow_pool": "{pool}"}),
        Ask("/ip-pools/news", 400, 403, {"name": "News", "signing_domain": "{domain}"}),
    ],
    ("DELETE", "/ip-pools/{pool}"): [Ask("/ip-pools/{pool}", 404, 403)],
    ("GET", "/sending-ips"): [Ask("/sending-ips", 200, 403)],
    ("GET", "/sending-ips/{external_ip}"): [Ask("/sending-ips/{external_ip}", 404, 403)],
    ("PUT", "/sending-ips/{external_ip}"): [
        Ask("/sending-ips/{external_ip}", 404, 403, {"ip_pool": "news"}),
        Ask("/sending-ips/127.0.0.21", 400, 403, {"ip_pool": "{pool}"}),
    ],
    # A subaccount may name a pool that is not there: a name, and no pool of anybody's (A9).
    ("POST", "/subaccounts"): [
        Ask("/subaccounts", 200, 403, {"name": "New", "ip_pool": "{pool}", "setup_api_key": False})
    ],
    ("GET", "/subaccounts"): [
        Ask("/subaccounts", 200),
        Ask("/subaccounts?cursor=initial", 200),
        Ask("/subaccounts?ids={subaccount}", 200),
    ],
    ("GET", "/subaccounts/summary"): [Ask("/subaccounts/summary", 200)],
    ("GET", "/subaccounts/{subaccount}"): [Ask("/subaccounts/{subaccount}", 404)],
    ("PUT", "/subaccounts/{subaccount}"): [
        Ask("/subaccounts/{subaccount}", 404, 403, {"status": "terminated"})
    ],
    ("GET", "/account"): [Ask("/account", 200, 403)],
    ("PUT", "/account"): [Ask("/account", 200, 403, {"company_name": "Birch and daughters"})],
    ("GET", "/api-keys"): [Ask("/api-keys", 200)],
    ("POST", "/api-keys"): [Ask("/api-keys", 200, None, _KEY)],
    ("GET", "/api-keys/{key}"): [Ask("/api-keys/{key}", 404)],
    ("DELETE", "/api-keys/{key}"): [Ask("/api-keys/{key}", 404)],
    ("POST", "/account/add-ons/dedicated_ips"): [Ask(_BUY, 400, 403, {"ip_pool": "{pool}", "quantity": 1})],
    ("GET", "/billing/subscription"): [Ask("/billing/subscription", 200, 403)],
    ("PUT", "/billing/subscription"): [Ask("/billing/subscription", 403, 403, {"plan": "free"})],
    ("GET", "/billing/plans"): [Ask("/billing/plans", 200, 403)],
    ("GET", "/billing/invoices"): [Ask("/billing/invoices", 200, 403)],
    ("GET", "/billing/invoices/{invoice}"): [Ask("/billing/invoices/{invoice}", 404, 403)],
    ("GET", "/sending-domains"): [Ask("/sending-domains", 200)],
    ("POST", "/sending-domains"): [Ask("/sending-domains", 400, 409, {"domain": "{domain}"})],
    ("GET", "/sending-domains/{domain}"): [Ask("/sending-domains/{domain}", 404)],
    ("PUT", "/sending-domains/{domain}"): [
        Ask("/sending-domains/{domain}", 404, None, {"generate_dkim": True})
    ],
    ("DELETE", "/sending-domains/{domain}"): [Ask("/sending-domains/{domain}", 404)],
    ("POST", "/sending-domains/{domain}/verify"): [
        Ask("/sending-domains/{domain}/verify", 404, None, {"dkim_verify": True})
    ],
    ("GET", "/suppression-list"): [Ask("/suppression-list", 200)],
    ("GET", "/suppression-list/summary"): [Ask("/suppression-list/summary", 200)],
    ("GET", "/suppression-list/{recipient}"): [Ask("/suppression-list/{recipient}", 404)],
    ("DELETE", "/suppression-list/{recipient}"): [Ask("/suppression-list/{recipient}", 404)],
    # Each has a list of its own, on which the same recipient may stand.
    ("PUT", "/suppression-list"): [
        Ask(
            "/suppression-list",
            200,
            None,
            {"recipients": [{"recipient": "{recipient}", "type": "transactional"}]},
        )
    ],
    ("PUT", "/suppression-list/{recipient}"): [
        Ask("/suppression-list/{recipient}", 200, None, {"type": "transactional", "description": "theirs"})
    ],
    ("GET", "/events/message"): [
        Ask(_EVENTS, 200),
        Ask(f"{_EVENTS}?subaccounts={{subaccount}}", 200),
        Ask(f"{_EVENTS}?recipients={TO}", 200),
        Ask(f"{_EVENTS}?sending_ips={{external_ip}}", 200),
        Ask(f"{_EVENTS}?messages={{message}}", 200),
        Ask(f"{_EVENTS}?transmissions={{transmission}}", 200),
        Ask(f"{_EVENTS}?event_ids={{event}}", 200),
    ],
    ("GET", "/message-events"): [
        Ask("/message-events", 200),
        Ask("/message-events?subaccounts={subaccount}", 200),
        Ask(f"/message-events?recipients={TO}", 200),
        Ask("/message-events?message_ids={message}", 200),
        Ask("/message-events?transmission_ids={transmission}", 200),
    ],
    ("GET", "/message-events/events/documentation"): [Ask("/message-events/events/documentation", 200)],
    ("GET", "/message-events/events/samples"): [Ask("/message-events/events/samples", 200)],
    ("GET", "/webhooks/events/documentation"): [Ask("/webhooks/events/documentation", 200)],
    ("GET", "/events/message/documentation"): [Ask(f"{_EVENTS}/documentation", 200)],
    ("GET", "/events/message/samples"): [Ask(f"{_EVENTS}/samples", 200)],
    ("POST", "/transmissions"): [
        Ask("/transmissions", 422, None, _sent(pool="{pool}")),
        Ask("/transmissions", 400, None, _sent(domain="{domain}")),
    ],
    ("GET", "/transmissions"): [
        Ask("/transmissions", 200),
        Ask("/transmissions?campaign_id=acme-later", 200),
    ],
    ("DELETE", "/transmissions"): [Ask("/transmissions?campaign_id=acme-later", 204)],
    ("POST", "/utils/content-previewer"): [Ask("/utils/content-previewer", 200, None, _sent())],
    ("GET", "/transmissions/{id}"): [Ask("/transmissions/{id}", 404)],
    ("DELETE", "/transmissions/{id}"): [Ask("/transmissions/{id}", 404)],
}
OPEN = {("GET", "/healthz"), ("GET", "/readyz")}
"""These say nothing of anybody."""


async def test_every_operation_is_walked(relay: RelayHarness) -> None:
    assert set(WALK) | OPEN == set(operations(relay))
    for (method, path), asked in WALK.items():
        assert "{" not in path or any(one.url == path for one in asked), (method, path)


class Walk:
    """An intruder who knows all ids of a victim, and asks for everything with them."""

    def __init__(self, relay: RelayHarness, subaccount: int | None) -> None:
        """subaccount: of account 1; None: the account itself is the victim."""
        self._relay, self._subaccount = relay, subaccount
        self._ids: dict[str, str] = {}

    async def prepare(self) -> None:
        relay = self._relay
        self._ids = await furnish(relay, subaccount=self._subaccount)
        await verify(relay, 1, self._ids["domain"], self._subaccount)
        sent = await relay.inject(
            TO, ip_pool="receipts", subaccount=self._subaccount, mail_from="a@acme.test"
        )
        await relay.quiet()
        relay.clock.advance(seconds=1)
        self._ids |= {"message": sent.message_id, "transmission": sent.transmission_id}
        async with relay.api() as api:
            self._ids["event"] = results(await api.get(f"/events/message?recipients={TO}"))[0]["event_id"]

    async def seen(self, subaccount: int | None = None) -> dict[str, str]:
        """All that account 1 can read of itself; subaccount: of that part, 0 being the account's own."""
        async with self._relay.api(1, subaccount=subaccount) as api:
            asked = [one.url for (method, _), found in WALK.items() if method == "GET" for one in found]
            return {url: _without_refusals((await api.get(url.format(**self._ids))).text) for url in asked}

    async def ask(self, api: httpx.AsyncClient, is_bound: bool) -> None:
        for (method, path), asked in WALK.items():
            for one in asked:
                answer = await self._send(api, method, one, self._ids)
                status = one.bound if is_bound and one.bound is not None else one.status
                assert answer.status_code == status, (method, one, answer.text)
                if status == 200:
                    for secret in self._secrets():
                        assert secret not in answer.text, (method, one)
                if status == 404:
                    like = await self._send(api, method, one, NOBODYS)
                    named = {name: value for name, value in self._ids.items() if f"{{{name}}}" in path}
                    text = answer.text
                    for name, value in named.items():
                        text = text.replace(value, NOBODYS[name])
                    assert (like.status_code, like.text) == (404, text)

    async def _send(
        self, api: httpx.AsyncClient, method: str, one: Ask, ids: Mapping[str, str]
    ) -> httpx.Response:
        content = None if one.body is None else json.dumps(one.body)
        for name, value in ids.items():
            content = content and content.replace(f"{{{name}}}", value)
        return await api.request(method, one.url.format(**ids), content=content)

    def _secrets(self) -> list[str]:
        return [TO, "acme", "Acme", *(self._ids[name] for name in ("key", "id", "message", "transmission"))]


def _without_refusals(text: str) -> str:
    """The account sees the refusals of its subaccounts' requests."""
    answer = json.loads(text)
    found = answer.get("results") if isinstance(answer, dict) else None
    if isinstance(found, list) and "total_count" in answer:
        kept = [one for one in found if one.get("type") != "policy_rejection"]
        answer |= {"results": kept, "total_count": answer["total_count"] - len(found) + len(kept)}
    return json.dumps(answer)


async def verify(relay: RelayHarness, account: int, domain: str, subaccount: int | None) -> None:
    """From now on the account may send from what is verified, and from nothing else."""
    owner = SubaccountId(subaccount) if subaccount else None
    found = relay.inside.directory.snapshot.domains.get((AccountId(account), domain))
    entry = found or SendingDomain(AccountId(account), domain, owner, origin=Origin.LIVE)
    await relay.apply(Put(replace(entry, dkim_status=Check.VALID)))
    await relay.change_account(account, lambda found: replace(found, require_sending_domain=True))


async def test_another_account_sees_and_touches_nothing(relay: RelayHarness) -> None:
    walk = Walk(relay, None)
    await walk.prepare()
    await furnish(relay, 2, "birch")
    await verify(relay, 2, "birch.test", None)
    before = await walk.seen()
    async with relay.api(2) as api:
        await walk.ask(api, is_bound=False)
    assert await walk.seen() == before


@pytest.mark.parametrize("victim", [0, 124], ids=["of the account", "of another subaccount"])
async def test_a_subaccounts_key_sees_and_touches_nothing(relay: RelayHarness, victim: int) -> None:
    walk = Walk(relay, victim or None)
    await walk.prepare()
    await verify(relay, 1, "birch.test", 123)
    before = await walk.seen(victim)
    key = await relay.make_key(subaccount=123)
    # The key's own subaccount applies, whatever the header says.
    async with relay.api(1, key=key, subaccount=124) as api:
        await walk.ask(api, is_bound=True)
    assert await walk.seen(victim) == before
