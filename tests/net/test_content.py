"""What DATA carries comes out of the other end as it went in."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.net.content import cut_in_pieces

LINES = st.lists(
    st.sampled_from([b"", b".", b"..", b".x", b"x.", b"a\rb", b"a\nb", b"\n.", b"x" * 70])
    | st.binary(max_size=20),
    max_size=12,
)


def taken_out(wire: bytes) -> bytes:
    """What a server reads: lines up to the first lone dot, one dot less where a line begins with one."""
    content, end, rest = (b"\r\n" + wire).partition(b"\r\n.\r\n")
    assert end
    assert not rest, "the content ended early"
    return (content + b"\r\n").replace(b"\r\n.", b"\r\n")[2:]


@given(LINES, st.lists(st.integers(0, 400), max_size=4))
def test_any_lines_survive_in_any_chunks(lines: Sequence[bytes], cuts: Sequence[int]) -> None:
    content = b"".join(line + b"\r\n" for line in lines if b"\r\n" not in line)
    edges = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    chunks = [content[start:end] for start, end in pairwise(edges)]
    assert taken_out(b"".join(cut_in_pieces(chunks))) == content


@pytest.mark.parametrize(
    "line", [b"x" * 76, b"." * 76, b".", b"", b"y" * 300_000], ids=lambda line: f"{line[:1]}×{len(line)}"
)
@pytest.mark.parametrize("prefix", [b"", b"Received: x\r\n", b".\r\n"])
def test_large_content_survives_in_pieces_of_bounded_size(line: bytes, prefix: bytes) -> None:
    body = (line + b"\r\n") * (1_000_000 // (len(line) + 2))
    written = list(cut_in_pieces([prefix, body]))
    assert taken_out(b"".join(written)) == prefix + body
    assert len(written) > 2
    assert max(map(len, written)) < 800_000


@pytest.mark.parametrize("content", [b"no line end", b".", b"a\r\n.b", b"x" * 100_000])
def test_content_without_a_last_crlf_gets_one(content: bytes) -> None:
    assert taken_out(b"".join(cut_in_pieces([content]))) == content + b"\r\n"


def test_small_content_is_one_write() -> None:
    assert list(cut_in_pieces([b"A: b\r\n", b"\r\n.hello\r\n"])) == [b"A: b\r\n\r\n..hello\r\n.\r\n"]


def test_no_content_is_a_dot() -> None:
    assert list(cut_in_pieces([])) == [b".\r\n"] == list(cut_in_pieces([b"", b""]))
