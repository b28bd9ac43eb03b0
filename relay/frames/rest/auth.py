"""Who a request comes from and what part of the account it is about."""

import base64
import binascii
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from typing import Annotated, Any

from fastapi import Depends, Request

from relay.domain.authority import check_active, holder_of, lacking
from relay.domain.clients import ClientAddress, client_address, client_behind, may_come_from
from relay.domain.directory import ApiKey, Principal, Snapshot
from relay.domain.errors import NotAuthenticated, NotGranted
from relay.domain.ids import LARGEST_NUMBER, AccountId, SubaccountId
from relay.frames.actor import Caller, Scope
from relay.frames.rest.errors import ApiError
from relay.frames.rest.rate import Rates
from relay.frames.rest.services import services_of
from relay.net.tally import LogTally

SUBACCOUNT_HEADER = "X-MSYS-SUBACCOUNT"
ACCOUNT_HEADER = "X-Relay-Account"
"""The account that an operator's key acts for."""

_DOOR = "door=rest"
_NUMBER = re.compile(r"[0-9]{1,10}", re.ASCII)
_READING = frozenset({"GET", "HEAD"})


async def principal(request: Request) -> Caller:
    """Who sent the request. Raises NotAuthenticated, NotGranted, ApiError 400 and 429.

    The directory is looked at first: a key that was revoked a moment ago, by whomever, is dead.
    """
    services = services_of(request)
    snapshot = await services.directory.refresh()
    key = request.state.key = await _key_of(request, snapshot)
    if not may_come_from(key, _client(request)):
        _tell_refusal(request, NotAuthenticated("valid_ips", holder_of(key)))
        raise NotGranted
    services.directory.note_key_use(key.sha256)
    rates: Rates = request.app.state.rates
    if not _is_exempt(request) and (wait_s := rates.wait_s(key.sha256)) > 0:
        raise ApiError(429, "Too many requests", headers={"Retry-After": str(int(wait_s) + 1)})
    caller = request.state.caller = _caller(snapshot, key, request)
    return caller if caller.is_operator else replace(caller, caps=services.caps)


def require(*grants: str, of_account: bool = False) -> Any:
    """A dependency: the caller, who must hold one of these. Raises NotGranted, and what `principal` raises.

    of_account: subaccounts have no business with the resource.
    """
    enough = {*grants}
    for resource in (grant.removesuffix("/view") for grant in grants if grant.endswith("/view")):
        enough |= {f"{resource}/manage", f"{resource}/modify"}

    async def granted(caller: Annotated[Caller, Depends(principal)]) -> Caller:
        check_granted(caller, grants, enough)
        if of_account:
            check_of_account(caller)

        return replace(caller, grants=enough)

    return Depends(granted)


def check_granted(caller: Caller, named: Sequence[str], enough: Collection[str]) -> None:
    """Raises NotGranted unless the key has a grant of enough; named: those worth asking for."""
    if caller.principal.grants.isdisjoint(enough):
        raise NotGranted(lacking(named))


def check_of_account(caller: Caller) -> None:
    """Raises NotGranted for a subaccount, whether the key is its own or the header names it."""
    if caller.subaccount is not None:
        whose = "the key is" if caller.is_bound else f"{SUBACCOUNT_HEADER} makes the request"
        raise NotGranted(f"{whose} of subaccount {caller.subaccount}: this is for the account alone")


def _shown(header: str) -> str:
    """The hash of the key that the header is, or has as user name of HTTP Basic. Raises NotAuthenticated."""
    text = header.strip()
    scheme, _, rest = text.partition(" ")
    # Starlette decodes header fields as Latin-1, which keeps the octets.
    octets = text.encode("latin-1")
    if scheme.lower() == "basic" and rest:
        try:
            octets, colon, password = base64.b64decode(rest.strip(), validate=True).partition(b":")
        except (binascii.Error, ValueError) as error:
            raise NotAuthenticated("malformed") from error
        if not colon or password:
            raise NotAuthenticated("malformed")
    return sha256(octets).hexdigest()


async def _key_of(request: Request, snapshot: Snapshot) -> ApiKey:
    """The key that the request shows. Raises NotAuthenticated, and the log says why."""
    # Who shows nothing has guessed nothing.
    if "authorization" not in request.headers:
        raise NotAuthenticated
    try:
        shown = _shown(request.headers["authorization"])
        key = snapshot.keys.get(shown)
        if key is None:
            raise NotAuthenticated(await _why_unknown(request, shown))
        if key.account not in snapshot.accounts:
            raise NotAuthenticated("account_unknown", holder_of(key))
    except NotAuthenticated as error:
        _tell_refusal(request, error)
        raise
    return key


async def _why_unknown(request: Request, key_sha256: str) -> str:
    """What nobody will read need not be found out."""
    services = services_of(request)
    is_told = services.refusals.writes(client_told(request), _DOOR)
    return "revoked_key" if is_told and await services.directory.was_revoked(key_sha256) else "key"


def _tell_refusal(request: Request, error: NotAuthenticated) -> None:
    what = f"reason={error.reason} {error.holder}".rstrip()
    services_of(request).refusals.tell(client_told(request), _DOOR, what)


def _caller(snapshot: Snapshot, key: ApiKey, request: Request) -> Caller:
    account = _account(snapshot, key, request.headers.get(ACCOUNT_HEADER))
    asked = request.headers.get(SUBACCOUNT_HEADER)
    is_reading = request.method in _READING
    scope, subaccount = (Scope.ALL if is_reading else Scope.ACCOUNT), None
    if key.subaccount is not None:
        # The key's own subaccount applies, whatever the header says.
        scope, subaccount = Scope.SUBACCOUNT, key.subaccount
    elif asked is not None:
        number = _number(asked, SUBACCOUNT_HEADER)
        scope = Scope.SUBACCOUNT if number else Scope.ACCOUNT
        subaccount = SubaccountId(number) if number else None
        if subaccount is not None and (account, subaccount) not in snapshot.subaccounts:
            raise ApiError(400, f"{SUBACCOUNT_HEADER} must be the id of a subaccount")
    if not (is_reading or key.is_operator):
        check_active(snapshot, account, subaccount)
    return Caller(
        f"key:{key.short}",
        Principal(account, subaccount, key.grants, key.sha256, str(_client(request))),
        scope,
        is_operator=key.is_operator,
        is_bound=key.subaccount is not None,
    )


def _account(snapshot: Snapshot, key: ApiKey, asked: str | None) -> AccountId:
    if asked is None:
        return key.account
    account = AccountId(_number(asked, ACCOUNT_HEADER))
    if not key.is_operator and account != key.account:
        raise NotGranted(f"{ACCOUNT_HEADER} names another account than the key's")
    if account not in snapshot.accounts:
        raise ApiError(404, f"Account {account} does not exist.")
    return account


def _number(text: str, header: str) -> int:
    text = text.strip()
    if not _NUMBER.fullmatch(text) or int(text) > LARGEST_NUMBER:
        raise ApiError(400, f"{header} must be a number")
    return int(text)


def _client(request: Request) -> ClientAddress:
    return client_address(request.client.host if request.client else "")


def account_behind(request: Request) -> tuple[AccountId, SubaccountId | None] | None:
    """Whose request it is, as far as it came; None: no key of anybody's was shown."""
    caller: Caller | None = getattr(request.state, "caller", None)
    if caller is not None:
        return caller.account, caller.subaccount
    key: ApiKey | None = getattr(request.state, "key", None)
    if key is None:
        # The newest directory may be out of reach: then the one that this process has must do.
        with suppress(NotAuthenticated):
            snapshot = services_of(request).directory.snapshot
            key = snapshot.keys.get(_shown(request.headers.get("authorization", "")))
            key = key if key is not None and key.account in snapshot.accounts else None
    return None if key is None else (key.account, key.subaccount)


def tell_forbidden(request: Request, error: NotGranted, tally: LogTally) -> None:
    """A key that is right, and lacks something: the log says whose and what."""
    if error.detail:
        key: ApiKey = request.state.key
        tally.tell(client_told(request), "forbidden", f"{holder_of(key)}: {error.detail}")


def client_told(request: Request) -> ClientAddress:
    """Who speaks, for the log: as proxies that are trusted tell it."""
    told = ",".join(request.headers.getlist("x-forwarded-for"))
    return client_address(client_behind(str(_client(request)), told, services_of(request).trusted_proxies))


def _is_exempt(request: Request) -> bool:
    """Handing in mail is limited by its acceptance, not by the count of requests."""
    return request.method == "POST" and request.scope["path"].rstrip("/").endswith("/transmissions")
