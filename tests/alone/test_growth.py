"""Twice as much takes about twice as long, and a refusal next to nothing, in CPU time."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from relay.frames.rest.body import parse_object
from relay.ingress.data import take_parts
from relay.ingress.msys import parse_msys
from relay.mail.budget import Budget
from relay.mail.inline_css import inline_css
from relay.mail.mime import read_leaves
from relay.mail.template import TemplateKind, compile_template
from relay.resources.transmissions.body import parse_transmission
from tests.alone.door_readers import DOORS
from tests.alone.readers import MAIL, NOW, REFUSED, Reader
from tests.support.growth import assert_cheap, assert_linear

REFUSAL_S = 0.3
"""For what is refused at sight, though it has megabytes."""
MOST = 20 << 20
_VALUES = b'{"content": [' + b"[]," * 5_000_000
_ROUNDS = compile_template("{{ each a }}{{ each a }}{{ end }}{{ end }}", TemplateKind.TEXT)
READERS = (*MAIL, *DOORS)


@pytest.mark.parametrize("reader", READERS, ids=[reader.name for reader in READERS])
def test_twice_as_much_takes_about_twice_as_long(reader: Reader) -> None:
    def work(given: Any) -> None:
        with suppress(*REFUSED):
            reader.work(given)

    for text in reader.texts:
        assert_linear(partial(reader.make, text), work, reader.size)


@pytest.mark.parametrize(
    ("refuse", "given"),
    [
        pytest.param(lambda octets: parse_transmission(octets, NOW), _VALUES, id="values"),
        pytest.param(lambda octets: parse_object(octets, "/"), b"[" * 3_000_000, id="lists in lists"),
        pytest.param(parse_msys, b"{" * 3_000_000, id="X-MSYS-API"),
        pytest.param(lambda octets: take_parts(octets, MOST), b"X: y\r\n" * 3_000_000, id="fields"),
        pytest.param(lambda octets: take_parts(octets, MOST), b"x" * (19 << 20), id="a line"),
        pytest.param(lambda octets: take_parts(octets, MOST), b"\r\n" * (11 << 20), id="a message"),
        pytest.param(lambda octets: take_parts(octets, MOST, False), b"X: y\n" * 3_000_000, id="LF"),
        pytest.param(
            lambda octets: take_parts(octets, MOST, False), b"X: y\n" * 3_000_000 + b"\r\n\r\n", id="both"
        ),
        pytest.param(lambda octets: take_parts(octets, MOST), b"From \r\n" * 2_500_000, id="mailbox lines"),
        pytest.param(lambda octets: list(read_leaves(octets)), b"X: y\r\n" * 3_000_000, id="a part"),
        pytest.param(inline_css, "<style>" + "<b>" * 1_000_000, id="elements"),
        pytest.param(lambda text: compile_template(text, TemplateKind.HTML), "{{ a" * 1_000_000, id="braces"),
        pytest.param(lambda data: _ROUNDS.render(data, Budget(1000)), {"a": [0] * 1_000_000}, id="rounds"),
    ],
)
def test_a_refusal_costs_next_to_nothing(refuse: Callable[[Any], object], given: Any) -> None:
    def work() -> None:
        with pytest.raises(REFUSED):
            refuse(given)

    assert_cheap(work, REFUSAL_S)
