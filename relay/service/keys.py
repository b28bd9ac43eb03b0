"""New API keys: their text, which only whoever asks for one ever sees, and what the directory keeps."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import replace

from relay.domain.changes import Put
from relay.domain.directory import ApiKey, Origin, Subaccount
from relay.domain.ids import AccountId, SubaccountId
from relay.service.administer import Changes, hash_key, made


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


def with_key(changes: Changes, key: ApiKey | None) -> Changes:
    """The changes that make a subaccount, and its first key if there is to be one."""
    if key is None:
        return changes
    return (*changes, Put(replace(key, subaccount=made(changes, Subaccount).id)))
