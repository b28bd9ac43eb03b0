"""The identifiers of the product, and how the time-sortable ones are minted."""

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import NewType

AccountId = NewType("AccountId", int)
SubaccountId = NewType("SubaccountId", int)
PoolId = NewType("PoolId", str)
IpAddress = NewType("IpAddress", str)
"""An IPv4 or IPv6 address in canonical text, as `ip_text` writes it."""
MessageId = NewType("MessageId", str)
TransmissionId = NewType("TransmissionId", str)
BodyId = NewType("BodyId", str)
NodeName = NewType("NodeName", str)
WorkerId = NewType("WorkerId", str)
Epoch = NewType("Epoch", int)
Revision = NewType("Revision", int)

LARGEST_NUMBER = 2**31 - 1
"""Of an account or a subaccount."""
DEFAULT_POOL = PoolId("default")
SHARED_POOL = PoolId("sp_shared")
"""The installation's own IPs. A reserved id: SparkPost's name for them in `options.ip_pool` (A6)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def ip_text(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> IpAddress:
    """The one form in which an address is stored, compared and shown.

    RFC 5952 §4, for mapped ones too: since 3.13 Python writes these as `::ffff:10.0.0.1`.
    """
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        high, low = divmod(int(address.ipv4_mapped), 1 << 16)
        zone = "" if address.scope_id is None else f"%{address.scope_id}"
        return IpAddress(f"::ffff:{high:x}:{low:x}{zone}")
    return IpAddress(str(address))


def canonical_ip(text: str) -> IpAddress:
    """Raises ValueError for what is no address."""
    return ip_text(ipaddress.ip_address(text))


def to_us(moment: datetime) -> int:
    """Integer microseconds since 1970, the one form in which a time is stored."""
    return (moment - _EPOCH) // _MICROSECOND


def from_us(moment_us: int) -> datetime:
    """The aware UTC time that `to_us` wrote."""
    return _EPOCH + timedelta(microseconds=moment_us)


def mint_message_id(now: datetime, entropy: bytes, index: int = 0) -> MessageId:
    """20 hex digits: 13 of microseconds, then 7 from 4 octets of entropy.

    index counts the ids minted from the same entropy: they differ for certain.
    """
    tail = (int.from_bytes(entropy[:4], "big") + index) & 0xFFFFFFF
    return MessageId(f"{to_us(now):013x}{tail:07x}")


def mint_transmission_id(now: datetime, entropy: bytes) -> TransmissionId:
    """A numeric string: microseconds, then 10 bits from 2 octets of entropy."""
    return TransmissionId(str(to_us(now) << 10 | int.from_bytes(entropy[:2], "big") >> 6))
