"""HTTP from a stranger's first octet on."""

from tests.corpus import Case

_HOST = b"Host: relay.test\r\n"

CASES = (
    Case("garbage", lambda n: b"\x16\x03\x01 garbage\r\n\r\n" * n, 1_000, ()),
    Case("a method without end", lambda n: b"A" * n, 1_000_000, ()),
    Case("fields", lambda n: b"GET / HTTP/1.1\r\n" + _HOST + b"X: y\r\n" * n + b"\r\n", 100_000, ()),
    Case(
        "two lengths",
        lambda n: (
            b"POST /api/v1/transmissions HTTP/1.1\r\n"
            + _HOST
            + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\n"
            + _HOST
            + b"\r\n"
        ),
        1,
        (400, 401, 403),
    ),
    Case(
        "chunks of one octet",
        lambda n: (
            b"POST /api/v1/transmissions HTTP/1.1\r\n"
            + _HOST
            + b"Authorization: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"1\r\na\r\n" * n
            + b"0\r\n\r\n"
        ),
        100_000,
        (401, 403),
    ),
    Case(
        "a wrong key and a large body",
        lambda n: (
            b"POST /api/v1/transmissions HTTP/1.1\r\n"
            + _HOST
            + b"Authorization: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % n
            + b"{" * n
        ),
        20_000_000,
        (0, 401, 403, 413),
    ),
    Case(
        "a body that is announced and too large",
        lambda n: (
            b"POST /api/v1/ip-pools HTTP/1.1\r\n"
            + _HOST
            + b"Authorization: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (n * 1000)
        ),
        100_000_000,
        (401, 403, 413),
    ),
    Case(
        "cookies",
        lambda n: (
            b"GET / HTTP/1.1\r\n" + _HOST + b"Connection: close\r\nCookie: " + b"a=b; " * n + b"\r\n\r\n"
        ),
        6_000,
        (),
    ),
    Case(
        "query names",
        lambda n: b"GET /sign-in?" + b"a=b&" * n + b" HTTP/1.1\r\n" + _HOST + b"Connection: close\r\n\r\n",
        8_000,
        (),
    ),
)
