"""xtext, as RFC 3461 §4 has it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail.xtext import decode_xtext, embed


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        pytest.param("", "", id="nothing"),
        pytest.param("bob@dst.test", "bob@dst.test", id="itself"),
        pytest.param("a+2Bb+3Dc+20d", "a+b=c d", id="plus, equals sign, space"),
        pytest.param("a+2b", None, id="lower case"),
        pytest.param("a+", None, id="a plus at the end"),
        pytest.param("a+2", None, id="one digit"),
        pytest.param("a=b", None, id="an equals sign"),
        pytest.param("a b", None, id="a space"),
        pytest.param("ä", None, id="not ASCII"),
        pytest.param("+C3+A4", None, id="not ASCII, encoded"),
        pytest.param("a+0D+0Ab", None, id="an end of line"),
        pytest.param("a+00", None, id="NUL"),
        pytest.param("a+7F", None, id="DEL"),
    ],
)
def test_xtext_is_decoded_to_printable_ascii_or_not_at_all(text: str, decoded: str | None) -> None:
    assert decode_xtext(text) == decoded


@given(st.text())
def test_what_is_embedded_is_ascii_and_ascii_stays(text: str) -> None:
    assert embed(text).isascii()
    assert (embed(text) == text) == text.isascii()


def test_a_character_beyond_ascii_is_named_by_its_number() -> None:
    assert embed("bøb") == "b\\x{F8}b"
