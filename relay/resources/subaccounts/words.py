"""Subaccounts as the pages of other things speak of them."""

from relay.domain.directory import Status
from relay.frames.console.visit import Visit
from relay.resources.sending_ips.words import pools_of

STATUSES = tuple((status.value, status.value.capitalize()) for status in Status)


def pool_options(visit: Visit) -> list[tuple[str, str]]:
    """The pools of the account, `default` first; empty while there is no other."""
    owned = pools_of(visit.snapshot, visit.account.id)
    if len(owned) < 2:
        return []
    return [(pool.id, f"{pool.name} (id: {pool.id})") for pool in owned]
