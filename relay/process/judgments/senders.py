"""Accounts, subaccounts and keys that are there and may send nothing, and pools that sign nothing."""

from collections.abc import Iterator

from relay.domain.directory import Account, ApiKey, Pool, SendingDomain, Status, Subaccount
from relay.process.judgments.case import Book, Case, Finding, Judgment


def _without_a_domain(case: Case) -> Iterator[Finding]:
    """Accounts that must have a verified domain in From (R20 aside), and have none."""
    for book in case.outlooks:
        for account in book.of(Account):
            if not account.require_sending_domain or account.status is not Status.ACTIVE:
                continue
            domains = [domain for domain in book.of(SendingDomain) if domain.account == account.id]
            usable = [domain for domain in domains if domain.is_verified]
            where = f"{book.place_of(account)}: account[{account.id}]"
            if not any(domain.subaccount is None for domain in usable):
                yield Finding(f"{where}.require_sending_domain", _why(domains, usable))
            elif parts := _parts_without(book, account, usable):
                what = f"mail of subaccount {', '.join(parts)} is refused: no sending domain that it may use"
                yield Finding(where, f"{what}; expected shared_with_subaccounts = true, or one of its own")


def _why(domains: list[SendingDomain], usable: list[SendingDomain]) -> str:
    if usable:
        parts = ", ".join(sorted({str(domain.subaccount) for domain in usable}))
        reason = f"its sending domains are subaccount {parts}'s alone: all other mail of it is refused"
    elif domains:
        named = ", ".join(sorted(domain.domain for domain in domains)[:5])
        reason = f"none of its sending domains is verified ({named}): all its mail is refused"
    else:
        reason = "it has no sending domain: all its mail is refused"
    return f"true, and {reason}; list one ([[account.sending_domain]]), or set it to false"


def _parts_without(book: Book, account: Account, usable: list[SendingDomain]) -> list[str]:
    """The account has some; these may use none of them."""
    if any(domain.shared_with_subaccounts for domain in usable):
        return []
    served = {domain.subaccount for domain in usable}
    parts = [part for part in book.of(Subaccount) if part.account == account.id]
    return [str(part.id) for part in parts if part.status is Status.ACTIVE and part.id not in served]


def _keys_for_nothing(case: Case) -> Iterator[Finding]:
    for book in case.outlooks:
        for key in book.of(ApiKey):
            if not key.grants and not key.is_operator:
                where = f"{book.place_of(key)}: account[{key.account}].api_key[{key.label}].grants"
                yield Finding(where, 'the key may do nothing: expected grants, such as "smtp/inject"')


def _pools_that_sign_nothing(case: Case) -> Iterator[Finding]:
    """A file may name any domain; a domain may have gone, or its key, since a pool was given it."""
    for book in case.outlooks:
        able = {(domain.account, domain.domain) for domain in book.of(SendingDomain) if domain.signs}
        for pool in book.of(Pool):
            for key, name in (
                ("signing_domain", pool.signing_domain),
                ("fbl_signing_domain", pool.fbl_signing_domain),
            ):
                if name and (pool.account, name) not in able:
                    where = f"{book.place_of(pool)}: account[{pool.account}].pool[{pool.name}].{key}"
                    what = f'"{name}" signs nothing: expected a sending domain of the account with a DKIM key'
                    yield Finding(where, f"{what} that DNS has")


SENDERS: tuple[Judgment, ...] = (_without_a_domain, _keys_for_nothing, _pools_that_sign_nothing)
