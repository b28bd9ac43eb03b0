"""DNS as a test wants it: a `relay.ports.MxResolver` that answers from dictionaries."""

from collections.abc import Mapping, Sequence

from relay.domain.ids import IpAddress
from relay.domain.reply import Reply
from relay.net.dns import NO_SUCH_DOMAIN, read_address
from relay.ports.outbound import Addresses, Mx


class FakeDns:
    """Answers at once. A name that is in neither dictionary does not exist; literals are their own answer."""

    def __init__(
        self,
        mx: Mapping[str, Sequence[str | tuple[int, str]] | Reply] | None = None,
        addresses: Mapping[str, Sequence[str] | Reply] | None = None,
    ) -> None:
        """mx: hosts, or (preference, host), in order; names without one have preference 10, 20, …

        addresses: of hosts, and of domains without MX. A Reply stands for a failure. Both may be
        changed later.
        """
        self.mx_hosts = dict(mx or {})
        self.host_addresses = dict(addresses or {})
        self.asked: list[str] = []
        """What was asked, in order: `MX domain` and `A host`."""

    async def mx(self, domain: str) -> Mx:
        self.asked.append(f"MX {domain}")
        if read_address(domain) is not None:
            return Mx(((0, domain),))
        hosts = self.mx_hosts.get(domain)
        if hosts is None:
            found = self._addresses(domain)
            return Mx(((0, domain),)) if found.failure is None else Mx(failure=found.failure)
        if isinstance(hosts, Reply):
            return Mx(failure=hosts)
        pairs = [
            host if isinstance(host, tuple) else (10 * number, host) for number, host in enumerate(hosts, 1)
        ]
        return Mx(tuple(sorted(pairs, key=lambda pair: pair[0])))

    async def addresses(self, name: str) -> Addresses:
        self.asked.append(f"A {name}")
        return self._addresses(name)

    def _addresses(self, name: str) -> Addresses:
        literal = read_address(name)
        found = self.host_addresses.get(name, NO_SUCH_DOMAIN) if literal is None else [literal]
        if isinstance(found, Reply):
            return Addresses(failure=found)
        return Addresses(tuple(map(IpAddress, found)))
