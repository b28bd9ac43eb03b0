"""Where mail for a domain goes by DNS, with a cache of its own (RFC 5321 §5.1, RFC 7505, RFC 2308)."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.nameserver
import dns.rdtypes.ANY.MX
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
import dns.resolver

from relay.domain.ids import IpAddress, canonical_ip
from relay.domain.reply import Phase, Reply
from relay.ports.outbound import Addresses, Mx

NULL_MX = Reply(556, "5.1.10 [internal] domain does not accept mail (null MX)", Phase.INTERNAL)
NO_SUCH_DOMAIN = Reply(454, "4.4.4 [internal] no MX or A for domain", Phase.INTERNAL)
NO_ANSWER = Reply(451, "4.4.3 [internal] DNS lookup failed", Phase.INTERNAL)

_SHORTEST_S, _LONGEST_S, _LONGEST_NEGATIVE_S = 5.0, 86_400.0, 3600.0
_FAILURE_S = 30.0
"""How long a lookup that failed is not tried again."""
_MAX_RECORDS = 32


@dataclass(frozen=True, slots=True)
class _Found:
    """What DNS has of one type for one name."""

    records: tuple[tuple[int, str], ...] = ()
    """(preference, host name), or (0, address)."""
    has_failed: bool = False
    """No server gave an answer: not the same as none of that type."""
    until: float = 0
    """By the loop's clock."""


class DnsResolver:
    """`MxResolver`. Lookups of the same name at the same time are one."""

    def __init__(
        self,
        *,
        nameservers: Sequence[tuple[str, int]] | None = None,
        lifetime_s: float = 15,
        max_entries: int = 20_000,
    ) -> None:
        """nameservers: addresses and ports; None: what /etc/resolv.conf says. lifetime_s: for one lookup."""
        self._max_entries = max_entries
        self._resolver = make_resolver(nameservers, lifetime_s)
        self._cache: OrderedDict[tuple[str, str], _Found] = OrderedDict()
        self._under_way: dict[tuple[str, str], asyncio.Event] = {}

    async def mx(self, domain: str) -> Mx:
        """MX hosts by preference, or the domain itself when it has none."""
        if read_address(domain) is not None:
            return Mx(((0, domain),))
        found = await self._lookup(domain, "MX")
        if found.has_failed:
            return Mx(failure=NO_ANSWER)
        if found.records:
            hosts = tuple(host for host in found.records if host[1])
            if not hosts:
                return Mx(failure=NULL_MX)
            return Mx(hosts, lasts_s=_lasts_s(found))
        both = await self._lookup_both(domain)
        implicit = _addresses(both)
        if implicit.failure is not None:
            return Mx(failure=implicit.failure)
        return Mx(((0, domain),), lasts_s=_lasts_s(found, *(answer for answer in both if answer.records)))

    async def addresses(self, name: str) -> Addresses:
        """A, then AAAA; an address literal is its own answer."""
        if (literal := read_address(name)) is not None:
            return Addresses((literal,))
        return _addresses(await self._lookup_both(name))

    # ── lookups ───────────────────────────────────────────────────────────────────────

    async def _lookup_both(self, name: str) -> list[_Found]:
        """A, then AAAA."""
        async with asyncio.TaskGroup() as tasks:
            lookups = [
                tasks.create_task(self._lookup(name, kind), name=f"{kind} {name}") for kind in ("A", "AAAA")
            ]
        return [lookup.result() for lookup in lookups]

    async def _lookup(self, name: str, kind: str) -> _Found:
        key = name.lower().rstrip("."), kind
        now = asyncio.get_running_loop().time
        while True:
            cached = self._cache.get(key)
            if cached is not None and now() < cached.until:
                self._cache.move_to_end(key)
                return cached
            if (other := self._under_way.get(key)) is None:
                break
            # If the other is cancelled, one of those who waited asks instead.
            await other.wait()
        done = self._under_way[key] = asyncio.Event()
        try:
            found, lasts_s = await self._ask(*key)
            found = replace(found, until=now() + lasts_s)
            self._cache[key] = found
            if len(self._cache) > self._max_entries:
                self._cache.popitem(last=False)
        finally:
            del self._under_way[key]
            done.set()
        return found

    async def _ask(self, name: str, kind: str) -> tuple[_Found, float]:
        """What DNS says, and for how many seconds it holds."""
        try:
            answer = await self._resolver.resolve(
                dns.name.from_text(name),
                kind,
                raise_on_no_answer=False,
                backend=dns.asyncbackend.get_backend("asyncio"),
            )
        except dns.resolver.NXDOMAIN as error:
            responses = error.responses()  # type: ignore[no-untyped-call] # dnspython 2.9 has no types here
            ttl = min(map(_negative_ttl, responses.values()), default=0)
            return _Found(), _within(ttl, _LONGEST_NEGATIVE_S)
        except (dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel, dns.name.BadEscape):
            return _Found(), _LONGEST_NEGATIVE_S
        except (dns.exception.DNSException, OSError):
            return _Found(has_failed=True), _FAILURE_S
        if answer.rrset is None:
            return _Found(), _within(_negative_ttl(answer.response), _LONGEST_NEGATIVE_S)
        # By preference first: of many exchangers the best must not be those that are left out.
        records = tuple(sorted(map(_record, answer.rrset), key=itemgetter(0))[:_MAX_RECORDS])
        return _Found(records), _within(answer.chaining_result.minimum_ttl, _LONGEST_S)


def read_address(name: str) -> IpAddress | None:
    """The address that a literal spells, with or without its brackets; None for a name (RFC 5321 §4.1.3)."""
    inner = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    if inner[:5].lower() == "ipv6:":
        inner = inner[5:]
    try:
        return canonical_ip(inner)
    except ValueError:
        return None


def make_resolver(
    nameservers: Sequence[tuple[str, int]] | None, lifetime_s: float
) -> dns.asyncresolver.Resolver:
    """nameservers: None for what /etc/resolv.conf says. lifetime_s: for one lookup, all tries together."""
    resolver = _unhurried(nameservers)
    resolver.lifetime = lifetime_s
    resolver.timeout = lifetime_s / 3
    return resolver


def _unhurried(nameservers: Sequence[tuple[str, int]] | None) -> dns.asyncresolver.Resolver:
    if nameservers is None:
        try:
            return dns.asyncresolver.Resolver()
        except dns.resolver.NoResolverConfiguration:
            # A machine without DNS can still serve routes by smarthost; lookups fail.
            nameservers = ()
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = [dns.nameserver.Do53Nameserver(address, port) for address, port in nameservers]
    return resolver


def _record(record: object) -> tuple[int, str]:
    match record:
        case dns.rdtypes.ANY.MX.MX():
            return record.preference, record.exchange.to_text(omit_final_dot=True).lower().rstrip(".")
        case dns.rdtypes.IN.A.A() | dns.rdtypes.IN.AAAA.AAAA():
            return 0, canonical_ip(record.address)
        case _:
            raise TypeError(f"no question of ours has the answer {record!r}")


def _negative_ttl(response: dns.message.Message) -> float:
    """RFC 2308 §5: the SOA's; 0 when the response makes no sense."""
    assert isinstance(response, dns.message.QueryMessage)
    try:
        return response.resolve_chaining().minimum_ttl
    except dns.exception.DNSException:
        return 0


def _addresses(both: Sequence[_Found]) -> Addresses:
    found = tuple(IpAddress(address) for answer in both for _, address in answer.records)
    if found:
        return Addresses(found)
    return Addresses(failure=NO_ANSWER if any(answer.has_failed for answer in both) else NO_SUCH_DOMAIN)


def _lasts_s(*found: _Found) -> float:
    """As long as all of them do."""
    return min(answer.until for answer in found) - asyncio.get_running_loop().time()


def _within(ttl: float, longest_s: float) -> float:
    return max(_SHORTEST_S, min(ttl, longest_s))
