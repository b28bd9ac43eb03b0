"""A real name server of a few lines, for 127.0.0.1."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from relay.net.records import DnsRecords

Zone = dict[tuple[str, str], list[str]]
"""(name, type) → records."""

SOA = "ns.test. hostmaster.test. 1 3600 600 86400 60"


class NameServer(asyncio.DatagramProtocol):
    """Answers from a zone: (name, type) → records.

    Names that begin with `fail` get SERVFAIL, with `silent` nothing.
    """

    def __init__(self, zone: Zone) -> None:
        """zone may be changed later."""
        self._zone = zone
        self.asked: Counter[tuple[str, str]] = Counter()
        self.silent = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._transport.get_extra_info("sockname")
        return host, port

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        name = query.question[0].name.to_text().lower()
        kind = dns.rdatatype.to_text(query.question[0].rdtype)
        self.asked[name, kind] += 1
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        if name.startswith("silent"):
            self.silent.set()
            return
        if name.startswith("fail") or (name, kind) == ("half.test.", "AAAA"):
            response.set_rcode(dns.rcode.SERVFAIL)
        else:
            self._answer(response, name, kind)
        self._transport.sendto(response.to_wire(), addr)

    def _answer(self, response: dns.message.Message, name: str, kind: str) -> None:
        if kind != "CNAME" and (target := self._zone.get((name, "CNAME"))):
            response.answer.append(dns.rrset.from_text(name, 300, "IN", "CNAME", *target))
            name = target[0]
        if records := self._zone.get((name, kind)):
            ttl = {"brief.test.": 0, "long.test.": 1_000_000}.get(name, 300)
            response.answer.append(dns.rrset.from_text(name, ttl, "IN", kind, *records))
            return
        if not any(known == name for known, _ in self._zone):
            response.set_rcode(dns.rcode.NXDOMAIN)
        response.authority.append(dns.rrset.from_text("test.", 60, "IN", "SOA", SOA))


@asynccontextmanager
async def records_of(zone: Zone) -> AsyncIterator[DnsRecords]:
    """DNS as a name server of ours has it, which runs meanwhile."""
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: NameServer(zone), local_addr=("127.0.0.1", 0)
    )
    yield DnsRecords(nameservers=[server.address], lifetime_s=1)
    transport.close()
