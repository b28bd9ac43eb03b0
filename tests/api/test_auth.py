"""Keys, grants, where clients come from, and X-MSYS-SUBACCOUNT."""

import base64
from dataclasses import replace

import httpx
import pytest

from relay.domain.directory import Status
from relay.testing.harness import RelayHarness
from tests.support.rest import described, refusal, results

KEY = "c100000000000000000000000000000000000001"
"""The lab's, of account 1."""
UNAUTHORIZED = (401, "Unauthorized.")
FORBIDDEN = (403, "Forbidden.")


def basic(user: str) -> str:
    return "Basic " + base64.b64encode(user.encode()).decode()


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(KEY, id="the key"),
        pytest.param(basic(f"{KEY}:"), id="Basic"),
        pytest.param(basic(f"{KEY}:").replace("Basic", "bAsIc"), id="Basic in any case"),
    ],
)
async def test_a_key_is_shown_as_it_is_or_by_http_basic(relay: RelayHarness, header: str) -> None:
    async with relay.api(key=header) as api:
        results(await api.get("/ip-pools"))


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("", id="empty"),
        pytest.param(KEY[:-1], id="a key cut short"),
        pytest.param(KEY.upper(), id="another case"),
        pytest.param(f"Bearer {KEY}", id="Bearer"),
        pytest.param(basic(KEY), id="Basic without a colon"),
        pytest.param(basic(f"{KEY}:secret"), id="Basic with a password"),
        pytest.param("Basic %%%", id="Basic of no base64"),
        pytest.param("Basic", id="Basic alone"),
        pytest.param("kéy", id="no ASCII"),
    ],
)
async def test_whoever_shows_no_key_is_unauthorized(relay: RelayHarness, header: str) -> None:
    async with relay.api() as api:
        for path in ("/ip-pools", "/sending-ips", "/subaccounts", "/account", "/api-keys"):
            answer = await api.get(path, headers={b"Authorization": header.encode()})
            assert refusal(answer) == UNAUTHORIZED


async def test_whoever_shows_nothing_is_unauthorized(relay: RelayHarness) -> None:
    async with relay.api() as api:
        del api.headers["authorization"]
        for method, path, _ in CALLS:
            assert refusal(await api.request(method, path)) == UNAUTHORIZED


CALLS = [
    ("GET", "/ip-pools", "ip_pools/view"),
    ("GET", "/ip-pools/default", "ip_pools/view"),
    ("POST", "/ip-pools", "ip_pools/manage"),
    ("PUT", "/ip-pools/quiet", "ip_pools/manage"),
    ("DELETE", "/ip-pools/quiet", "ip_pools/manage"),
    ("GET", "/sending-ips", "ip_pools/view"),
    ("GET", "/sending-ips/127.0.0.11", "ip_pools/view"),
    ("PUT", "/sending-ips/127.0.0.11", "ip_pools/manage"),
    ("GET", "/subaccounts", "subaccount/view"),
    ("GET", "/subaccounts/summary", "subaccount/view"),
    ("GET", "/subaccounts/123", "subaccount/view"),
    ("POST", "/subaccounts", "subaccount/manage"),
    ("PUT", "/subaccounts/123", "subaccount/manage"),
    ("GET", "/account", "account/view"),
    ("PUT", "/account", "account/manage"),
    ("GET", "/api-keys", "api_keys/manage"),
    ("GET", "/api-keys/x", "api_keys/manage"),
    ("POST", "/api-keys", "api_keys/manage"),
    ("DELETE", "/api-keys/x", "api_keys/manage"),
]


async def test_every_call_needs_its_grant_and_manage_includes_view(relay: RelayHarness) -> None:
    grants = {grant for _, _, grant in CALLS}
    keys = {grant: await relay.make_key(1, [grant]) for grant in grants}
    async with relay.api() as api:
        for method, path, needed in CALLS:
            # Without a body nothing is changed: it is refused, but not for a grant.
            enough = {needed, needed.replace("/view", "/manage")}
            for grant in grants:
                answer = await api.request(method, path, headers={"Authorization": keys[grant]}, content=b"-")
                is_refused = answer.status_code == 403
                assert is_refused is (grant not in enough), (method, path, grant, answer.text)
                assert not is_refused or refusal(answer) == FORBIDDEN
                assert not is_refused or described(answer) == f"the key lacks the grant {needed}"


async def test_subaccounts_have_no_pools_ips_or_account_to_see(relay: RelayHarness) -> None:
    grants = {grant for _, _, grant in CALLS}
    key = await relay.make_key(1, grants, subaccount=123)
    account_level = [
        call for call in CALLS if call[1].split("/")[1] in ("ip-pools", "sending-ips", "account")
    ]
    async with relay.api(key=key) as part, relay.api(subaccount=123) as acting:
        for method, path, _ in account_level:
            for api, who in ((part, "the key is"), (acting, "X-MSYS-SUBACCOUNT makes the request")):
                answer = await api.request(method, path)
                assert refusal(answer) == FORBIDDEN
                assert described(answer) == f"{who} of subaccount 123: this is for the account alone"


@pytest.mark.parametrize(
    ("valid_ips", "host", "is_allowed"),
    [
        pytest.param((), "192.0.2.7", True, id="no limit"),
        pytest.param(("192.0.2.0/24",), "192.0.2.7", True, id="inside"),
        pytest.param(("192.0.2.0/24",), "::ffff:192.0.2.7", True, id="inside, by an IPv6 socket"),
        pytest.param(("192.0.2.0/24", "2001:db8::/32"), "2001:db8::1", True, id="the second"),
        pytest.param(("192.0.2.0/24",), "198.51.100.1", False, id="outside"),
        pytest.param(("192.0.2.8",), "192.0.2.7", False, id="the neighbour"),
    ],
)
async def test_a_key_is_good_from_its_valid_ips_only(
    relay: RelayHarness, valid_ips: tuple[str, ...], host: str, is_allowed: bool
) -> None:
    key = await relay.make_key(1, ["ip_pools/view"], valid_ips=valid_ips)
    transport = httpx.ASGITransport(relay.inside.http_app, client=(host, 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://relay.test/api/v1") as api:
        # No header of the client's says where it comes from.
        headers = {"Authorization": key, "X-Forwarded-For": "192.0.2.7"}
        answer = await api.get("/ip-pools", headers=headers)
    assert answer.status_code == 200 if is_allowed else refusal(answer) == FORBIDDEN
    assert is_allowed or not described(answer), "whoever has found a key learns nothing of it"


ACCOUNTS_OWN, ALL = {None}, {None, 123, 124}


@pytest.mark.parametrize(
    ("key_of", "header", "seen"),
    [
        pytest.param(None, None, ALL, id="account, no header: the account and all subaccounts"),
        pytest.param(None, "0", ACCOUNTS_OWN, id="account, 0: the account only"),
        pytest.param(None, "123", {123}, id="account, n: that subaccount only"),
        pytest.param(124, None, {124}, id="subaccount, no header: itself"),
        pytest.param(124, "0", {124}, id="subaccount, 0: itself"),
        pytest.param(124, "123", {124}, id="subaccount, another: itself"),
        pytest.param(124, "x", {124}, id="subaccount, nonsense: itself"),
    ],
)
async def test_the_header_says_what_is_read(
    relay: RelayHarness, key_of: int | None, header: str | None, seen: set[int | None]
) -> None:
    await relay.make_key(1, ["smtp/inject"], subaccount=123)
    key = await relay.make_key(1, ["api_keys/manage"], subaccount=key_of)
    await relay.make_key(1, ["smtp/inject"], subaccount=124)
    async with relay.api(key=key) as api:
        headers = {} if header is None else {"X-MSYS-SUBACCOUNT": header}
        found = results(await api.get("/api-keys", headers=headers))
    assert {entry.get("subaccount_id") for entry in found} == seen


@pytest.mark.parametrize(
    ("header", "made_for"),
    [
        pytest.param(None, None, id="no header: the account"),
        pytest.param("0", None, id="0: the account"),
        pytest.param("123", 123, id="n: that subaccount"),
    ],
)
async def test_the_header_says_for_whom_is_written(
    relay: RelayHarness, header: str | None, made_for: int | None
) -> None:
    key = await relay.make_key()
    async with relay.api(key=key) as api:
        headers = {} if header is None else {"X-MSYS-SUBACCOUNT": header}
        body = {"label": "x", "grants": ["smtp/inject"]}
        made = results(await api.post("/api-keys", json=body, headers=headers))
    assert made.get("subaccount_id") == made_for


@pytest.mark.parametrize(
    ("header", "message"),
    [
        pytest.param("", "X-MSYS-SUBACCOUNT must be a number", id="empty"),
        pytest.param("-1", "X-MSYS-SUBACCOUNT must be a number", id="negative"),
        pytest.param("1.0", "X-MSYS-SUBACCOUNT must be a number", id="a fraction"),
        pytest.param("2147483648", "X-MSYS-SUBACCOUNT must be a number", id="33 bits"),
        pytest.param("99999999999", "X-MSYS-SUBACCOUNT must be a number", id="many digits"),
        pytest.param("7", "X-MSYS-SUBACCOUNT must be the id of a subaccount", id="unknown"),
    ],
)
async def test_a_header_that_names_no_subaccount_is_refused(
    relay: RelayHarness, header: str, message: str
) -> None:
    async with relay.api() as api:
        answer = await api.get("/subaccounts", headers={"X-MSYS-SUBACCOUNT": header})
    assert refusal(answer) == (400, message)


async def test_a_suspended_account_reads_and_changes_nothing(relay: RelayHarness) -> None:
    await relay.change_account(1, lambda account: replace(account, status=Status.SUSPENDED))
    async with relay.api() as api:
        assert results(await api.get("/account"))["status"] == "suspended"
        answer = await api.post("/ip-pools", json={"name": "A"})
        assert refusal(answer) == FORBIDDEN
        assert described(answer) == "account 1 is suspended"


async def test_an_operators_key_acts_for_any_account(relay: RelayHarness) -> None:
    operator = await relay.make_key(1, is_operator=True)
    async with relay.api(key=operator) as api:
        as_birch = {"X-Relay-Account": "2"}
        results(await api.post("/ip-pools", json={"name": "By the operator"}, headers=as_birch))
        assert results(await api.get("/account", headers=as_birch))["company_name"] == "Birch"
        assert results(await api.get("/account"))["company_name"] == "Acme"
        unknown = await api.get("/account", headers={"X-Relay-Account": "77"})
        assert refusal(unknown) == (404, "Account 77 does not exist.")
        nonsense = await api.get("/account", headers={"X-Relay-Account": "Birch"})
        assert refusal(nonsense) == (400, "X-Relay-Account must be a number")
    assert "by_the_operator" in relay.pools(2)


async def test_an_accounts_key_acts_for_no_other_account(relay: RelayHarness) -> None:
    async with relay.api() as api:
        answer = await api.get("/account", headers={"X-Relay-Account": "2"})
        assert refusal(answer) == FORBIDDEN
        assert described(answer) == "X-Relay-Account names another account than the key's"
        assert results(await api.get("/account", headers={"X-Relay-Account": "1"}))["customer_id"] == 1
