"""Mailboxes and domains (RFC 5321 §4.1.2, RFC 6531)."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.address import domain_spellings, normalise_domain, parse_mailbox
from relay.domain.errors import MalformedAddress


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("bob@bücher.example", "bob@xn--bcher-kva.example"),
        ("Bøb@BÜCHER.example", "Bøb@xn--bcher-kva.example"),
        ("bob@straße.example", "bob@xn--strae-oqa.example"),
        ("bob@ｅｘample.test", "bob@example.test"),
        ("bob@ｅｘample。test", "bob@example.test"),
        ("bob@STRAẞE.example", "bob@xn--strae-oqa.example"),
        ("bob@cafe\u0301.example", "bob@xn--caf-dma.example"),
        ("bob@ΒΌΛΟΣ.example", "bob@xn--nxasmq6b.example"),
        ("bob@ﾊﾞﾅﾅ.example", "bob@xn--hdkaq.example"),
    ],
)
def test_a_domain_outside_ascii_stands_in_a_labels(text: str, known: str) -> None:
    """RFC 5891: ß is a letter of its own, and not another's ss."""
    mailbox = parse_mailbox(text)
    assert (mailbox.text, mailbox.domain) == (known, known.rpartition("@")[2])
    assert mailbox.is_ascii == known.isascii()


@pytest.mark.parametrize(
    "char",
    ["\u00ad", "\u034f", "\u200b", "\u200c", "\u200d", "\u2060", "\ufe0f", "\ufeff", "\U000e0061", "\u180e"],
)
def test_a_name_with_a_character_that_nobody_sees_is_not_the_name_without_it(char: str) -> None:
    for domain in (f"pay{char}pal.test", f"paypal{char}.test", f"{char}paypal.test", f"paypal.te{char}st"):
        with pytest.raises(MalformedAddress):
            normalise_domain(domain)


@pytest.mark.parametrize(
    "domain", ["ﬁnance.test", "ⅷ.test", "ª.test", "x².test", "ℂ.test", "㏕.test", "a／b.test"]
)
def test_a_character_that_only_looks_like_others_is_not_them(domain: str) -> None:
    with pytest.raises(MalformedAddress):
        normalise_domain(domain)


@pytest.mark.parametrize("domain", ["☃.example", "a.-ü.example", "ü" * 70 + ".example", "\u200d.example"])
def test_what_no_registry_knows_is_no_domain(domain: str) -> None:
    with pytest.raises(MalformedAddress):
        parse_mailbox(f"bob@{domain}")


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        pytest.param("bob@example.com", "example.com", id="plain"),
        pytest.param("Bob.B+tag@EXAMPLE.com", "example.com", id="case"),
        pytest.param("bob@localhost", "localhost", id="one label"),
        pytest.param("bob@under_score.example", "under_score.example", id="underscore"),
        pytest.param('"bob b"@example.com', "example.com", id="quoted"),
        pytest.param('"a\\"@b"@example.com', "example.com", id="quoted at sign"),
        pytest.param("bøb@example.com", "example.com", id="utf-8 local part"),
        pytest.param("bob@[127.0.0.1]", "[127.0.0.1]", id="ipv4 literal"),
        pytest.param("bob@[IPv6:::0001]", "[IPv6:::1]", id="ipv6 literal"),
        pytest.param("#!$%&'*+-/=?^_`{}|~@a.b", "a.b", id="all atext"),
    ],
)
def test_a_mailbox_is_kept_as_given_with_its_domain_normalised(text: str, domain: str) -> None:
    mailbox = parse_mailbox(text)
    assert (mailbox.text, mailbox.domain) == (text, domain)
    assert mailbox.is_ascii == text.isascii()


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        pytest.param('"bob"@b.example', "bob@b.example", id="needless quotes"),
        pytest.param('"b.o+b"@b.example', "b.o+b@b.example", id="needless quotes around dots"),
        pytest.param('"\\b\\o\\b"@b.example', "bob@b.example", id="needless backslashes"),
        pytest.param('"b\\ b"@b.example', '"b b"@b.example', id="a needless backslash"),
        pytest.param('"b\\"\\\\"@b.example', '"b\\"\\\\"@b.example', id="backslashes that are needed"),
        pytest.param('"bøb"@b.example', "bøb@b.example", id="beyond ASCII"),
        pytest.param("b..b@b.example", '"b..b"@b.example', id="two dots"),
        pytest.param('"b..b"@b.example', '"b..b"@b.example', id="two dots in quotes"),
        pytest.param('"b.\\.b"@b.example', '"b..b"@b.example', id="two dots, one with a backslash"),
        pytest.param("bob.@b.example", '"bob."@b.example', id="a dot at the end"),
        pytest.param(".bob@b.example", '".bob"@b.example', id="a dot at the beginning"),
        pytest.param(".@b.example", '"."@b.example', id="a dot alone"),
        pytest.param("bøb..@bücher.example", '"bøb.."@xn--bcher-kva.example', id="dots beyond ASCII"),
        pytest.param('""@b.example', '""@b.example', id="nothing in quotes"),
        pytest.param('"' + "b" * 64 + '"@b.example', "b" * 64 + "@b.example", id="as long as may be"),
        pytest.param("..@[IPv6:::1]", '".."@[IPv6:::1]', id="at an address literal"),
    ],
)
def test_one_mailbox_has_one_form_however_it_is_quoted(text: str, plain: str) -> None:
    """Quoted where RFC 5321 §4.1.2 wants it, and only there: mailboxes such as b..b exist."""
    assert parse_mailbox(text).text == plain
    assert parse_mailbox(plain).text == plain


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bob",
        "@example.com",
        "bob@",
        "a b@example.com",
        "bob@-example.com",
        "bob@example..com",
        "bob@exam ple.com",
        "bob@example.com.",
        "bob@[127.0.0.1",
        "bob@[300.0.0.1]",
        "bob@[IPv6:zz]",
        "bob@[IPv6:fe80::1%eth0]",
        "bob@[IPv6:fe80::1%\r\nBcc: eve@evil.test]",
        "bob@[tag:x]",
        '"bob@example.com',
        '"b\r\nob"@example.com',
        "bob\r\nRCPT@example.com",
        "bob\x85x@example.com",
        "bob\u2028x@example.com",
        '"bob\u2029x"@example.com',
        "<bob@example.com>",
        "@relay.example:bob@example.com",
        "bob@" + "x" * 64 + ".com",
        "b" * 65 + "@example.com",
        "b." + "." * 61 + "@example.com",
        '"' + "b" * 65 + '"@example.com',
        '"' + "\\b" * 2000 + '"@example.com',
        "b" * 2 + "@" + ".".join(["x" * 60] * 4) + ".xxxxxxxx",
        'bo"b"@example.com',
        '"bob"b@example.com',
        '"bo"b"@example.com',
        '"bob\\"@example.com',
        "bob@" + ".".join(["x" * 60] * 5),
        "bob@" + "ü" * 64 + ".example",
        "b\udcffb@example.com",
        "bo\ud800@example.com",
        "bob@ex\udcff.com",
    ],
)
def test_what_the_grammar_forbids_is_refused(text: str) -> None:
    with pytest.raises(MalformedAddress):
        parse_mailbox(text)


def test_a_domain_of_any_length_is_refused_at_once() -> None:
    """Encoding it would take minutes, for whoever may type one into a form."""
    began_s = time.process_time()
    with pytest.raises(MalformedAddress):
        normalise_domain("".join(chr(0x4E00 + number) for number in range(20_000)))
    assert time.process_time() - began_s < 1


def test_a_domain_beyond_255_octets_is_refused() -> None:
    with pytest.raises(MalformedAddress):
        normalise_domain(".".join(["x" * 60] * 5))


@given(st.text(max_size=80))
def test_any_text_is_parsed_or_refused_and_never_holds_a_line_break(text: str) -> None:
    try:
        mailbox = parse_mailbox(text)
    except MalformedAddress:
        return
    assert mailbox.domain.isascii()
    assert not set("\r\n\0") & set(mailbox.text)


@given(st.text('ab.\\" @é', max_size=12))
def test_the_form_of_a_mailbox_says_the_same_when_it_is_read_again(local: str) -> None:
    try:
        mailbox = parse_mailbox(f"{local}@b.example")
    except MalformedAddress:
        return
    assert parse_mailbox(mailbox.text) == mailbox


@pytest.mark.timeout(5)
@pytest.mark.parametrize("unit", ["a", ".", "a.", "\\a", '"', "é."])
def test_a_hostile_local_part_costs_no_more_than_its_length(unit: str) -> None:
    for text in (unit * (900 // len(unit)), f'"{unit * (900 // len(unit))}'):
        with pytest.raises(MalformedAddress):
            parse_mailbox(f"{text}(@b.example")


@pytest.mark.parametrize(
    ("text", "spellings"),
    [
        ("acme.test", ("acme.test",)),
        ("Acme.test", ("Acme.test", "acme.test")),
        ("NÜMLAUT.example", ("NÜMLAUT.example", "xn--nmlaut-3ya.example")),
        ("a b", ("a b",)),
        ("", ("",)),
    ],
)
def test_a_search_looks_for_a_domain_as_written_and_as_stored(text: str, spellings: tuple[str, ...]) -> None:
    assert domain_spellings(text) == spellings
