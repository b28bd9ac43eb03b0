"""The directory as the text of a `directory.toml`, so that what REST and commands made becomes a file."""

from collections.abc import Mapping
from typing import Any, TypeVar

from relay.domain.directory import Snapshot, may_overflow
from relay.domain.ids import DEFAULT_POOL
from relay.resources.accounts.file import write_account
from relay.resources.api_keys.file import write_api_key
from relay.resources.ip_pools.file import write_pool
from relay.resources.routes.file import write_route
from relay.resources.sending_domains.file import write_sending_domain
from relay.resources.sending_ips.file import write_sending_ip
from relay.resources.subaccounts.file import write_subaccount

Item = TypeVar("Item")

_HEAD = """\
# The directory: who may send from what. `relay directory apply` sets the store to what this file says.
# It names keys by their hashes and routes with their passwords: keep it to yourself.
"""


def export(snapshot: Snapshot) -> str:
    """A file that loads back to the same entries, all with Origin.FILE.

    Retired IPs are left out, and sending domains that nobody verified: a file that lists them would
    vouch for them; and what a pool overflows into where it may not, which an earlier relay has stored.
    What the file has no key for (suspended, draining, a plan that waits, options of tracking, a DKIM
    key) is a comment; private keys stay in the store.
    """
    ips = sorted(
        (ip for ip in snapshot.ips.values() if not ip.is_retired),
        key=lambda ip: (ip.account is None, ip.account or 0, ip.shared, ip.pool or "", ip.address),
    )
    blocks = [_HEAD, *(write_sending_ip(ip) for ip in ips)]
    for account in _sorted(snapshot.accounts):
        listed = [domain for domain in _sorted(snapshot.domains) if domain.account == account.id]
        domains = [domain for domain in listed if domain.is_verified]
        blocks.append(write_account(account, lists_domains=bool(domains)))
        pools = [pool for pool in _sorted(snapshot.pools) if pool.id != DEFAULT_POOL]
        blocks += [
            write_pool(pool, overflows=may_overflow(account, pool, snapshot.pools))
            for pool in pools
            if pool.account == account.id
        ]
        blocks += [
            write_subaccount(item) for item in _sorted(snapshot.subaccounts) if item.account == account.id
        ]
        blocks += [write_api_key(key) for key in _sorted(snapshot.keys) if key.account == account.id]
        blocks += [write_sending_domain(domain) for domain in domains]
    blocks += [write_route(route) for route in snapshot.routes]
    return "\n".join(blocks)


def _sorted(entries: Mapping[Any, Item]) -> list[Item]:
    return [entry for _, entry in sorted(entries.items())]
