"""Stored XSS: every name that somebody can type is text on every page."""

import re
from collections.abc import Mapping
from dataclasses import replace

from relay.domain.changes import Put
from relay.domain.directory import ApiKey, SendingIp, Subaccount
from relay.domain.ids import AccountId, IpAddress, PoolId, SubaccountId
from relay.domain.users import Role
from relay.process.mount import VIEWS
from relay.sink.fake_mta import FakeMta
from tests.console.site import Console

EVIL = """<script>alert(1)</script>"'><img src=x onerror=alert(2)>"""
LATER = f"450 4.7.1 {EVIL}"


def filled(path: str, values: Mapping[str, str]) -> str:
    """The path of a route with a value for each of its names."""
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda hit: values.get(hit[1], "1"), path)


async def test_what_people_and_hosts_have_typed_is_text_on_every_page(console: Console, mta: FakeMta) -> None:
    relay = console.relay
    snapshot = relay.inside.directory.snapshot
    account = AccountId(1)
    await relay.apply(
        Put(replace(snapshot.accounts[account], name=EVIL)),
        Put(replace(snapshot.pools[account, PoolId("marketing")], name=EVIL)),
        Put(Subaccount(account, SubaccountId(9), EVIL, PoolId("gone"))),
        Put(ApiKey("0" * 64, '<b>"', account, EVIL, frozenset({"smtp/inject"}), SubaccountId(9))),
        Put(SendingIp(IpAddress("127.0.0.99"), IpAddress("127.0.0.99"), EVIL)),
    )
    await console.sign_ins.add_user(EVIL, Role.READER, account, EVIL)
    mta.answer("later@gmail.example", LATER)
    msys = {"campaign_id": EVIL, "metadata": {EVIL: EVIL}, "tags": [EVIL], "options": {"ip_pool": "receipts"}}
    headers = {"Subject": EVIL, "X-Mailer": EVIL}
    sent = await relay.inject("later@gmail.example", msys=msys, headers=headers)
    await relay.quiet()
    values = {
        "pool": "marketing",
        "ip": "127.0.0.13",
        "id": sent.message_id,
        "invoice": "1",
        "domain": "x.test",
        "name": EVIL,
        "verb": "hold",
    }
    routes = [route for pages in VIEWS for route in pages.routes]
    shown, seen = {route.path for route in routes if "GET" in (route.methods or ())}, 0
    async with console.client("operator") as http:
        for path in sorted(shown):
            for id_ in (sent.message_id, "9", "1"):
                found = {**values, "id": id_}
                answer = await http.get(filled(path, found))
                assert answer.status_code < 500, path
                if not answer.headers.get("content-type", "text/html").startswith("text/html"):
                    assert answer.headers["x-content-type-options"] == "nosniff"
                    continue
                assert "<script>alert" not in answer.text, path
                assert "<img src=x" not in answer.text, path
                seen += "&lt;script&gt;alert" in answer.text
    assert seen > 15
