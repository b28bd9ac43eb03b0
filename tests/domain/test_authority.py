"""Who may do what, as every door asks it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from relay.domain.authority import (
    REST_GRANT,
    SMTP_GRANT,
    check_change,
    check_no_stronger,
    check_sender,
    faults_of,
    holder_of,
    is_active,
    lacking,
)
from relay.domain.clients import client_address
from relay.domain.directory import Account, ApiKey, Plan, Principal, Snapshot, Status, Subaccount
from relay.domain.errors import BeyondMaker, NotGranted, UnknownObject
from relay.domain.ids import AccountId, SubaccountId

ONE, TWO, PART, OTHER = AccountId(1), AccountId(2), SubaccountId(5), SubaccountId(6)
HERE, AWAY = "192.0.2.1", "198.51.100.1"
KEY = ApiKey("k", "k100", ONE, "all", frozenset({SMTP_GRANT, REST_GRANT, "ip_pools/manage"}))
KEYS = {
    "all": KEY,
    "part": replace(KEY, sha256="p", subaccount=PART),
    "few": replace(KEY, sha256="f", grants=frozenset({"ip_pools/view"})),
    "near": replace(KEY, sha256="n", valid_ips=("192.0.2.0/24",)),
    "operator": replace(KEY, sha256="o", account=TWO, is_operator=True),
    "other": replace(KEY, sha256="x", account=TWO),
}


def directory(account: Status = Status.ACTIVE, part: Status = Status.ACTIVE) -> Snapshot:
    return Snapshot(
        accounts={
            ONE: Account(ONE, "Acme", Plan.SELF_SERVE, status=account),
            TWO: Account(TWO, "Two", Plan.SELF_SERVE),
        },
        subaccounts={(ONE, PART): Subaccount(ONE, PART, "part", status=part)},
        keys={key.sha256: key for key in KEYS.values()},
    )


def shown(
    key: str, subaccount: SubaccountId | None = None, account: AccountId = ONE, client: str = HERE
) -> Principal:
    """Whoever shows that key; empty: a trusted network shows none."""
    return Principal(account, subaccount, key=KEYS[key].sha256 if key in KEYS else key, client=client)


def said(check: Callable[[], None]) -> str:
    """The refusal's words; empty when there is none."""
    try:
        check()
    except (NotGranted, BeyondMaker) as error:
        return error.detail or "no"
    except UnknownObject as error:
        return f"no {error.kind}"
    return ""


@pytest.mark.parametrize(
    ("principal", "account", "part", "refusal"),
    [
        (shown(""), Status.ACTIVE, Status.ACTIVE, ""),
        (shown("", PART), Status.ACTIVE, Status.ACTIVE, ""),
        (shown("", account=AccountId(9)), Status.ACTIVE, Status.ACTIVE, "no account"),
        (shown("", OTHER), Status.ACTIVE, Status.ACTIVE, "no subaccount"),
        (shown(""), Status.SUSPENDED, Status.ACTIVE, "account 1 is suspended"),
        (shown("", PART), Status.ACTIVE, Status.TERMINATED, "subaccount 5 is terminated"),
        (shown(""), Status.ACTIVE, Status.TERMINATED, ""),
        (shown("all"), Status.ACTIVE, Status.ACTIVE, ""),
        (shown("all", PART), Status.ACTIVE, Status.ACTIVE, ""),
        (shown("gone"), Status.ACTIVE, Status.ACTIVE, "the key was revoked"),
        (shown("few"), Status.ACTIVE, Status.ACTIVE, "the key lacks the grant smtp/inject"),
        (shown("other"), Status.ACTIVE, Status.ACTIVE, "the key is another's by now"),
        (shown("part"), Status.ACTIVE, Status.ACTIVE, "the key is another's by now"),
        (shown("part", PART), Status.ACTIVE, Status.ACTIVE, ""),
        (shown("near"), Status.ACTIVE, Status.ACTIVE, ""),
        (shown("near", client=AWAY), Status.ACTIVE, Status.ACTIVE, "no"),
        (shown("operator"), Status.ACTIVE, Status.ACTIVE, ""),
        (shown("operator"), Status.SUSPENDED, Status.ACTIVE, "account 1 is suspended"),
    ],
)
def test_mail_is_handed_in_by_whoever_may_in_this_directory(
    principal: Principal, account: Status, part: Status, refusal: str
) -> None:
    assert said(lambda: check_sender(directory(account, part), principal, SMTP_GRANT)) == refusal


@pytest.mark.parametrize(
    ("principal", "account", "refusal"),
    [
        (shown("all"), Status.ACTIVE, ""),
        (shown("all"), Status.SUSPENDED, "account 1 is suspended"),
        (shown("operator"), Status.SUSPENDED, ""),
        (shown("few"), Status.ACTIVE, "the key lacks the grant a or ip_pools/manage"),
        (shown("gone"), Status.ACTIVE, "the key was revoked"),
    ],
)
def test_a_change_is_made_by_whoever_may_in_this_directory(
    principal: Principal, account: Status, refusal: str
) -> None:
    grants = ("ip_pools/manage", "a")
    assert said(lambda: check_change(directory(account), principal, grants)) == refusal


@pytest.mark.parametrize(
    ("key", "grants", "valid_ips", "subaccount", "refusal"),
    [
        ("all", [SMTP_GRANT], (), None, ""),
        ("all", ["b", "a"], (), None, "grants exceed those of the key in use: a, b"),
        ("operator", ["a"], (), OTHER, ""),
        ("gone", [], (), None, "the key was revoked"),
        ("near", [], (), None, "valid_ips exceed those of the key in use: 192.0.2.0/24"),
        ("near", [], ("192.0.2.7", "192.0.2.128/25"), None, ""),
        ("near", [], ("192.0.0.0/16",), None, "valid_ips exceed those of the key in use: 192.0.2.0/24"),
        ("near", [], ("2001:db8::/32",), None, "valid_ips exceed those of the key in use: 192.0.2.0/24"),
        ("near", [], ("nowhere",), None, "valid_ips exceed those of the key in use: 192.0.2.0/24"),
        ("part", [], (), PART, ""),
        ("part", [], (), None, "the key in use is of subaccount 5 alone"),
    ],
)
def test_a_key_makes_none_that_may_more_than_itself(
    key: str, grants: list[str], valid_ips: tuple[str, ...], subaccount: SubaccountId | None, refusal: str
) -> None:
    check = lambda: check_no_stronger(directory(), shown(key), grants, valid_ips, subaccount)  # noqa: E731
    assert said(check) == refusal


@pytest.mark.parametrize(
    ("key", "account", "subaccount", "client", "faults"),
    [
        ("all", Status.ACTIVE, None, HERE, []),
        ("few", Status.ACTIVE, None, HERE, ["grant"]),
        ("near", Status.ACTIVE, None, AWAY, ["valid_ips"]),
        ("near", Status.SUSPENDED, None, AWAY, ["valid_ips", "account_suspended"]),
        ("all", Status.ACTIVE, OTHER, HERE, ["subaccount_unknown"]),
    ],
)
def test_the_log_is_told_all_that_is_wrong_with_the_use_of_a_key(
    key: str, account: Status, subaccount: SubaccountId | None, client: str, faults: list[str]
) -> None:
    found = faults_of(directory(account), KEYS[key], subaccount, client_address(client), SMTP_GRANT)
    assert found == faults


def test_an_account_that_is_not_there_is_not_active() -> None:
    assert is_active(directory(), ONE)
    assert not is_active(directory(), AccountId(9))


def test_a_key_is_known_in_the_log_by_whose_it_is() -> None:
    assert holder_of(KEYS["all"]) == "account=1 key=k100"
    assert holder_of(KEYS["part"]) == "account=1 subaccount=5 key=k100"


def test_what_is_lacking_is_named_with_all_that_would_do() -> None:
    assert lacking({"b", "a"}) == "the key lacks the grant a or b"
