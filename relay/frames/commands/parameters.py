"""Values of the command line, read by the same rules as those of the files."""

from collections.abc import Callable
from typing import TypeVar

import typer

from relay.config.values import parse_host_name, parse_node
from relay.domain.ids import IpAddress, NodeName
from relay.frames.values import parse_address, parse_client, parse_name

Value = TypeVar("Value")


def _read(parse: Callable[[object], Value]) -> Callable[[str], Value]:
    """A parser for Typer: its complaint is what the schema expected."""

    def read(text: str) -> Value:
        try:
            return parse(text)
        except ValueError as error:
            raise typer.BadParameter(f"{text!r}: expected {error}") from error

    return read


def address(text: str) -> IpAddress:
    """Raises BadParameter, as the others do."""
    return _read(parse_address)(text)


def node(text: str) -> NodeName:
    """Empty: any machine."""
    return NodeName("") if not text else _read(parse_node)(text)


def host_name(text: str) -> str:
    return _read(parse_host_name)(text)


def name(text: str) -> str:
    return _read(parse_name)(text)


def client(text: str) -> str:
    """An address or a network."""
    return _read(parse_client)(text)
