"""SMTP from a stranger's first octet on. No code is expected where any refusal will do."""

from tests.corpus import Case

CASES = (
    Case(
        "HTTP",
        lambda n: b"POST / HTTP/1.1\r\nHost: a\r\n\r\nEHLO a\r\nMAIL FROM:<a@acme.test>\r\n" * n,
        1,
        (),
    ),
    Case("HTTP after the greeting", lambda n: b"EHLO a\r\n" + b"GET / HTTP/1.1\r\n" * n, 10, ()),
    Case("TLS", lambda n: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * n, 500, ()),
    Case("a line without end", lambda n: b"EHLO " + b"a" * n, 1_000_000, ()),
    Case("empty lines", lambda n: b"\r\n" * n, 100_000, ()),
    Case("nothing but NOOP", lambda n: b"EHLO a\r\n" + b"NOOP\r\n" * n, 20_000, ()),
    Case("PROXY from anybody", lambda n: b"PROXY TCP4 10.1.2.3 10.0.0.1 1 25\r\nEHLO a\r\n" * n, 1, ()),
    Case("guesses", lambda n: b"EHLO a\r\n" + b"AUTH PLAIN AGEAYg==\r\n" * n, 30, ()),
    Case("an answer that is too long", lambda n: b"EHLO a\r\nAUTH PLAIN " + b"A" * n + b"\r\n", 500_000, ()),
    Case(
        "recipients of a stranger",
        lambda n: b"EHLO a\r\nMAIL FROM:<a@b.c>\r\n" + b"RCPT TO:<a@b.c>\r\n" * n,
        10_000,
        (),
    ),
    Case("octets of all kinds", lambda n: bytes(range(256)) * n, 2_000, ()),
)
