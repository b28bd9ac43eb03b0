"""Who a client is: an API key by AUTH PLAIN or LOGIN, or a trusted network (C §2.1, RFC 4954, RFC 4616)."""

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from relay.domain.clients import ClientAddress, may_come_from, party_of
from relay.domain.directory import Principal, Snapshot
from relay.domain.errors import NotAuthenticated
from relay.domain.ids import SubaccountId
from relay.schema.config import TrustedNetwork
from relay.service.authority import SMTP_GRANT, is_active

_USERNAME = re.compile(r"SMTP_Injection(?::X-MSYS-SUBACCOUNT=([0-9]{1,10}))?")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client showed. Of the key only its hash."""

    username: str
    key_sha256: str


def credentials_of(username: bytes, password: bytes) -> Credentials:
    """Octets that are no UTF-8 make a user name that nobody has."""
    return Credentials(username.decode("utf-8", "replace"), sha256(password).hexdigest())


def decode_plain(message: bytes) -> Credentials:
    """The message of AUTH PLAIN: authzid NUL authcid NUL password. Raises ValueError.

    Nobody acts for another: an authzid must be empty or the authcid.
    """
    authzid, authcid, password = message.split(b"\0")
    if authzid not in (b"", authcid):
        raise ValueError("authzid")
    return credentials_of(authcid, password)


def decode_base64(text: str) -> bytes:
    """RFC 4954 §4: canonical base64, nothing else. Raises ValueError."""
    try:
        return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except binascii.Error as error:
        raise ValueError("base64") from error


def principal_of(snapshot: Snapshot, shown: Credentials, client: ClientAddress) -> Principal:
    """Whom the credentials stand for, in this directory and from this address. Raises NotAuthenticated.

    A subaccount's key decides over what the user name asks for.
    """
    name = _USERNAME.fullmatch(shown.username)
    key = snapshot.keys.get(shown.key_sha256)
    if name is None or key is None or SMTP_GRANT not in key.grants or not may_come_from(key, client):
        raise NotAuthenticated
    subaccount = key.subaccount
    if subaccount is None and name[1] is not None:
        subaccount = SubaccountId(int(name[1]))
    if not is_active(snapshot, key.account, subaccount):
        raise NotAuthenticated
    return Principal(key.account, subaccount, key.grants, key.sha256, str(client))


def trusted_principal(
    snapshot: Snapshot, trusted: Sequence[TrustedNetwork], client: ClientAddress
) -> Principal | None:
    """For whom mail of this address is taken without AUTH; the first network that holds it counts."""
    for entry in trusted:
        if client in entry.network:
            if is_active(snapshot, entry.account, entry.subaccount):
                return Principal(entry.account, entry.subaccount, frozenset({SMTP_GRANT}))
            return None
    return None


class Failures:
    """Failed authentications of each address, or network of IPv6 (/64), within the current minute."""

    _LIMIT = 20
    _PERIOD_S = 60.0
    _MAX_ADDRESSES = 10_000

    def __init__(self) -> None:
        self._counts: dict[int, tuple[float, int]] = {}

    def is_over(self, client: ClientAddress, now_s: float) -> bool:
        """Whether this address has guessed enough for now. now_s: of any steady clock."""
        since, count = self._counts.get(party_of(client), (now_s, 0))
        return count >= self._LIMIT and now_s - since < self._PERIOD_S

    def count(self, client: ClientAddress, now_s: float) -> None:
        party = party_of(client)
        since, count = self._counts.get(party, (now_s, 0))
        if now_s - since >= self._PERIOD_S:
            since, count = now_s, 0
        if len(self._counts) >= self._MAX_ADDRESSES and party not in self._counts:
            self._counts = {
                other: entry for other, entry in self._counts.items() if now_s - entry[0] < self._PERIOD_S
            }
            if len(self._counts) >= self._MAX_ADDRESSES:
                self._counts.clear()
        self._counts[party] = since, count + 1
