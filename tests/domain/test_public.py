"""Which addresses a stranger may have us connect to, class by class (IANA's registries, RFC 6890)."""

import pytest

from relay.domain.ids import IpAddress
from relay.domain.public import is_public, plain

NOT_PUBLIC = {
    "unspecified": ("0.0.0.0", "0.1.2.3", "::"),
    "loopback": ("127.0.0.1", "127.255.255.254", "::1", "::1%lo"),
    "private": (
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "fc00::1",
        "fd00:ec2::254",
        "fec0::1",
    ),
    "link-local": ("169.254.169.254", "fe80::1", "fe80::1%eth0", "febf::1"),
    "shared (CGNAT)": ("100.64.0.1", "100.127.255.255"),
    "multicast": ("224.0.0.1", "232.1.1.1", "239.255.255.255", "ff02::1", "ff0e::1"),
    "reserved": ("240.0.0.1", "255.255.255.255", "192.0.0.9", "192.88.99.1", "4000::1", "5f00::1", "200::1"),
    "documentation": ("192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"),
    "benchmark": ("198.18.0.1", "198.19.255.255", "2001:2::1"),
    "discard": ("100::1",),
    "protocol assignments": ("2001::1", "2001:20::1", "2001:1ff:ffff::1"),
    "mapped": (
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0:0",
        "::ffff:224.0.0.1",
    ),
    "IPv4-compatible": ("::127.0.0.1", "::8.8.8.8"),
    "IPv4-translated": ("::ffff:0:127.0.0.1",),
    "6to4": ("2002:7f00:1::", "2002:a00:1::1", "2002:c0a8:101::1", "2002:a9fe:a9fe::1", "2002:c000:201::1"),
    "NAT64": ("64:ff9b::7f00:1", "64:ff9b::10.1.2.3", "64:ff9b::c0a8:101", "64:ff9b:1::808:808"),
    "Teredo": ("2001:0:4136:e378:8000:63bf:80ff:fffe", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
}
PUBLIC = (
    "8.8.8.8",
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "126.255.255.255",
    "128.0.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.167.255.255",
    "223.255.255.254",
    "2606:4700::1111",
    "2a00:1450:4001::1a",
    "2001:4860:4860::8888",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
)


@pytest.mark.parametrize("kind", NOT_PUBLIC)
def test_an_address_that_is_not_of_the_internet(kind: str) -> None:
    assert [text for text in NOT_PUBLIC[kind] if is_public(IpAddress(text))] == []


@pytest.mark.parametrize("text", PUBLIC)
def test_an_address_of_the_internet(text: str) -> None:
    assert is_public(IpAddress(text))


def test_what_is_no_address_is_no_answer() -> None:
    with pytest.raises(ValueError, match="does not appear"):
        is_public(IpAddress("mx.example"))


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("fe80::1%lo", "fe80::1"),
        ("0:0::1", "::1"),
    ],
)
def test_where_a_connection_ends(text: str, end: str) -> None:
    assert plain(IpAddress(text)) == end
