"""Values of the directory, read from text: what was expected is in the ValueError."""

import ipaddress
import re
from contextlib import suppress
from typing import Annotated

from pydantic import Field, PlainValidator

from relay.config.values import check_is_one_host, parse_host_name, parse_network, parse_node
from relay.domain.clients import network_text
from relay.domain.directory import GRANTS, is_pool_id
from relay.domain.ids import LARGEST_NUMBER, IpAddress, NodeName, PoolId, SubaccountId, ip_text

MAX_NAME = 64
_KEY = re.compile(r"[0-9A-Fa-f]{40}")


def parse_name(text: object) -> str:
    """A name for people. Raises ValueError with what was expected, as the others do."""
    if isinstance(text, str) and text.strip() and text.isprintable() and len(text) <= MAX_NAME:
        return text
    raise ValueError(f"1 to {MAX_NAME} printable characters")


def parse_address(text: object) -> IpAddress:
    """A host's address: no wildcard, for which the system would choose, and no group."""
    if isinstance(text, str):
        check_is_one_host(text)
        with suppress(ValueError):
            address = ipaddress.ip_address(text)
            if "%" not in text and not address.is_unspecified:
                return ip_text(address)
    raise ValueError("an IPv4 or IPv6 address of one host")


def parse_optional_address(text: object) -> IpAddress | None:
    return None if text in ("", None) else parse_address(text)


def parse_optional_node(text: object) -> NodeName:
    return NodeName("") if text == "" else parse_node(text)


def parse_pool_id(text: object) -> PoolId:
    if text == "" or (isinstance(text, str) and is_pool_id(text) and text == text.lower()):
        return PoolId(str(text))
    raise ValueError("a pool id: 1 to 20 small letters, digits and underscores")


def parse_optional_host_name(text: object) -> str:
    return "" if text == "" else parse_host_name(text)


def parse_grant(text: object) -> str:
    if isinstance(text, str) and text in GRANTS:
        return text
    raise ValueError(f"one of {', '.join(sorted(GRANTS))}")


def parse_client(text: object) -> str:
    """Where clients come from: an address or a network, in canonical text."""
    network = parse_network(text)
    return network_text(network) if "/" in str(text) else ip_text(network.network_address)


def parse_key(text: object) -> str:
    if isinstance(text, str) and _KEY.fullmatch(text):
        return text
    raise ValueError("40 hexadecimal digits")


Name = Annotated[str, PlainValidator(parse_name)]
SubaccountNumber = Annotated[SubaccountId, Field(ge=0, le=LARGEST_NUMBER)]
"""0 is the account itself."""
