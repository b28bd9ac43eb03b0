"""Who a client is: an API key by AUTH PLAIN or LOGIN, or a trusted network (RFC 4954, RFC 4616)."""

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from relay.config.config import TrustedNetwork
from relay.domain.authority import SMTP_GRANT, faults_of, holder_of, what_rests
from relay.domain.clients import ClientAddress, party_of
from relay.domain.directory import Principal, Snapshot
from relay.domain.errors import NotAuthenticated, Refused
from relay.domain.ids import SubaccountId
from relay.ports.directory import Directory

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
    wrong = [] if name else ["user_name"]
    if key is None:
        raise NotAuthenticated(",".join([*wrong, "key"]))
    subaccount = key.subaccount
    if subaccount is None and name is not None and name[1] is not None:
        subaccount = SubaccountId(int(name[1]))
    wrong += faults_of(snapshot, key, subaccount, client, SMTP_GRANT)
    if wrong:
        raise NotAuthenticated(",".join(wrong), holder_of(key))
    return Principal(key.account, subaccount, key.grants, key.sha256, str(client))


def trusted_principal(
    snapshot: Snapshot, trusted: Sequence[TrustedNetwork], client: ClientAddress
) -> Principal:
    """For whom mail of this address is taken without AUTH; the first network that holds it counts.

    Raises NotAuthenticated.
    """
    for entry in trusted:
        if client in entry.network:
            if rests := what_rests(snapshot, entry.account, entry.subaccount):
                raise NotAuthenticated("_".join(rests), f"account={entry.account}")
            return Principal(entry.account, entry.subaccount, frozenset({SMTP_GRANT}))
    raise NotAuthenticated("no_login")


class TooManyFailures(Refused):
    """Of authentications from one address, for now."""


class Identity:
    """Who one client is, by what it showed or where it comes from, in the directory as it is now."""

    def __init__(self, directory: Directory, trusted: Sequence[TrustedNetwork], failures: "Failures") -> None:
        self._directory, self._trusted, self._failures = directory, trusted, failures
        self._shown: Credentials | None = None
        self._judged_by: Snapshot | None = None
        self._principal: Principal | None = None
        self.refusal = NotAuthenticated("no_login")
        """Why there is no principal."""
        self.last: Principal | None = None
        """The principal that there is, or was."""

    @property
    def has_logged_in(self) -> bool:
        return self._shown is not None

    def forget(self) -> None:
        """What the client has shown."""
        self._shown = self._judged_by = self.last = None

    def principal(self, client: ClientAddress) -> Principal | None:
        """By the directory as it is now: a key that was revoked sends no further mail."""
        snapshot = self._directory.snapshot
        if snapshot is not self._judged_by:
            try:
                if self._shown is None:
                    principal = trusted_principal(snapshot, self._trusted, client)
                else:
                    principal = principal_of(snapshot, self._shown, client)
            except NotAuthenticated as error:
                self._judged_by, self._principal, self.refusal = snapshot, None, error
            else:
                self._accept(principal, snapshot)
        if self._principal is not None and self._principal.key:
            self._directory.note_key_use(self._principal.key)
        return self._principal

    async def log_in(self, shown: Credentials, client: ClientAddress, now_s: float) -> None:
        """The directory may have learned of the key a moment ago: it is read again before a refusal.

        now_s: of any steady clock. Raises NotAuthenticated, TooManyFailures, Unavailable.
        """
        snapshot = self._directory.snapshot
        try:
            principal = principal_of(snapshot, shown, client)
        except NotAuthenticated:
            if self._failures.is_over(client, now_s):
                raise TooManyFailures from None
            snapshot = await self._directory.refresh()
            principal = await self._judge_anew(snapshot, shown, client, now_s)
        self._shown = shown
        self._accept(principal, snapshot)

    async def _judge_anew(
        self, snapshot: Snapshot, shown: Credentials, client: ClientAddress, now_s: float
    ) -> Principal:
        try:
            return principal_of(snapshot, shown, client)
        except NotAuthenticated as error:
            self._failures.count(client, now_s)
            if not error.holder and await self._directory.was_revoked(shown.key_sha256):
                error.reason = error.reason.replace("key", "revoked_key")
            raise

    def _accept(self, principal: Principal, snapshot: Snapshot) -> None:
        self._principal = self.last = principal
        self._judged_by = snapshot


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
