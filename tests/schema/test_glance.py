"""What is seen of a body that was refused: whatever it is, something or nothing, and quickly."""

import json
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.resources.transmissions.glance import QUICK_BYTES, Glance, glance_at

ONE = {"address": "bob@b.example"}


def glance(body: object) -> Glance:
    return glance_at(json.dumps(body).encode())


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        pytest.param({}, Glance(), id="nothing"),
        pytest.param([], Glance(), id="no object"),
        pytest.param({"recipients": [ONE, 5]}, Glance(rcpt_to="bob@b.example", num_rcpts=2), id="an address"),
        pytest.param(
            {"recipients": [{"address": {"email": "eve@b.example", "name": "Eve"}}]},
            Glance(rcpt_to="eve@b.example"),
            id="an object",
        ),
        pytest.param({"recipients": {"list_id": "x"}}, Glance(), id="a list that is kept elsewhere"),
        pytest.param({"recipients": [[ONE]], "content": 5, "options": []}, Glance(), id="other types"),
        pytest.param(
            {"content": {"from": {"email": "a@acme.test"}}, "options": {"ip_pool": "news"}},
            Glance("a@acme.test", ip_pool="news"),
            id="sender and pool",
        ),
        pytest.param({"recipients": [{"address": "x" * 5000}]}, Glance(rcpt_to="x" * 320), id="too long"),
        pytest.param({"content": {"from": "x" * 5000 + "<a@acme.test>"}}, Glance(), id="a long name"),
    ],
)
def test_what_there_is_is_seen(body: object, seen: Glance) -> None:
    assert glance(body) == seen


MESSAGE = "Subject: x\nFrom: Jane @ Acme\n <you@acme.test>\n\nFrom: eve@b.example"


@pytest.mark.parametrize(
    ("body", "sender"),
    [
        ({"content": {"from": "Jane @ Acme <you@acme.test>"}}, "you@acme.test"),
        ({"content": {"from": '"Doe, Jane" <You@ACME.test>'}}, "You@ACME.test"),
        ({"content": {"from": {"name": "Jane", "email": " you@acme.test "}}}, "you@acme.test"),
        ({"content": {"from": "{{name}} <you@acme.test>"}}, "you@acme.test"),
        ({"content": {"from": "{{name}} <{{from}}>"}}, ""),
        ({"content": {"from": "{{local}}@acme.test"}}, ""),
        ({"content": {"from": "Jane"}}, ""),
        ({"content": {"from": "a@acme.test, b@acme.test"}}, ""),
        ({"content": {"from": "you@acme.test"}, "return_path": "bounces@acme.test"}, "bounces@acme.test"),
        ({"content": {"email_rfc822": MESSAGE}}, "you@acme.test"),
        ({"content": {"email_rfc822": MESSAGE.replace("\n", "\r\n")}}, "you@acme.test"),
        ({"content": {"email_rfc822": "From: you@acme.test\nFrom: eve@b.example\n\n"}}, ""),
        ({"content": {"email_rfc822": "From: {{from}}\n\n"}}, ""),
        ({"content": {"email_rfc822": "no message"}}, ""),
        ({"content": {"email_rfc822": "From: you@acme.test\n" + "A: b\n" * 9000}}, "you@acme.test"),
        ({"content": {"email_rfc822": "A: b\n" * 3275 + "From: you@acme.test.example\n\n"}}, ""),
        ({"content": {"email_rfc822": 5}}, ""),
    ],
)
def test_the_sender_is_an_address_or_nothing(body: object, sender: str) -> None:
    assert glance(body).mail_from == sender


@pytest.mark.parametrize("first", [ONE, {"address": {"name": "Bob", "email": "bob@b.example"}}])
def test_of_a_large_body_the_first_recipient_is_seen_wherever_recipients_begin(first: object) -> None:
    body = {"content": {"html": "x" * QUICK_BYTES}, "recipients": [first, {"address": "eve@b.example"}]}
    assert glance(body) == Glance(rcpt_to="bob@b.example")


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b'"recipients"' + b" " * 50_000_000, id="blanks"),
        pytest.param(b'"recipients"' + b'"address":' * 5_000_000, id="no address"),
        pytest.param(b'"recipients"' + b'"address": "' + b"a" * 50_000_000, id="one without an end"),
        pytest.param(b"[" * 50_000_000, id="depth"),
        pytest.param(b'"recipient"' * 4_000_000, id="almost"),
    ],
)
def test_a_hostile_large_body_takes_no_time(octets: bytes) -> None:
    began = perf_counter()
    assert glance_at(octets) == Glance()
    assert perf_counter() - began < 1


@given(st.binary(max_size=300))
def test_it_may_be_anything(octets: bytes) -> None:
    assert glance_at(octets).num_rcpts >= 1


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["recipients", "address", "email", "content", "from", "options"]), inner
            )
        ),
        max_leaves=12,
    )
)
def test_it_may_be_any_json(body: object) -> None:
    assert isinstance(glance(body).rcpt_to, str)
