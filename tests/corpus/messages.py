"""What stands between DATA and the final dot; the account may send from acme.test alone."""

from tests.corpus import Case

_FROM = b"From: a@acme.test\r\n"


def _with(head: bytes, body: bytes = b"Hello.\r\n") -> bytes:
    return head + b"\r\n" + body


def _styled(*texts: bytes) -> bytes:
    """HTML whose rules are to go into its elements, a part each."""
    head = _FROM + b'X-MSYS-API: {"options": {"inline_css": true}}\r\nMIME-Version: 1.0\r\n'
    parts = [b"--b\r\nContent-Type: text/html\r\n\r\n" + text + b"\r\n" for text in texts]
    return _with(head + b"Content-Type: multipart/mixed; boundary=b\r\n", b"".join((*parts, b"--b--\r\n")))


CASES = (
    Case("comments in From", lambda n: _with(b"From: " + b"(" * n + b" a@acme.test\r\n"), 9_000, (550,)),
    Case(
        "quotes in From",
        lambda n: _with(b'From: "' + b'\\"' * n + b'" <a@acme.test>\r\n'),
        4_900,
        (250, 550),
        leaves=True,
    ),
    Case(
        "mailboxes in From",
        lambda n: _with(b"From: " + b"a@acme.test, " * n + b"a@acme.test\r\n"),
        7_000,
        (550,),
    ),
    Case("a group in From", lambda n: _with(b"From: g: a@acme.test;\r\n"), 1, (550,)),
    Case(
        "encoded words",
        lambda n: _with(_FROM + b"Subject:" + b" =?utf-8?q?=41?=\r\n" * n),
        4_900,
        (250,),
        leaves=True,
    ),
    Case(
        "an encoded word that never ends",
        lambda n: _with(_FROM + b"Subject: " + b"=?utf-8?q?" * n + b"\r\n"),
        9_000,
        (250,),
        leaves=True,
    ),
    Case("fields", lambda n: _with(_FROM + b"X: y\r\n" * n), 4_900, (250,), leaves=True),
    Case(
        "more lines than a header section may have",
        lambda n: _with(_FROM + b"X: y\r\n" * n),
        20_000,
        (550, 552),
    ),
    Case("folds", lambda n: _with(_FROM + b"X:\r\n" + b" y\r\n" * n), 4_900, (250,), leaves=True),
    Case(
        "options in options",
        lambda n: _with(_FROM + b'X-MSYS-API: {"a": ' + b"[" * n + b"]" * n + b"}\r\n"),
        40_000,
        (250, 550),
    ),
    Case(
        "options with many values",
        lambda n: _with(_FROM + b'X-MSYS-API: {"a": [' + b"[]," * n + b"[]]}\r\n"),
        30_000,
        (550,),
    ),
    Case(
        "options with as many values as there may be",
        lambda n: _with(_FROM + b'X-MSYS-API: {"a": [' + b"[]," * n + b"[]]}\r\n"),
        9_900,
        (250,),
        leaves=True,
    ),
    Case(
        "a tag in every copy",
        lambda n: _with(_FROM + b'X-MSYS-API: {"tags": ["' + b"t" * n + b'"]}\r\n'),
        90_000,
        (550,),
    ),
    Case("CR alone", lambda n: _with(_FROM, b"\r" * n + b"\r\n"), 1_000_000, (250, 550)),
    Case("LF alone", lambda n: _with(_FROM, b"a\n" * n), 500_000, (250, 550)),
    Case("dots", lambda n: _with(_FROM, b".\r\n" * n), 300_000, (250,), leaves=True),
    Case("much of CR alone", lambda n: _with(_FROM, b"\r" * n + b"\r\n"), 19_000_000, (552,)),
    Case(
        "much of LF alone",
        lambda n: _with(_FROM, b"a" * 90 + b"\n" * 10) + (b"a" * 90 + b"\n" * 10) * (n // 100),
        17_000_000,
        (250,),
        leaves=True,
    ),
    Case("many dots", lambda n: _with(_FROM, b".\r\n" * n), 4_900_000, (250,), leaves=True),
    Case("NUL", lambda n: _with(_FROM, b"a\0b\r\n" * n), 100_000, (550,)),
    Case("short lines", lambda n: _with(_FROM, b"\r\n" * n), 500_000, (250,), leaves=True),
    Case(
        "rules that become much",
        lambda n: _styled(b"<style>p{--a:" + b"x" * n + b"}</style>" + b"<p>x\r\n" * 2000),
        1_500,
        (250,),
        leaves=True,
    ),
    Case(
        "rules that become too much",
        lambda n: _styled(*2 * [b"<style>p{--a:" + b"x" * n + b"}</style>" + b"<p>x\r\n" * 2900]),
        5_000,
        (552,),
    ),
    Case(
        "boundaries in one line",
        lambda n: _with(_FROM + b"Content-Type: multipart/mixed; boundary=b\r\n", b"--b" * n + b"\r\n"),
        30_000,
        (250,),
        leaves=True,
    ),
)
