"""As `readers`, of what stands at the doors: JSON, DNS, next hops and strangers."""

import h11

from relay.accept.budget import BodyBudget
from relay.domain.address import parse_mailbox
from relay.domain.classify import bounce_class
from relay.domain.clients import client_behind
from relay.domain.reply import Phase, Reply
from relay.domain.transmission import InlineContent, Rfc822Content
from relay.frames.console.forms import _parse as parse_form  # its callers read it from a request
from relay.frames.rest.body import parse_object
from relay.frames.rest.paging import decode_cursor
from relay.ingress.auth import decode_base64, decode_plain
from relay.ingress.commands import parse_mail, parse_rcpt
from relay.ingress.data import DataReader, take_parts, unstuff
from relay.ingress.msys import parse_msys
from relay.ingress.proxy import parse_proxy
from relay.mail.dkim import check_key, is_record_of
from relay.mail.mailboxes import sole_mailbox
from relay.mail.submitted import check_no_stray_options, repair
from relay.mail.weight import is_light
from relay.resources.suppression_list.body import wanted_of_bulk
from relay.resources.transmissions.body import parse_transmission
from tests.alone.readers import HOSTILE, NOW, Reader

_POSTMASTER = parse_mailbox("postmaster@relay.test")


def _data(octets: bytes) -> None:
    """As it comes from a socket, and in small pieces."""
    for size in (65_536, 500):
        reader = DataReader(BodyBudget(1 << 30), 1 << 29)
        for at in range(0, len(octets), size):
            reader.feed(octets[at : at + size])
        reader.feed(b"\r\n.\r\n")
        content = b"".join(unstuff(reader.content()))
        parts = take_parts(content, 1 << 29, reader.has_crlf_alone)
        check_no_stray_options(parts._replace(body=b"".join(repair(parts.body))))


def _bulk(text: str) -> None:
    wanted_of_bulk({"recipients": [{"recipient": text, "type": "transactional", "description": text}] * 10})


def _http(octets: bytes) -> None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=32_768)
    connection.receive_data(octets)
    while type(connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
        pass


def _weight(octets: bytes) -> None:
    text = octets.decode()
    is_light(Rfc822Content(octets))
    is_light(InlineContent(text, text, reply_to=text, headers={"X-A": text, "Cc": text}, text=text))


DOORS = (
    # ── what is looked at before it is read ──
    Reader("one mailbox", sole_mailbox, 30_000, (*HOSTILE, "…a,…<a@b.test>", "a@b.test (…(,…)", "<a>,")),
    Reader(
        "weight",
        _weight,
        30_000,
        ("From: a\r\n", "X: é {{a}}\r\n", "From: …a@é.é, …\r\n", "Cc: …\r\n a@b, {{…\r\n", "{{", "=?"),
        as_octets=True,
    ),
    # ── DNS and next hops ──
    Reader(
        "TXT record",
        lambda text: is_record_of(text, "x"),
        100_000,
        (";", "v=DKIM1; …p=", "p=… ", "=", "h=…:"),
    ),
    Reader("key", check_key, 100_000, ("A", "\n", " ", "-----\n", "=")),
    Reader(
        "reply",
        lambda text: bounce_class(Reply(550, text, Phase.RCPT)),
        500_000,
        ("a", "<", "@", "a@", "<a> ", "time ", " ", "spam-", "dns "),
    ),
    # ── JSON ──
    Reader(
        "object",
        lambda octets: parse_object(octets, "/api/v1/ip-pools"),
        200_000,
        (
            '{"a": …[…',
            '{"a": "…\\u0041…"}',
            '{"a": […[],…[]]}',
            '{…"a":1,…"b":2}',
            "[",
            '"',
            "\\",
            '{"a":… …1}',
            '{"a": …1…}',
            "-",
        ),
        as_octets=True,
    ),
    Reader(
        "transmission",
        lambda octets: parse_transmission(octets, NOW),
        100_000,
        tuple(
            '{"content": {"from": "a@b.test", "subject": "s", "text": "t"}, "recipients": [' + one
            for one in (
                '…{"address": "a@b.test"},…{"address": "a@b.test"}]}',
                '…{"address": ""},…1]}',
                "…[…",
                '{"address": {"email": "a@b.test", "header_to": "…(…"}}]}',
                '{"address": "a@b.test", "tags": ["…a…"]}]}',
                '{"address": "a@b.test", "metadata": {…"a":[],…"b":1}}]}',
                '…"a",…1]}',
                "… …]}",
            )
        ),
        as_octets=True,
    ),
    Reader(
        "X-MSYS-API",
        parse_msys,
        200_000,
        (
            '{"a": …[…',
            '{"cc": […"a@b.test",…"a@b.test"]}',
            '{"tags": ["…=?utf-8?q?a?= …"]}',
            '{"metadata": {"a": "…=?utf-8?q?a?= …"}}',
            "=?utf-8?q?…a",
            "\r\n ",
            '{"a": "…\\"',
            '{"a": […1,…1]}',
            '{"metadata": {"a": …[…',
        ),
        as_octets=True,
    ),
    Reader("suppression list", _bulk, 200_000, ("a", "a@b.", "é", '"', "a@[")),
    Reader("cursor", lambda text: decode_cursor(text, ["a"]), 1_000_000, ("A", "[", "=", "W1tb")),
    # ── strangers ──
    Reader(
        "MAIL",
        lambda text: parse_mail(text, True),
        12_000,
        (
            "FROM:<…a",
            "FROM:<…@a,…:b@c.d>",
            'FROM:<"…\\"',
            'FROM:<…""',
            "FROM:<a@b.c> …a=b ",
            "FROM:… ",
            "FROM:<a@b.c>… ",
            "FROM:<a@b.c> SIZE=…1",
            "FROM:<a@b.c> ENVID=…+41",
            "FROM:<a@b.c> RET=FULL … ",
        ),
    ),
    Reader(
        "RCPT",
        lambda text: parse_rcpt(text, True, True, _POSTMASTER),
        12_000,
        (
            "TO:<…a",
            "TO:<…@a,",
            "TO:<…@a,…@a:b@c.d>",
            "TO:<…@[a],…:",
            'TO:<"…\\"',
            'TO:<…""',
            "TO:<a@b.c> …a=b ",
            "TO:<a@b.c> NOTIFY=…SUCCESS,",
            "TO:<a@b.c> ORCPT=utf-8;…é",
            "TO:<a@b.c> ORCPT=rfc822;…+2",
            "TO:… ",
            "TO:<a@b.c>… ",
        ),
    ),
    Reader("AUTH", lambda text: decode_plain(decode_base64(text)), 12_000, ("AAAA", "=", "A")),
    Reader(
        "PROXY",
        parse_proxy,
        100_000,
        ("PROXY …a", "PROXY TCP4 …1.", "PROXY …\r\n", "\r\n\r\n\0\r\nQUIT\n…!"),
        as_octets=True,
    ),
    Reader(
        "content in",
        _data,
        500_000,
        ("\r\n.", ".", "\r", "\n", "\r\n", "a", "X: y\r\n", ".\r\n", "\r\n..\r\n", "\r\n.\r"),
        as_octets=True,
    ),
    Reader(
        "HTTP",
        _http,
        30_000,
        (
            "GET / HTTP/1.1\r\n…X: y\r\n",
            "GET / HTTP/1.1\r\nX: …a…\r\n\r\n",
            "GET /…a",
            "\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n…X:\r\n …\r\n\r\n",
        ),
        as_octets=True,
    ),
    Reader("a form", parse_form, 65_000, ("a=b&", "&", "%41", "a", "%", "a=%00&", "="), as_octets=True),
    Reader(
        "forwarded for",
        lambda text: client_behind("127.0.0.1", text, []),
        30_000,
        (",", "127.0.0.1,", "[", ":", "::,"),
    ),
)
