"""Messages for hosts that take no octets above 127: the same to every reader, in ASCII."""

import email
import email.policy
from email.message import EmailMessage

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.mail.gate import check_body, check_header, split_at_empty_line
from relay.mail.mime import BadMime, read_leaves
from relay.mail.seven_bit import Unconvertible, is_convertible, rewrite, seven_bit

HEAD = b"From: a@x.test\r\nSubject: t\r\nMIME-Version: 1.0\r\n"
TEXT = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
CAFE = "café au lait\r\n".encode()


def read(octets: bytes) -> EmailMessage:
    return email.message_from_bytes(octets, policy=email.policy.default)


def converted(message: bytes) -> bytes:
    found = seven_bit(message)
    assert found.isascii()
    assert b"\n" not in found.replace(b"\r\n", b"")
    assert all(len(line) <= 76 for line in found.split(b"\r\n\r\n", 1)[1].split(b"\r\n"))
    assert b"encoding: 8bit" not in found.lower()
    return found


def test_what_is_ascii_stays_as_it_is() -> None:
    message = HEAD + TEXT + b"\r\n" + b"x" * 2000
    assert seven_bit(message) == message


def test_a_text_becomes_quoted_printable() -> None:
    found = converted(HEAD + TEXT + b"\r\n" + CAFE)
    assert found.endswith(b"Content-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9 au lait\r\n")
    assert found.lower().count(b"content-transfer-encoding") == 1


@pytest.mark.parametrize("name", ["X-Content-Transfer-Encoding", "X-Was: Content-Transfer-Encoding"])
def test_only_the_field_of_that_very_name_goes(name: str) -> None:
    other = name.encode() + b": 8bit\r\n"
    found = seven_bit(b"From: a@x.test\r\n" + other + b"Subject: t\r\n" + TEXT + b"\r\n" + CAFE)
    assert other + b"Subject: t\r\n" in found
    assert found.endswith(b"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9 au lait\r\n")
    assert found.count(b"Content-Transfer-Encoding") == 2


@pytest.mark.parametrize(
    "text", ["no line end é", "é" * 500, "a é \r\n. \r\n\r\n.\r\né\t\r\n", "é\r\n" * 200_000]
)
def test_a_text_reads_as_before(text: str) -> None:
    part = read(seven_bit(HEAD + TEXT + b"\r\n" + text.encode()))
    assert part.get_payload(decode=True) == text.encode()


@pytest.mark.parametrize("at", range(3))
def test_a_line_without_end_reads_as_before(at: int) -> None:
    body = b"x" * (255 * 1024 - 2 + at) + b"\r\n" + "é".encode() * 200_000
    part = read(converted(HEAD + TEXT + b"\r\n" + body))
    assert part.get_payload(decode=True) == body


def test_octets_become_base64() -> None:
    data = bytes(range(256)) * 3
    data = data.replace(b"\r", b"").replace(b"\n", b"\r\n")
    found = converted(HEAD + b"Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n" + data)
    assert read(found).get_payload(decode=True) == data
    assert b"base64" in found


@pytest.mark.parametrize(("text", "charset"), [(CAFE, "utf-8"), (b"caf\xe9\r\n", "unknown-8bit")])
def test_a_message_that_is_no_mime_becomes_some(text: bytes, charset: str) -> None:
    found = converted(b"From: a@x.test\r\n\r\n" + text)
    part = read(found)
    assert (part["MIME-Version"], part.get_content_type(), part.get_param("charset")) == (
        "1.0",
        "text/plain",
        charset,
    )
    assert part.get_payload(decode=True) == text


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("quoted-printable", b"caf\xc3\xa9=20=\r\n!\r\n"), ("base64", b"Y2Fm\xc3\xa9w6k=\r\n")],
)
def test_what_an_encoding_let_through_is_encoded(encoding: str, body: bytes) -> None:
    message = HEAD + b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
    found = converted(message + encoding.encode() + b"\r\n\r\n" + body)
    assert read(found).get_payload(decode=True) == read(
        message + encoding.encode() + b"\r\n\r\n" + body
    ).get_payload(decode=True)


def parts(*entities: bytes, boundary: bytes = b"b", kind: bytes = b"mixed") -> bytes:
    head = (
        b"Content-Type: multipart/"
        + kind
        + b'; boundary="'
        + boundary
        + b'"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n'
    )
    body = b"".join(b"--" + boundary + b"\r\n" + entity + b"\r\n" for entity in entities)
    return head + body + b"--" + boundary + b"--\r\n"


def test_each_part_is_encoded_by_its_type_and_what_holds_them_says_so() -> None:
    image = b"Content-Type: image/gif\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGIF\xff\xfe\r\n"
    plain = b"Content-Type: text/plain\r\n\r\nascii\r\n"
    inner = parts(TEXT + b"\r\n" + CAFE, plain, boundary=b"b=2", kind=b"alternative")
    attached = (
        b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        + HEAD
        + TEXT
        + b"\r\n"
        + CAFE
    )
    bare = b"\r\n" + CAFE
    message = HEAD + parts(inner, image, attached, bare)
    found = read(converted(message))
    leaves = [part for part in found.walk() if not part.is_multipart()]
    assert [part["Content-Transfer-Encoding"] for part in leaves] == [
        "quoted-printable",
        None,
        "base64",
        "quoted-printable",
        "quoted-printable",
    ]
    before = [part for part in read(message).walk() if not part.is_multipart()]
    assert [octets_of(part) for part in leaves] == [octets_of(part) for part in before]


def octets_of(part: EmailMessage) -> bytes:
    octets = part.get_payload(decode=True)
    assert isinstance(octets, bytes)
    return octets.rstrip()


def test_what_nobody_reads_around_parts_has_its_octets_replaced() -> None:
    message = (
        HEAD
        + parts(TEXT + b"\r\n" + CAFE).replace(b"\r\n\r\n--b", b"\r\n\r\nde l\xe0\r\n--b", 1)
        + b"fin \xe0\r\n"
    )
    found = seven_bit(message)
    assert (b"de l?\r\n--b\r\n" in found, found.endswith(b"--b--\r\nfin ?\r\n")) == (True, True)


def test_a_multipart_that_does_not_end_has_its_last_part_all_the_same() -> None:
    found = seven_bit(HEAD + parts(TEXT + b"\r\n" + CAFE).removesuffix(b"--b--\r\n"))
    (part,) = read(found).iter_parts()
    assert part.get_content().strip() == "café au lait"


@pytest.mark.parametrize("encoding", ["8-bit", "8bits", "8_BIT", "7-bit", "Binary (as it is)"])
def test_an_encoding_that_is_none_is_known_however_it_is_spelt(encoding: str) -> None:
    text = TEXT.replace(b": 8bit", b": " + encoding.encode())
    assert read(converted(HEAD + text + b"\r\n" + CAFE)).get_payload(decode=True) == CAFE


@pytest.mark.parametrize("fields", [b"", b"Content-Description: one\r\nContent-Transfer-Encoding: 8bit\r\n"])
def test_a_part_of_a_digest_is_a_message_unless_it_says_otherwise(fields: bytes) -> None:
    """RFC 2046 §5.1.5."""
    one = fields + b"\r\nFrom: b@x.test\r\n" + TEXT + b"\r\n" + CAFE
    found = read(converted(HEAD + parts(one, TEXT + b"\r\n" + CAFE, kind=b"digest")))
    first, second = found.iter_parts()
    assert first["Content-Type"] is None
    assert (first.get_content_type(), first["Content-Transfer-Encoding"]) == ("message/rfc822", "7bit")
    (inner,) = first.iter_parts()
    assert (inner["From"], inner.get_content()) == ("b@x.test", CAFE.decode())
    assert second.get_content() == CAFE.decode()


def test_a_message_within_that_is_no_mime_becomes_some() -> None:
    found = converted(HEAD + b"Content-Type: message/rfc822\r\n\r\nFrom: b@x.test\r\n\r\n" + CAFE)
    (inner,) = read(found).iter_parts()
    assert (inner["MIME-Version"], inner.get_content().strip()) == ("1.0", "café au lait")
    assert found.count(b"MIME-Version") == 2


def test_what_is_signed_in_ascii_stays_beside_what_is_encoded() -> None:
    """RFC 8551 §3.1.3."""
    sealed = parts(
        b"\r\nascii", b"Content-Type: application/pgp-signature\r\n\r\nS", boundary=b"i", kind=b"signed"
    )
    assert sealed in seven_bit(HEAD + parts(sealed, TEXT + b"\r\n" + CAFE))


SIGNED = parts(TEXT + b"\r\n" + CAFE, boundary=b"i", kind=b"signed")


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"Subject: caf\xe9\r\n\r\nx\r\n", id="a header in no known charset"),
        pytest.param("To: bøb@x.test\r\n\r\nx\r\n".encode(), id="a local part"),
        pytest.param(HEAD + parts("é is no field\r\n\r\nx".encode()), id="a part without fields"),
        pytest.param(HEAD + SIGNED, id="signed"),
        pytest.param(HEAD + SIGNED.replace(b"/signed", b"/SIGNED (x)"), id="signed, in capitals"),
        pytest.param(HEAD + parts(TEXT + b"\r\nx", SIGNED), id="a signed part"),
        pytest.param(HEAD + b"Content-Type: message/rfc822\r\n\r\n" + HEAD + SIGNED, id="a signed message"),
        pytest.param(HEAD + parts(b"\r\n" + HEAD + SIGNED, kind=b"digest"), id="a signed one in a digest"),
        pytest.param(b"Subject: caf\xc3\xa9\r\n", id="nothing but a header"),
        pytest.param(HEAD + parts(b"X: \xe9\r\n\r\nx"), id="the header of a part"),
        pytest.param(HEAD + parts(b"\xe9 and no empty line"), id="a part that is all header"),
        pytest.param(HEAD + b"Content-Type: multipart/mixed\r\n\r\n" + CAFE, id="no boundary"),
        pytest.param(
            HEAD + b"Content-Type: multipart/mixed; boundary=\xc3\xa9\r\n\r\n" + CAFE, id="odd boundary"
        ),
        pytest.param(
            HEAD + b"Content-Type: multipart/mixed; boundary*=utf-8''%C3%A9\r\n\r\n" + CAFE,
            id="odder boundary",
        ),
        pytest.param(HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + CAFE, id="no part"),
        pytest.param(
            HEAD + b"Content-Type: multipart/mixed" + b"; a=b" * 200 + b"; boundary=b\r\n\r\n" + CAFE,
            id="parameters",
        ),
        pytest.param(
            HEAD + b"Content-Type: message/delivery-status\r\n\r\n" + CAFE, id="a type without encodings"
        ),
        pytest.param(
            HEAD + b"Content-Transfer-Encoding: x-uuencode\r\n\r\n" + CAFE, id="an encoding of their own"
        ),
        pytest.param(HEAD + b"Content-Transfer-Encoding: base64\r\n\r\nY\xe9", id="broken base64"),
        pytest.param(
            (b"Content-Type: message/rfc822\r\n\r\n" * 30) + HEAD + TEXT + b"\r\n" + CAFE, id="too deep"
        ),
    ],
)
def test_where_no_encoding_is_nothing_is_converted(message: bytes) -> None:
    with pytest.raises(Unconvertible):
        seven_bit(message)


def test_header_sections_are_written_in_ascii() -> None:
    name = 'Content-Disposition: attachment; filename="Prüfung.txt"\r\n'.encode()
    found = converted(
        "To: bob@bücher.test\r\n".encode() + HEAD + parts(name + b"\r\nx\r\n", name + TEXT + b"\r\n" + CAFE)
    )
    assert found.startswith(b"To: bob@xn--bcher-kva.test\r\n" + HEAD)
    message = read(found)
    assert [part.get_filename() for part in message.iter_attachments()] == ["Prüfung.txt"] * 2
    assert seven_bit("Subject: é\r\n\r\nx".encode()) == b"Subject: =?utf-8?b?w6k=?=\r\n\r\nx"


def test_it_is_known_beforehand_what_can_be_converted() -> None:
    assert is_convertible("To: bøb@x.test\r\n".encode() + HEAD + TEXT + b"\r\n" + CAFE)
    assert not is_convertible(HEAD + SIGNED)


def test_a_header_section_that_may_stay_stays() -> None:
    header = "Subject: café\r\n".encode() + HEAD + TEXT
    assert seven_bit(header + b"\r\nx\r\n", keeps_header=True) == header + b"\r\nx\r\n"
    found = seven_bit(header + b"\r\n" + CAFE, keeps_header=True)
    assert found.startswith("Subject: café\r\n".encode())
    assert found.endswith(b"\r\n\r\ncaf=C3=A9 au lait\r\n")


def test_a_status_report_of_internationalised_mail_has_encodings() -> None:
    found = converted(HEAD + b"Content-Type: message/global-delivery-status\r\n\r\n" + CAFE)
    assert b"base64" in found


@given(st.lists(st.text(alphabet="aé=. \t-", max_size=90), max_size=20))
def test_any_text_reads_as_before(lines: list[str]) -> None:
    body = "\r\n".join(["é", *lines]).encode()
    assert read(seven_bit(HEAD + TEXT + b"\r\n" + body)).get_payload(decode=True) == body


# ── whatever the gate takes ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "coded",
    [b"a=0A.=0D=0D.=0D\r\nMAIL FROM:<evil@bank.test>=0D\r\n", b"a=0D=0A.=0Ab", b"=0A.=0A", b"=0D"],
    ids=["before a line end", "beside CRLF", "LF alone", "CR alone"],
)
def test_a_decoded_cr_or_lf_stays_in_code(coded: bytes) -> None:
    """RFC 5321 §2.3.8: bare ones would end lines, and the message, for some next hops."""
    entity = TEXT.replace(b"8bit", b"quoted-printable") + b"\r\n" + coded + CAFE
    for message in (
        HEAD + entity,
        HEAD + parts(entity),
        HEAD + b"Content-Type: message/rfc822\r\n\r\n" + HEAD + entity,
    ):
        found = converted(message)
        check_gate(found)
        leaves = [list(read(octets).walk())[-1] for octets in (message, found)]
        assert leaves[0].get_payload(decode=True) == leaves[1].get_payload(decode=True)


def test_texts_that_were_each_coded_in_base64_stay_whole() -> None:
    head = HEAD + b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    assert seven_bit(head + b"Y2Fm\xc3\xa9w6k=\r\nw6k=\r\n") == head + b"Y2Fmw6nDqQ==\r\n"


def texts(message: bytes) -> list[tuple[str, str | None]]:
    """Of its parts that are texts; none where it cannot be read."""
    try:
        return [(leaf.type, leaf.text) for leaf in read_leaves(message)]
    except BadMime:
        return []


def check_gate(message: bytes) -> None:
    header, body = split_at_empty_line(message)
    check_header(header)
    check_body(body)


TYPES = (
    *(b"text/plain", b"text/html; charset=utf-16", b"application/x", b"message/rfc822", b"message/global"),
    *(b"multipart/mixed; boundary=b", b"multipart/digest; boundary=b"),
)
ENCODINGS = (b"", b"8bit", b"quoted-printable", b"base64", b"Quoted-Printable (x)")
TOKENS = (
    *(b"=0A", b"=0D", b"=00", b"=0D=0A", b".", b"=", b"=\r\n", b"\r\n", b"\xc3\xa9", b"\xff", b" ", b"YQ"),
    *(b"--b\r\n", b"\r\n--b--\r\n", b"X: y\r\n", b"\r\n\r\n", b"\r\n.\r\n", b"no field\r\n"),
    *(b"Content-Transfer-Encoding: quoted-printable\r\n", b"Content-Type: message/rfc822\r\n"),
)


@given(
    st.sampled_from(TYPES),
    st.sampled_from(ENCODINGS),
    st.lists(st.sampled_from(TOKENS), max_size=16),
    st.booleans(),
)
@example(b"text/plain", b"quoted-printable", [b"\xc3\xa9", b"=0A", b".", b"=0D"], False)
def test_what_is_converted_passes_the_gate_and_says_the_same(
    type_: bytes, encoding: bytes, tokens: list[bytes], is_within: bool
) -> None:
    field = b"Content-Transfer-Encoding: " + encoding + b"\r\n" if encoding else b""
    message = b"Content-Type: " + type_ + b"\r\n" + field + b"\r\n" + b"".join(tokens)
    message = HEAD + (parts(message, boundary=b"outer") if is_within else message)
    try:
        found = seven_bit(message)
    except Unconvertible:
        return
    assert found.isascii()
    check_gate(found)
    assert texts(found) == texts(message)


# ── what it costs, and in which pieces it comes ──────────────────────────────────────────


def test_a_mailbox_line_before_a_message_within_stays() -> None:
    inner = b"From b@x.test Mon Jan  5 12:00:00 2026\r\n" + HEAD + TEXT + b"\r\n" + CAFE
    found = converted(HEAD + b"Content-Type: message/rfc822\r\n\r\n" + inner)
    assert found.endswith(b"\r\n\r\ncaf=C3=A9 au lait\r\n")
    assert b"\r\n\r\nFrom b@x.test Mon Jan" in found


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(HEAD + parts(*[b"\r\nx"] * 1000, b"\r\n" + CAFE), id="parts"),
        pytest.param(HEAD + parts(b"X: y\r\n" * 20_000 + b"\r\n" + CAFE), id="the header of a part"),
        pytest.param(HEAD + parts(TEXT + b"\r\n" + CAFE, boundary=b"b" * 201), id="a boundary"),
        pytest.param(
            HEAD
            + b"".join(parts(b"", boundary=b"%d" % n).removesuffix(b"\r\n--%d--\r\n" % n) for n in range(15))
            + TEXT
            + b"\r\n"
            + CAFE * 400_000,
            id="readings",
        ),
    ],
)
def test_more_than_anybody_writes_is_not_converted(message: bytes) -> None:
    with pytest.raises(Unconvertible):
        seven_bit(message)


def test_long_copies_come_in_pieces_that_end_lines() -> None:
    message = HEAD + parts(TEXT + b"\r\n" + CAFE * 100_000, TEXT + b"\r\n" + b"x" * 2_000_000)
    pieces = list(rewrite(message, header=False, body=True, keeps_header=False))
    assert b"".join(pieces) == seven_bit(message)
    assert len(pieces) > 2
    assert all(piece.endswith(b"\r\n") for piece in pieces[:-1])


@pytest.mark.parametrize(("header", "body"), [(True, False), (False, True), (True, True)])
def test_what_is_ascii_is_not_written_anew(header: bool, body: bool) -> None:
    assert list(rewrite(HEAD + b"\r\nx\r\n", header=header, body=body, keeps_header=False)) == []


def test_a_header_section_alone_is_written_anew() -> None:
    message = "Subject: é\r\n".encode() + TEXT + b"\r\n" + CAFE
    (found,) = rewrite(message, header=True, body=False, keeps_header=True)
    assert found == b"Subject: =?utf-8?b?w6k=?=\r\n" + TEXT + b"\r\n" + CAFE
