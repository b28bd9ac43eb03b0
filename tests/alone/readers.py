"""All that reads or writes what a tenant or a stranger made, with texts that are hard for it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import h11
from cryptography.hazmat.primitives.asymmetric import rsa

from relay.domain.address import normalise_domain, parse_mailbox
from relay.domain.errors import MalformedAddress, MalformedOptions, RelayError
from relay.domain.transmission import File, InlineContent, Rfc822Content
from relay.frames.console.errors import WebError
from relay.frames.rest.errors import ApiError
from relay.frames.rest.fault import Fault
from relay.ingress.replies import Complaint
from relay.mail.addresses import read_forgivingly, write_addresses
from relay.mail.budget import Budget
from relay.mail.compose import compose
from relay.mail.dkim import Signer, UnusableKey, body_hash, encode_key, signature_field
from relay.mail.dsn import Fate, build_dsn
from relay.mail.entities import file_entity, text_entity
from relay.mail.fields import section_in_ascii
from relay.mail.gate import check_body, check_composed, check_stored, read_section
from relay.mail.headers import decode_header, fields_of, from_address, own_mailbox, split_message, unfold
from relay.mail.inline_css import inline_css
from relay.mail.mailboxes import read_name, sole_mailbox, split_name, split_template
from relay.mail.mime import read_leaves
from relay.mail.parameters import first_word, named_parameters, parameters_of
from relay.mail.seven_bit import seven_bit
from relay.mail.submitted import tidy
from relay.mail.template import TemplateKind, compile_template
from relay.mail.to import To
from relay.mail.words import by_words, encode_unstructured, parameter, phrase
from relay.net.content import cut_in_pieces
from relay.resources.sending_domains.shapes import parse_domain
from relay.resources.suppression_list.body import BadEntry

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REFUSED = (
    *(RelayError, ValueError, Fault, Complaint, ApiError, WebError, BadEntry, UnusableKey, EOFError),
    *(MalformedAddress, MalformedOptions, h11.RemoteProtocolError),
)
FROM = b"From: a@acme.test\r\n"


@dataclass(frozen=True, slots=True)
class Reader:
    """What reads or writes, and texts that are hard for it: each is made for a size in characters."""

    name: str
    work: Callable[[Any], object]
    size: int
    texts: tuple[str, ...]
    """What is said again and again, up to the size; before and behind `…` stands what is said once."""
    as_octets: bool = False

    def make(self, text: str, size: int) -> Any:
        before, _, rest = text.partition("…") if "…" in text else ("", "", text)
        unit, _, behind = rest.partition("…")
        made = before + unit * (size // len(unit)) + behind
        return made.encode() if self.as_octets else made


def all_of(iterable: Iterable[object]) -> None:
    for _ in iterable:
        pass


def _rendered(text: str) -> str:
    data = {"a": list(range(1000)), "b": "x" * 1000, "d": {"t": "{{ b }}"}}
    return compile_template(text, TemplateKind.HTML).render(data, Budget())


def _composed(message: bytes) -> None:
    blueprint = compose(Rfc822Content(message), "boundary")
    blueprint.fill({"a": "x", "l": [1, 2, 3]}, To("", parse_mailbox("a@b.test")), Budget())


def _inline(field: str) -> Callable[[str], None]:
    def work(text: str) -> None:
        content = InlineContent("a@acme.test", "s", text="t")
        given: Any = {"X-A": text, "Cc": text} if field == "headers" else text
        content = replace(content, **{field: given})
        compose(content, "boundary").fill({"a": "x" * 100}, To("", parse_mailbox("a@b.test")), Budget())

    return work


def _signed(header: bytes) -> None:
    signature_field(header, "h", _signer(), NOW)


@lru_cache
def _signer() -> Signer:
    return Signer("acme.test", "s", encode_key(rsa.generate_private_key(65537, 1024))[0])


HOSTILE = ("(", '"', "\\", "<", "a,", "a@b.c, ", '"a" ', "=?utf-8?q?", "=?utf-8?q?=41?= ", "a <", ": ;", " ")
FIELDS = (
    "X: y\r\n",
    "X:\r\n…\t\r\n…",
    "X: …(…\r\n",
    "From: …a@b.c, …\r\n",
    "X : y\r\n",
    "X: …=?utf-8?q?=41?=\r\n …",
)
EXPRESSIONS = (
    *("{{ a }}", "{{", "{{{", "}}", "{{ if a }}", "{{ if a }}{{ end }}", "{{ each a }}{{ end }}", "{{ 'a"),
    *("{{ …a.…", "{{ …a[…", "{{ …(…", "{{ …not …", "{{ …a and …b }}", "{{ …'…", "{{ …#…", "{{ a == b }}"),
    *("{{ loop_var }}", "{{ if …a == …", "\\{{", "{{ opening_double_curly() }}", "{{ end }}", "\n{{ a }}"),
)
MAIL = (
    # ── templates and rules ──
    Reader("template", lambda text: compile_template(text, TemplateKind.HTML), 20_000, EXPRESSIONS),
    Reader(
        "rendering",
        _rendered,
        5_000,
        (*EXPRESSIONS, "{{ each a }}{{ b }}{{ end }}", "{{ if b == b }}x{{ end }}"),
    ),
    Reader(
        "CSS",
        inline_css,
        40_000,
        ("<style>b{color:red}</style>…<b>", "<style>…a~b{c:d}", "<style>", "<style></style>"),
    ),
    # ── MIME ──
    Reader(
        "tree",
        lambda octets: all_of(read_leaves(octets)),
        1_000_000,
        (
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n…--b\r\n\r\nx\r\n",
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n…--b",
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n…\r\n--bx",
            "Content-Type: text/plain; charset=utf-7\r\n\r\n…+",
            "Content-Transfer-Encoding: quoted-printable\r\n\r\n…=\r\n",
            "Content-Transfer-Encoding: base64\r\n\r\n…=A",
        ),
        as_octets=True,
    ),
    Reader(
        "7 bits",
        seven_bit,
        500_000,
        tuple(
            one.replace("MIXED", "Content-Type: multipart/mixed; boundary=b\r\n\r\n")
            for one in (
                *("MIXED…--b\r\n\r\né\r\n", "MIXED--b\r\n…\r\n--b…é", "MIXED--b\r\n\r\né…\r\n--bx"),
                *("MIXED--b\r\n\r\né…\r\n-", "MIXED--b\r\n\r\né…\r\n--b…--", "…MIXED--b\r\n…é"),
                *("…Content-Type: message/rfc822\r\n\r\n…é", "X: y\r\n\r\n…é", "X: y\r\n\r\né…a"),
                *("X: y\r\n\r\né…é\r\n", "X: y\r\n\r\né…. \r\n", "X: y\r\n\r\né…\r\n", "…X: é\r\n…\r\nx"),
                "Content-Type: x/y\r\n\r\né…\r\na",
                "Content-Transfer-Encoding: quoted-printable\r\n\r\né…=\r\n",
                "Content-Transfer-Encoding: quoted-printable\r\n\r\né…=0D",
                "Content-Transfer-Encoding: quoted-printable\r\n\r\né…= ",
                "Content-Transfer-Encoding: base64\r\n\r\né…=A",
                "Content-Transfer-Encoding: base64\r\n\r\né…YQ==",
            )
        ),
        as_octets=True,
    ),
    *(
        Reader(
            f"charset {name}",
            lambda octets: all_of(read_leaves(octets)),
            1_000_000,
            (f"Content-Type: text/plain; charset={name}\r\n\r\n…{unit}",),
            as_octets=True,
        )
        for name, unit in (
            ("utf-16", "a"),
            ("iso-2022-jp", "\x1b$B!!"),
            ("gb18030", "é"),
            ("big5", "é"),
            ("iso-2022-kr", "\x0e\x0f"),
            ("shift_jis", "é"),
            ("punycode", "a"),
            ("idna", "a."),
        )
    ),
    Reader(
        "parameters",
        lambda octets: (named_parameters(octets), first_word(octets), parameters_of(octets)),
        200_000,
        ('a; x=…"', 'a; …x="', "a;…;", "a;… ", "a; x*0*=…%41", 'a; x="…\\"', "a…(", "a; …x*0=a;"),
        as_octets=True,
    ),
    Reader(
        "a message as it came",
        _composed,
        20_000,
        tuple(
            f"From: a@acme.test\r\n{one}"
            for one in (
                "Subject: …{{ a }}…\r\n\r\nx",
                "…X: {{ a }}\r\n…\r\nx",
                "To: …(…{{ a }}\r\n\r\nx",
                "\r\n…{{ a }}",
                "To: …{{ a }} <b@c.test>, …\r\n\r\nx",
                "X: …=?utf-8?q?=7B?= …{{ a }}\r\n\r\nx",
            )
        ),
        as_octets=True,
    ),
    # ── header fields ──
    Reader(
        "fields",
        lambda octets: fields_of(split_message(octets)[0]),
        300_000,
        (*FIELDS, "a", "\r\n", "a:", ":"),
        as_octets=True,
    ),
    Reader(
        "fields among other lines",
        fields_of,
        300_000,
        (*FIELDS, "a", "=?", "\r\n", "a…\r\nX: y\r\n"),
        as_octets=True,
    ),
    Reader(
        "a message with any line ends",
        tidy,
        250_000,
        (
            *(
                *FIELDS,
                "\n",
                "\r",
                "\r\n",
                "X: …\n…\r\n\r\n",
                "X: …\r…\r\n\r\n",
                "X: …\r…\n\n",
                "X: y\n",
                "X: y\r\r\n",
            ),
            *(
                "\r\n…\n\r",
                "From \n",
                "From \r\n",
                "X:\n…\t\n…",
                "\ufeff",
                ">",
                "X: …\n\r…\r\n",
                "X: y\r\n…\r…x\n",
            ),
        ),
        as_octets=True,
    ),
    Reader(
        "values",
        lambda octets: (unfold(octets), decode_header(octets)),
        150_000,
        (*HOSTILE, "\r\n ", "=?utf-8?b?QUFB?= ", "=?utf-8?b?", "=?", "?=", "=?a?q?b?=\t"),
        as_octets=True,
    ),
    Reader(
        "From",
        lambda octets: (from_address(fields_of(octets)), own_mailbox(fields_of(octets))),
        9_900,
        tuple(f"From: …{unit}…\r\n" for unit in HOSTILE),
        as_octets=True,
    ),
    Reader(
        "the last look",
        lambda octets: check_stored(b"", octets, True),
        3_000_000,
        tuple(
            f"From: a@b.test\r\nDate: a\r\nMessage-ID: a\r\n{one}"
            for one in (
                "\r\n…\r\n",
                "\r\n…a",
                "…X: y\r\n…\r\n",
                "X: …a…\r\n\r\n",
                "X:…\r\n\t…\r\n\r\n",
                "\r\n…a\r\n.",
            )
        ),
        as_octets=True,
    ),
    Reader(
        "the last look at a body",
        check_body,
        3_000_000,
        ("\r", "\n", "\r\n", "a\r\n", "\n\r"),
        as_octets=True,
    ),
    Reader(
        "the last look at a head",
        lambda octets: check_composed(read_section(octets)),
        250_000,
        FIELDS,
        as_octets=True,
    ),
    # ── mailboxes and names ──
    Reader(
        "a mailbox",
        sole_mailbox,
        10_000,
        (*HOSTILE, "a@b.test,", "<a@b.test>,", "…a@b.test (…", "x@" + "a" * 50 + ","),
    ),
    Reader(
        "addresses of a list",
        lambda text: write_addresses(read_forgivingly(text)),
        10_000,
        (
            *(
                *HOSTILE,
                "a@b.test,",
                "<a@b.test>,",
                "…a@b.test (…",
                "x@" + "a" * 50 + ",",
                ":",
                ";",
                "a:",
                "a;",
            ),
            *(
                "a:b@c.test,",
                "…a:…b@c.test,",
                "…a:…b@c.test,…;x",
                "a:b@c.test;",
                "a: <b@c.test>;",
                "a:;x,",
                "[",
                "<",
            ),
        ),
    ),
    Reader(
        "fields in ASCII",
        section_in_ascii,
        10_000,
        tuple(
            f"{name}: ü{one}\r\n"
            for name in ("To", "Subject", "List-Unsubscribe", "Content-Disposition")
            for one in ("…a@b.test,…", "…<…", "…<ü> …", "…ü, …", "…a; b=ü…", "…a ü …", "…<a@b.ü>…", "…ü:…;")
        ),
        as_octets=True,
    ),
    Reader(
        "names",
        lambda text: (split_name(text), split_template(text), read_name(text), phrase(text)),
        30_000,
        HOSTILE,
    ),
    Reader(
        "texts in fields",
        lambda text: (encode_unstructured(text), by_words(text), parameter("name", text)),
        25_000,
        (*HOSTILE, "a", "é", "\U0001f600 "),
    ),
    Reader(
        "addresses",
        parse_mailbox,
        300_000,
        ("a.", "a@", '"', "\\", "é", "a@…é", "a@…b.", "a@[…:", '"…\\"…"@a.b'),
    ),
    Reader(
        "domains",
        lambda text: (normalise_domain(text), parse_domain(text)),
        300_000,
        ("a.", "é", "[", "-", "。"),
    ),
    # ── what is written ──
    Reader(
        "a text",
        lambda text: text_entity("text/plain", text),
        500_000,
        ("a", "\r", "\n", "é", "=", ". \r\n", "\0"),
    ),
    Reader(
        "a file",
        lambda text: file_entity(File("a", "a/b", text.encode()), is_inline=False),
        2_000_000,
        ("a",),
    ),
    *(
        Reader(f"content.{name}", _inline(name), 5_000, (*HOSTILE, "{{ a }}", "a\r\n"))
        for name in ("from_name", "subject", "reply_to", "headers", "text", "html")
    ),
    Reader(
        "content out",
        lambda octets: all_of(cut_in_pieces([octets])),
        3_000_000,
        ("\r\n.", ".", "a", "\r\n"),
        as_octets=True,
    ),
    Reader(
        "a notification",
        lambda text: build_dsn(Fate(text, "5.0.0", text, ""), "a@b.test", text.encode(), "u", "h", NOW, NOW),
        500_000,
        ("a", "\n", "é"),
    ),
    Reader("body hash", body_hash, 500_000, (" ", "\r\n", " \r\n", "\t", "a", "a \t", "\r"), as_octets=True),
    Reader("signature", _signed, 60_000, FIELDS, as_octets=True),
)
