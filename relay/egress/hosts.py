"""The hosts of a site in the order in which one attempt takes them (RFC 5321 §5.1)."""

import random
from collections import deque
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter

from relay.domain.ids import IpAddress
from relay.domain.public import is_public
from relay.domain.reply import Phase, Reply
from relay.domain.site import Site, usable_addresses
from relay.ports.outbound import Host, MxResolver

_NAMES = 5
"""Names that one attempt tries. Of more it takes the best, and one of the others by chance."""
_ADDRESSES = 5
"""Of one name."""
_CONNECTIONS = 10


class Hosts:
    """Best first, equal ones by chance; looked up when it is their turn."""

    def __init__(
        self, site: Site, bind: IpAddress, resolver: MxResolver, is_ours: Callable[[Host], bool]
    ) -> None:
        self._site, self._bind, self._resolver, self._is_ours = site, bind, resolver, is_ours
        self._groups = deque(_shuffled(site))
        names = [name for group in self._groups for name in group]
        self._chosen = frozenset(names)
        if len(names) > _NAMES:
            self._chosen = frozenset((*names[: _NAMES - 1], random.choice(names[_NAMES - 1 :])))
        self._most = min(_ADDRESSES, _CONNECTIONS // max(1, len(self._chosen)))
        self._found: deque[Host] = deque()
        self.failure: Reply | None = None
        """Why some could not be found: what may pass outweighs what will not."""
        self.is_loop = False
        """Whether the next one would be ourselves."""

    async def next(self) -> Host | None:
        """None when there are no more."""
        while not self._found and self._groups:
            await self._look_up(self._groups.popleft())
        return self._found.popleft() if self._found else None

    async def _look_up(self, names: list[str]) -> None:
        """Find the hosts of equal preference."""
        found: list[Host] = []
        reason: Reply | None = None
        for name in names:
            hosts, failure = await self._addresses_of(name, reason)
            reason = failure or reason
            if any(map(self._is_ours, hosts)):
                # RFC 5321 §5.1: hosts as good as ourselves, or worse, would send it back.
                self.is_loop = True
                self._groups.clear()
                return
            if name in self._chosen:
                found += hosts if len(hosts) <= self._most else random.sample(hosts, self._most)
        if reason is not None and (self.failure is None or reason.code < 500):
            self.failure = reason
        self._found.extend(found)

    async def _addresses_of(self, name: str, earlier: Reply | None) -> tuple[list[Host], Reply | None]:
        """All that can be connected to from bind, or why there is none."""
        answer = await self._resolver.addresses(name)
        named = usable_addresses(answer.addresses, self._bind) or answer.addresses
        may_be_private = self._site.allow_private
        fit = [address for address in named if may_be_private or is_public(address)]
        usable = usable_addresses(fit, self._bind)
        failure: Reply | None = None
        if answer.failure is not None:
            failure = answer.failure
        elif named and not fit:
            failure = earlier or _private(name, named[0])
        elif not usable:
            text = f"4.4.1 [internal] No valid hosts ({name} has no address of the family of {self._bind})"
            failure = Reply(451, text, Phase.INTERNAL)
        return [Host(name, address, self._site.port) for address in usable], failure


def _shuffled(site: Site) -> list[list[str]]:
    """Names of equal preference together, in the order of chance: here alone the load is spread."""
    groups = [[name for _, name in equals] for _, equals in groupby(site.hosts, key=itemgetter(0))]
    for names in groups:
        random.shuffle(names)
    return groups


def _private(name: str, address: IpAddress) -> Reply:
    text = f"5.4.4 [internal] {name} is {address}: private (route setting allow_private)"
    return Reply(550, text, Phase.INTERNAL)
