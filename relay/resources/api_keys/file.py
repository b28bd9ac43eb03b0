"""API keys in `directory.toml`."""

import hashlib
import re
from typing import Annotated

from pydantic import Field, PlainValidator

from relay.config.problems import Table
from relay.domain.directory import ApiKey
from relay.domain.ids import AccountId, SubaccountId
from relay.frames.tables import write_table
from relay.frames.values import Name, SubaccountNumber, parse_client, parse_grant, parse_key

_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")


def _parse_sha256(text: object) -> str:
    if isinstance(text, str) and _SHA256.fullmatch(text):
        return text.lower()
    raise ValueError("64 hexadecimal digits: the SHA-256 of the key's text")


class ApiKeyTable(Table):
    """`[[account.api_key]]`: the key in clear text, or its hash."""

    label: Name
    key: Annotated[str | None, PlainValidator(parse_key)] = None
    key_sha256: Annotated[str | None, PlainValidator(_parse_sha256)] = None
    short: Annotated[str, Field(max_length=4)] = ""
    """The first four characters, beside a hash."""
    grants: tuple[Annotated[str, PlainValidator(parse_grant)], ...]
    subaccount: SubaccountNumber = SubaccountId(0)
    valid_ips: tuple[Annotated[str, PlainValidator(parse_client)], ...] = ()
    operator: bool = False
    """May administer the whole installation."""

    @property
    def sha256(self) -> str:
        return self.key_sha256 or hashlib.sha256((self.key or "").encode()).hexdigest()

    def to_domain(self, account: AccountId) -> ApiKey:
        return ApiKey(
            self.sha256,
            self.key[:4] if self.key else self.short,
            account,
            self.label,
            frozenset(self.grants),
            self.subaccount or None,
            self.valid_ips,
            self.operator,
        )


def write_api_key(key: ApiKey) -> str:
    values = {
        "label": key.label,
        "key_sha256": key.sha256,
        "short": key.short,
        "grants": sorted(key.grants),
        "subaccount": key.subaccount,
        "valid_ips": list(key.valid_ips),
        "operator": key.is_operator,
    }
    return write_table("account.api_key", values)
