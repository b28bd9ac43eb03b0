"""Who may do what: the rules that every door asks, SMTP, REST, console and scheduled work alike."""

import ipaddress
from collections.abc import Collection, Sequence

from relay.domain.clients import ClientAddress, client_address, may_come_from
from relay.domain.directory import ApiKey, Principal, Snapshot, Status
from relay.domain.errors import BeyondMaker, NotGranted, UnknownObject
from relay.domain.ids import AccountId, SubaccountId

SMTP_GRANT = "smtp/inject"
REST_GRANT = "transmissions/modify"
"""What a key needs to hand in mail."""

_REVOKED = "the key was revoked"


def is_active(snapshot: Snapshot, account_id: AccountId, subaccount_id: SubaccountId | None = None) -> bool:
    """Whether it is there and may do more than read: suspended and terminated ones may not."""
    return not what_rests(snapshot, account_id, subaccount_id)


def what_rests(
    snapshot: Snapshot, account_id: AccountId, subaccount_id: SubaccountId | None = None
) -> tuple[str, str] | None:
    """What is not active, and how it stands instead: `("account", "suspended")`; None: all is."""
    account = snapshot.accounts.get(account_id)
    if account is None or account.status is not Status.ACTIVE:
        return "account", "unknown" if account is None else account.status.value
    if subaccount_id is None:
        return None
    subaccount = snapshot.subaccounts.get((account_id, subaccount_id))
    if subaccount is None or subaccount.status is not Status.ACTIVE:
        return "subaccount", "unknown" if subaccount is None else subaccount.status.value
    return None


def check_active(snapshot: Snapshot, account: AccountId, subaccount: SubaccountId | None) -> None:
    """Raises NotGranted, which says what is not active."""
    if rests := what_rests(snapshot, account, subaccount):
        what, status = rests
        named = f"subaccount {subaccount}" if what == "subaccount" else f"account {account}"
        raise NotGranted(f"{named} is {status}")


def faults_of(
    snapshot: Snapshot, key: ApiKey, subaccount: SubaccountId | None, client: ClientAddress, grant: str
) -> list[str]:
    """All that keeps the key from being used so, each a word for the log: `grant`, `account_suspended`."""
    found = [] if grant in key.grants else ["grant"]
    if not may_come_from(key, client):
        found.append("valid_ips")
    if rests := what_rests(snapshot, key.account, subaccount):
        found.append("_".join(rests))
    return found


def holder_of(key: ApiKey) -> str:
    """Whose it is, for the log. Of the key itself no more than people see in lists."""
    whose = f"account={key.account}"
    if key.subaccount is not None:
        whose += f" subaccount={key.subaccount}"
    return f"{whose} key={key.short}"


def lacking(grants: Collection[str]) -> str:
    """grants: any of which would be enough."""
    return f"the key lacks the grant {' or '.join(sorted(grants))}"


def check_sender(snapshot: Snapshot, principal: Principal, grant: str) -> None:
    """Raises NotGranted, UnknownObject unless it may hand in mail, in this directory.

    Mail is of an active account and subaccount, whoever hands it in. The key that was shown must still be
    there, hold the grant, be allowed from the client's address, and be that part's.
    """
    _check_known(snapshot, principal)
    check_active(snapshot, principal.account, principal.subaccount)
    if principal.key:
        _key_of(snapshot, principal, (grant,))


def check_change(snapshot: Snapshot, principal: Principal, grants: Collection[str]) -> None:
    """Raises NotGranted unless it may change something in this directory, for which one of grants is needed.

    An operator's key may in every account, whatever its status.
    """
    key = _key_of(snapshot, principal, grants)
    if not key.is_operator:
        check_active(snapshot, principal.account, principal.subaccount)


def check_no_stronger(
    snapshot: Snapshot,
    principal: Principal,
    grants: Collection[str],
    valid_ips: Sequence[str],
    subaccount: SubaccountId | None,
) -> None:
    """Raises BeyondMaker when a key with all that may do what the principal's key may not.

    So it is with keys that are made, and with those that are revoked. An operator's key has no bounds.
    Raises NotGranted when the principal's key was revoked meanwhile.
    """
    key = snapshot.keys.get(principal.key)
    if key is None:
        raise NotGranted(_REVOKED)
    if key.is_operator:
        return
    if excess := sorted(frozenset(grants) - key.grants):
        raise BeyondMaker(f"grants exceed those of the key in use: {', '.join(excess)}")
    if key.valid_ips and not _are_within(valid_ips, key.valid_ips):
        raise BeyondMaker(f"valid_ips exceed those of the key in use: {', '.join(key.valid_ips)}")
    if key.subaccount is not None and subaccount != key.subaccount:
        raise BeyondMaker(f"the key in use is of subaccount {key.subaccount} alone")


def _check_known(snapshot: Snapshot, principal: Principal) -> None:
    account, subaccount = principal.account, principal.subaccount
    if account not in snapshot.accounts:
        raise UnknownObject("account", str(account))
    if subaccount is not None and (account, subaccount) not in snapshot.subaccounts:
        raise UnknownObject("subaccount", f"{subaccount} in account {account}")


def _key_of(snapshot: Snapshot, principal: Principal, grants: Collection[str]) -> ApiKey:
    """The key that was shown, if it is still good for what it is used for. Raises NotGranted."""
    key = snapshot.keys.get(principal.key)
    if key is None:
        raise NotGranted(_REVOKED)
    if key.grants.isdisjoint(grants):
        raise NotGranted(lacking(grants))
    if (key.account != principal.account and not key.is_operator) or key.subaccount not in (
        None,
        principal.subaccount,
    ):
        raise NotGranted("the key is another's by now")
    if key.valid_ips and not may_come_from(key, client_address(principal.client)):
        raise NotGranted
    return key


def _are_within(asked: Sequence[str], allowed: Sequence[str]) -> bool:
    """Whether every client of asked is one of allowed; none asked for is all the world."""
    networks = [_network(entry) for entry in allowed]
    return bool(asked) and all(
        any(inner is not None and outer is not None and _holds(outer, inner) for outer in networks)
        for inner in map(_network, asked)
    )


def _holds(
    outer: ipaddress.IPv4Network | ipaddress.IPv6Network, inner: ipaddress.IPv4Network | ipaddress.IPv6Network
) -> bool:
    return (
        inner.version == outer.version and inner.network_address in outer and inner.broadcast_address in outer
    )


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """None for what is no network: such an entry lets nobody in."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
