"""API keys: made, shown once, revoked; the directory keeps their hashes."""

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import replace

from relay.domain.changes import Changes, Put, Remove, first_put
from relay.domain.directory import GRANTS, SUBACCOUNT_GRANTS, ApiKey, Origin, Snapshot, Subaccount
from relay.domain.errors import UnknownObject
from relay.domain.ids import AccountId, SubaccountId
from relay.domain.lookup import account_of, subaccount_of
from relay.domain.refusals import AmbiguousKey, OperatorsKeyIsNoPart, UnknownGrants
from relay.frames.actor import Actor


def create_key(snapshot: Snapshot, key: ApiKey, actor: Actor) -> Changes:
    """The actor makes none that may do more than itself. Raises BeyondMaker."""
    actor.check_no_stronger(snapshot, key)
    account_of(snapshot, key.account)
    allowed = GRANTS
    if key.subaccount is not None:
        subaccount_of(snapshot, key.account, key.subaccount)
        allowed = SUBACCOUNT_GRANTS
        if key.is_operator:
            raise OperatorsKeyIsNoPart()
    if unknown := sorted(key.grants - allowed):
        raise UnknownGrants(tuple(unknown), tuple(sorted(allowed)))
    return (Put(replace(key, origin=Origin.LIVE)),)


def hash_key(text: str) -> str:
    """What the directory knows of a key."""
    return hashlib.sha256(text.encode()).hexdigest()


def revoke_key(snapshot: Snapshot, key: ApiKey, actor: Actor) -> Changes:
    """Dead at once, for SMTP too; what is revoked already stays so. Raises BeyondMaker."""
    stored = snapshot.keys.get(key.sha256)
    if stored is None:
        return ()
    actor.check_no_stronger(snapshot, stored)
    return (Remove(stored),)


def find_key(snapshot: Snapshot, account: AccountId, which: str) -> ApiKey:
    """which: the label, the first four characters, or the beginning of the hash."""
    owned = [key for key in snapshot.keys.values() if key.account == account]
    found = [key for key in owned if which in (key.label, key.short)]
    found = found or [key for key in owned if len(which) >= 8 and key.sha256.startswith(which.lower())]
    if not found:
        raise UnknownObject("key", f"{which} in account {account}")
    if len(found) > 1:
        raise AmbiguousKey(which, tuple(key.sha256[:12] for key in found))
    return found[0]


def new_key(
    account: AccountId,
    label: str,
    grants: Iterable[str],
    subaccount: SubaccountId | None = None,
    valid_ips: Sequence[str] = (),
) -> tuple[str, ApiKey]:
    """The text, and the key that is to be stored."""
    text = secrets.token_hex(20)
    key = ApiKey(
        hash_key(text),
        text[:4],
        account,
        label,
        frozenset(grants),
        subaccount,
        tuple(valid_ips),
        origin=Origin.LIVE,
    )
    return text, key


def with_key(snapshot: Snapshot, changes: Changes, key: ApiKey | None, actor: Actor) -> Changes:
    """The changes that make a subaccount, and its first key if there is to be one. Raises BeyondMaker."""
    if key is None:
        return changes
    actor.check_no_stronger(snapshot, key)
    return (*changes, Put(replace(key, subaccount=first_put(changes, Subaccount).id)))


_ID_LENGTH = 16


def key_id(key: ApiKey) -> str:
    """What names a key in paths: the beginning of its hash."""
    return key.sha256[:_ID_LENGTH]
