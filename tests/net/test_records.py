"""What DNS says of a sending domain, by a real name server on 127.0.0.1; and keys."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa

from relay.domain.errors import BadOptions
from relay.mail.dkim import encode_key, is_record_of, record
from relay.net.records import DnsRecords, RsaKeys
from relay.ports.domains import Records
from tests.support.name_server import NameServer

ZONE = {
    ("key._domainkey.acme.test.", "TXT"): ['"v=DKIM1; p=AAAA" "BBBB"', '"another"'],
    ("acme.test.", "MX"): ["20 MX2.acme.test.", "10 mx1.acme.test."],
    ("null.test.", "MX"): ["0 ."],
    ("bounces.acme.test.", "CNAME"): ["Relay.TEST."],
    ("odd.test.", "TXT"): ['"\\255"'],
}


@pytest_asyncio.fixture
async def server() -> AsyncIterator[NameServer]:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: NameServer(ZONE), local_addr=("127.0.0.1", 0)
    )
    yield protocol
    transport.close()


@pytest.mark.parametrize(
    ("kind", "name", "values"),
    [
        pytest.param(
            "txt", "key._domainkey.acme.test", {"v=DKIM1; p=AAAABBBB", "another"}, id="strings are joined"
        ),
        pytest.param("txt", "odd.test", {"�"}, id="octets that are no text"),
        pytest.param("txt", "acme.test", set(), id="no TXT"),
        pytest.param("txt", "nowhere.test", set(), id="no such name"),
        pytest.param("mx", "acme.test", {"mx1.acme.test", "mx2.acme.test"}, id="MX"),
        pytest.param("mx", "null.test", set(), id="null MX"),
        pytest.param("cname", "bounces.acme.test", {"relay.test"}, id="CNAME"),
        pytest.param("cname", "acme.test", set(), id="no CNAME"),
        pytest.param("txt", "x" * 64 + ".test", set(), id="a long label"),
        pytest.param("txt", "a..test", set(), id="an empty label"),
    ],
)
async def test_records_are_what_dns_has(server: NameServer, kind: str, name: str, values: set[str]) -> None:
    records = await getattr(DnsRecords(nameservers=[server.address], lifetime_s=0.5), kind)(name)
    assert (set(records.values), records.has_failed) == (values, False)


@pytest.mark.parametrize("name", ["fail.test", "silent.test"])
async def test_no_answer_is_not_no_record(server: NameServer, name: str) -> None:
    records = DnsRecords(nameservers=[server.address], lifetime_s=0.2)
    assert await records.txt(name) == Records(has_failed=True)


async def test_every_look_is_a_new_one(server: NameServer) -> None:
    """Whoever has just added a record does not wait for a cache of ours."""
    records = DnsRecords(nameservers=[server.address], lifetime_s=0.5)
    await records.cname("bounces.acme.test")
    await records.cname("bounces.acme.test")
    assert server.asked["bounces.acme.test.", "CNAME"] == 2


async def test_a_new_key_is_a_pair_of_2048_bits() -> None:
    key = await RsaKeys().generate("scph0126")
    assert key.selector == "scph0126"
    assert len(key.public) == 392
    assert is_record_of(record(key.public), key.public)
    assert (await RsaKeys().take("own", key.private)).public == key.public


async def test_a_supplied_key_must_be_one() -> None:
    private, public = encode_key(rsa.generate_private_key(65537, 1024))
    assert (await RsaKeys().take("own", private)).public == public
    with pytest.raises(BadOptions) as caught:
        await RsaKeys().take("own", "secret-text")
    assert caught.value.detail == "dkim.private is not a private key"
