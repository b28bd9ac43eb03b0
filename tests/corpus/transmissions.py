"""Bodies of POST /transmissions."""

import json
from typing import Any

from tests.corpus import Case

Values = dict[str, Any]


def body(content: Values | None = None, count: int = 1, **more: Any) -> bytes:
    """A transmission that is right, but for what is given."""
    given: Values = {
        "options": {"ip_pool": "marketing"},
        "recipients": [{"address": f"r{number}@gmail.example"} for number in range(count)],
        "content": {"from": "a@acme.test", "subject": "Hello", "text": "Hello."} | (content or {}),
    }
    return json.dumps(given | more, ensure_ascii=False).encode()


def _html(html: str, **options: Any) -> bytes:
    return body({"html": html}, options={"ip_pool": "marketing", "inline_css": True, **options})


def _rfc822(message: str) -> bytes:
    given = {"recipients": [{"address": "r@gmail.example"}], "content": {"email_rfc822": message}}
    return json.dumps(given, ensure_ascii=False).encode()


def _doubling(depth: int) -> bytes:
    """Each text renders the next one twice: 2 to the power of depth renderings that write nothing."""
    twice = "{{ render_dynamic_content(d.a%d) }}"
    texts = {f"a{level}": 2 * (twice % (level + 1)) for level in range(depth)} | {f"a{depth}": ""}
    return body({"text": twice % 0}, substitution_data={"d": texts})


def _named(count: int, **more: str) -> list[Values]:
    """Recipients, each with that in its address."""
    return [{"address": {"email": f"r{number}@gmail.example", **more}} for number in range(count)]


def _from(address: str, value: str, **more: Any) -> bytes:
    return body({"from": {"email": address, **more}}, substitution_data={"e": value})


CASES = (
    # ── work that is not seen in what comes out ──
    Case("dynamic texts that double", lambda n: _doubling(min(n, 31)), 31, (400, 422)),
    Case(
        "rounds that write nothing",
        lambda n: body(
            {"text": "{{each a}}" + "{{if b}}{{end}}" * (n // 10) + "{{end}}"},
            substitution_data={"a": [0] * n},
        ),
        10_000,
        (400, 422),
    ),
    Case(
        "long texts that are compared",
        lambda n: body(
            {"text": "{{each a}}" + "{{if x == y}}{{end}}" * 50 + "{{end}}"},
            substitution_data={"a": [0] * (n // 3), "x": "x" * n, "y": "x" * n},
        ),
        30_000,
        (400, 422),
    ),
    Case(
        "lists within lists that are compared",
        lambda n: body(
            {"text": "{{each a}}{{if x == y}}{{end}}{{end}}"},
            substitution_data={"a": [0] * n, "x": [[0] * 100] * (n // 100), "y": [[0] * 100] * (n // 100)},
        ),
        10_000,
        (400, 422),
    ),
    Case("braces that never close", lambda n: body({"text": "{{ a " * n}), 200_000, (422,)),
    Case("many statements", lambda n: body({"text": "{{if a}}{{end}}" * n}), 40_000, (200, 422)),
    Case(
        "one long line before an expression", lambda n: body({"html": "x" * n + "{{ a }}"}), 900_000, (200,)
    ),
    # ── little in, much out ──
    Case(
        "rounds that write much",
        lambda n: body(
            {"text": "{{each a}}" + "x" * 20_000 + "{{end}}"}, substitution_data={"a": [0] * (n // 20_000)}
        ),
        40_000_000,
        (400, 422),
    ),
    Case(
        "rounds that write much for each of many",
        lambda n: body(
            {"text": "{{each a}}" + "x" * 20_000 + "{{end}}"},
            count=40,
            substitution_data={"a": [0] * (n // 20_000)},
        ),
        4_000_000,
        (200,),
        leaves=True,
    ),
    Case(
        "formatting elements that are reopened",
        lambda n: _html(
            "<style>b{"
            + "".join(f"--p{one}:red;" for one in range(500))
            + "}</style><p>"
            + "".join(f"<b id=i{number}>" for number in range(n))
            + "<p>x" * n
        ),
        300,
        (422,),
    ),
    Case(
        "sibling selectors",
        lambda n: _html(
            "<style>"
            + "".join(f"[id*=c{one}]~p{{color:red}}" for one in range(n // 10))
            + "</style>"
            + "<p>x" * n
        ),
        2_990,
        (200, 422),
    ),
    Case("deep elements", lambda n: _html("<style>b{color:red}</style>" + "<div>" * n), 2_900, (200, 422)),
    # ── MIME ──
    Case(
        "boundaries in one line",
        lambda n: _rfc822(
            "From: a@acme.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + "--b" * n + "{{ a }}"
        ),
        200_000,
        (200, 422),
    ),
    Case(
        "parameters of a type",
        lambda n: _rfc822(
            'From: a@acme.test\r\nContent-Type: text/plain; x="' + "; " * n + '"\r\n\r\n{{ a }}\r\n'
        ),
        30_000,
        (200, 422),
    ),
    Case(
        "a charset in many pieces",
        lambda n: _rfc822(
            "From: a@acme.test\r\nContent-Type: text/plain"
            + "".join(f";\r\n charset*{number}*=u" for number in range(n))
            + "\r\n\r\n{{ a }}\r\n"
        ),
        3_000,
        (200, 422),
    ),
    Case(
        "a charset that is quadratic",
        lambda n: _rfc822(
            "From: a@acme.test\r\nContent-Type: text/plain; charset=punycode\r\n\r\n{{ a }}" + "a" * n
        ),
        300_000,
        (200, 422),
    ),
    Case(
        "nested parts",
        lambda n: _rfc822(
            "From: a@acme.test\r\n"
            + "".join(
                f"Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"
                for level in range(31)
            )
            + "Content-Type: text/plain\r\n\r\n{{ a }}"
            + "x\r\n" * n
        ),
        300_000,
        (200, 422),
    ),
    Case(
        "comments in a field of mailboxes",
        lambda n: _rfc822("From: a@acme.test\r\nTo: " + "(" * n + "{{ a }}\r\n\r\nHello\r\n"),
        5_000,
        (200, 400, 422),
    ),
    # ── JSON ──
    Case(
        "digits that are no number",
        lambda n: body({"text": "{{ n + 0 }}"}, substitution_data={"n": "1" * n + "x"}),
        90_000,
        (400, 422),
    ),
    Case(
        "many long numbers",
        lambda n: body(
            {"text": "{{ each a }}{{ n + 0 }}{{ end }}"},
            substitution_data={"a": [0] * (n // 10), "n": "0." + "1" * n},
        ),
        40_000,
        (400, 422),
    ),
    Case("long names", lambda n: body(recipients=_named(60, name="x" * n)), 16_000, (200, 400, 422)),
    Case(
        "long names beyond ASCII", lambda n: body(recipients=_named(60, name="é" * n)), 8_000, (200, 400, 422)
    ),
    Case(
        "long names to be shown",
        lambda n: body(recipients=_named(60, header_to="x" * n + " <a@b.example>")),
        16_000,
        (200, 400, 422),
    ),
    Case(
        "lists to be shown", lambda n: body(None, recipients=_named(50, header_to="a@b," * n)), 2_490, (200,)
    ),
    Case(
        "lists beyond ASCII to be shown",
        lambda n: body(None, recipients=_named(50, header_to="a@é," * n)),
        1_990,
        (200,),
    ),
    Case(
        "lists to be shown beside rules",
        lambda n: body(
            {"html": "<style>p{color:red}</style><p>{{ x }}</p>"},
            recipients=_named(50, header_to="a@b," * n),
            options={"ip_pool": "marketing", "inline_css": True},
        ),
        2_490,
        (200,),
    ),
    Case("a list to reply to", lambda n: body({"reply_to": "a@b," * n}), 4_000, (200,), leaves=True),
    Case("a long list to reply to", lambda n: body({"reply_to": "a@b," * n}), 15_000, (422,)),
    Case("a list in a field", lambda n: body({"headers": {"Cc": "a@b," * n}}), 2_490, (200,), leaves=True),
    Case("a list in From", lambda n: body({"from": {"email": "a@b," * n}}), 1_200, (400,)),
    Case("a name with commas in From", lambda n: body({"from": "x," * n + " <a@acme.test>"}), 2_490, (200,)),
    Case("a long name with commas in From", lambda n: body({"from": "x," * n}), 30_000, (422,)),
    Case("a list in From of a message", lambda n: _rfc822("From: " + "a@b, " * n), 12_000, (400,)),
    Case("a list filled into From", lambda n: _from("{{ e }}", "a@b, " * n), 12_000, (400, 422)),
    Case(
        "many header fields",
        lambda n: body({"headers": {f"X-{one}": "x" for one in range(n)}}),
        8_000,
        (422,),
    ),
    Case(
        "many header fields of a message",
        lambda n: _rfc822("From: a@acme.test\r\n" + "X: y\r\n" * n + "\r\nHello\r\n"),
        9_000,
        (200, 422),
    ),
    Case(
        "words in Subject of a message",
        lambda n: _rfc822("From: a@acme.test\r\nSubject:" + " =?utf-8?q?a?=" * n + "\r\n\r\nHello\r\n"),
        4_000,
        (200,),
        leaves=True,
    ),
    Case(
        "values for each of many",
        lambda n: body({"text": "{{ a }}"}, 60, substitution_data={f"a{number}": 1 for number in range(n)}),
        9_000,
        (200, 400, 422),
    ),
    Case("values that nobody knows", lambda n: body(nobody=[[]] * n), 5_000_000, (422,)),
    Case(
        "values that nobody knows, a few less",
        lambda n: body(nobody=[[]] * n),
        1_900_000,
        (200,),
        leaves=True,
    ),
    Case(
        "lists in lists",
        lambda n: b'{"nobody": ' + b"[" * n + b"]" * n + b", " + body()[1:],
        400_000,
        (422,),
    ),
    Case(
        "one character that is wide",
        lambda n: body({"text": "x\r\n" * (n // 3) + "😀"}),
        15_000_000,
        (200,),
        leaves=True,
    ),
    Case(
        "many tags",
        lambda n: (
            body(count=0)[:-1]
            + b', "recipients": ['
            + json.dumps({"address": "a@b.example", "tags": ["t"] * n}).encode()
            + b"]}"
        ),
        400_000,
        (200, 422),
    ),
    Case(
        "a long tag",
        lambda n: body(None, recipients=[{"address": "a@b.example", "tags": ["t" * n]}]),
        1_000_000,
        (400, 422),
    ),
    # ── what goes out ──
    Case(
        "a second field in From", lambda n: _from("{{ e }}", "ceo@bank.test\r\nX: y@acme.test"), 1, (400, 422)
    ),
    Case("a second mailbox in From", lambda n: _from("{{ e }}", "ceo@bank.test, x@acme.test"), 1, (400, 422)),
    Case("a parameter of MAIL", lambda n: _from("{{ e }}", "a@acme.test> SIZE=1 X=<y"), 1, (400, 422)),
    Case(
        "a final dot in From",
        lambda n: _from("{{ e }}", "a@acme.test\n.\nMAIL FROM:<b@c.test>"),
        1,
        (400, 422),
    ),
)
"""From is acme.test's, which is the account's own domain."""
