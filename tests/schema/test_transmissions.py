"""Bodies of `POST /transmissions`: every fault in SparkPost's words."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.address import Mailbox
from relay.domain.message import MAX_TAG_BYTES
from relay.domain.transmission import File, InlineContent, Recipient, Rfc822Content
from relay.frames.rest.fault import MAX_FAULTS, Fault
from relay.mail.scan import MAX_NESTING, MAX_VALUES, BadJson, check_number_of_values
from relay.resources.transmissions.body import Asked, parse_transmission
from tests.support.growth import assert_linear

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
CONTENT: dict[str, Any] = {"from": "news@acme.test", "subject": "Hello", "text": "Hello."}
BOB: dict[str, Any] = {"address": "bob@b.example"}
BOTH = {"text": "t", "html": "h"}
NO_BODY = CONTENT | {"text": None}
FILE = {"name": "a", "type": "a/b", "data": "eA=="}

TRACKING = ("open_tracking", "click_tracking", "initial_open")
NESTED = "json values may be nested at most 100 levels deep"


def body(*recipients: Any, **more: Any) -> dict[str, Any]:
    return {"content": CONTENT, "recipients": list(recipients) or [BOB], **more}


def parse(sent: Any) -> Asked:
    return parse_transmission(sent if isinstance(sent, bytes) else json.dumps(sent).encode(), NOW)


@pytest.mark.parametrize(
    ("sent", "status", "code", "description"),
    [
        pytest.param(b"{", 422, "1300", "Problems parsing request as json", id="no JSON"),
        pytest.param(b"[]", 422, "1300", "Problems parsing request as json", id="an array"),
        pytest.param(b"{} {}", 422, "1300", "Problems parsing request as json", id="two values"),
        pytest.param(b'{"a": NaN}', 422, "1300", "Problems parsing request as json", id="NaN"),
        pytest.param(b'{"a": 1e999}', 422, "1300", "Problems parsing request as json", id="infinity"),
        pytest.param(b"{1: 2}", 422, "1300", "Problems parsing request as json", id="a number as name"),
        pytest.param(
            b'{"recipients": [1 2]}', 422, "1300", "Problems parsing request as json", id="no comma"
        ),
        pytest.param(
            b'{"recipients": [], "recipients": []}',
            422,
            "1300",
            "Problems parsing request as json",
            id="twice",
        ),
        pytest.param(b"[" * 100_000, 422, "1300", "Problems parsing request as json", id="deep"),
        pytest.param(b'{"a":' + b"[" * 100_000, 422, "1300", NESTED, id="deeper"),
        pytest.param(b'{"a": "\xff"}', 400, "1305", "Non-UTF-8 data found in json", id="no UTF-8"),
        pytest.param(
            b'{"description": "\\ud800"}', 400, "1305", "Non-UTF-8 data found in json", id="lone surrogate"
        ),
        pytest.param(
            b'{"recipients": [{"address": "\\uD800"}]}',
            400,
            "1305",
            "Non-UTF-8 data found in json",
            id="lone surrogate of a recipient",
        ),
        pytest.param(b"{}", 422, "1400", "content object or template_id required", id="no content"),
        pytest.param(
            body(content="x"),
            422,
            "1300",
            "field 'content' is of type 'string', but needs to be of type 'json_object'",
            id="content of another type",
        ),
        pytest.param(
            body(content={"x": 1}),
            422,
            "1400",
            "No valid fields exist in the 'content' object",
            id="no field",
        ),
        pytest.param(
            body(content={"text": "t"}), 422, "1400", "content.from is a required field", id="no from"
        ),
        pytest.param(
            body(content=CONTENT | {"from": {"name": "x"}}),
            422,
            "1400",
            "content.from.email is a required field",
            id="no from.email",
        ),
        pytest.param(
            body(content=CONTENT | {"from": "nobody"}),
            400,
            "7001",
            "No sending domain specified",
            id="no domain",
        ),
        pytest.param(
            body(content=CONTENT | {"from": "a b@c.example"}),
            400,
            "7001",
            "No sending domain specified",
            id="bad from",
        ),
        pytest.param(
            body(content=CONTENT | {"subject": ""}),
            422,
            "1400",
            "content.subject is a required field",
            id="subject",
        ),
        pytest.param(
            body(content=NO_BODY),
            422,
            "1400",
            "At least one of 'text' or 'html' needs to exist in 'content'",
            id="no text",
        ),
        pytest.param(
            body(content=CONTENT | {"text": 5}),
            422,
            "1300",
            "field 'content.text' is of type 'number', but needs to be of type 'string'",
            id="text of another type",
        ),
        pytest.param(
            body(content=CONTENT | {"template_id": "t"}),
            422,
            "1301",
            "Both content object and template_id are specified",
            id="both",
        ),
        pytest.param(
            body(content={"template_id": "t"}), 422, "1603", "template 't' does not exist", id="template"
        ),
        pytest.param(
            body(content={"ab_test_id": "t"}), 422, "1603", "ab_test_id 't' does not exist", id="A/B test"
        ),
        pytest.param(
            body(content=CONTENT | {"email_rfc822": "x"}),
            422,
            "1301",
            "content.email_rfc822 and content.from are mutually exclusive",
            id="rfc822 and parts",
        ),
        pytest.param(
            body(content=CONTENT | {"headers": {"Subject": "x"}}),
            422,
            "1300",
            "header 'Subject' is not allowed in content.headers",
            id="reserved header",
        ),
        pytest.param(
            body(content=CONTENT | {"headers": {"X Y": "x"}}),
            422,
            "1300",
            "header 'X Y' is not allowed in content.headers",
            id="header name",
        ),
        pytest.param(
            body(content=CONTENT | {"headers": {f"X-{n}": "x" for n in range(201)}}),
            422,
            "1300",
            "content.headers is limited to 200 entries",
            id="many headers",
        ),
        pytest.param(
            body(content=CONTENT | {"attachments": [FILE | {"data": "!"}]}),
            422,
            "1300",
            "content.attachments[0].data must be base64",
            id="base64",
        ),
        pytest.param(
            body(content=CONTENT | {"attachments": [FILE | {"type": "a/b" + "; x=y" * 100}]}),
            422,
            "1300",
            "field 'content.attachments[0].type' is of length '503', but needs to be of max length '500'",
            id="a long type",
        ),
        pytest.param(
            body(content=CONTENT | {"attachments": [FILE | {"type": "a"}]}),
            422,
            "1300",
            "content.attachments[0].type is not a MIME type",
            id="MIME type",
        ),
        pytest.param(
            body(content=CONTENT | {"attachments": [FILE, {"name": "a"}]}),
            422,
            "1400",
            "content.attachments[1].type is a required field",
            id="part of a file",
        ),
        pytest.param(
            body(content=CONTENT | {"inline_images": [FILE | {"name": ""}]}),
            422,
            "1400",
            "content.inline_images[0].name is a required field",
            id="an image without a name",
        ),
        *(
            pytest.param(
                body(content={"email_rfc822": text}),
                422,
                "1400",
                "content.email_rfc822 is a required field",
                id=f"a message that is {text!r}",
            )
            for text in ("", " \r\n ")
        ),
        pytest.param(
            body(content=CONTENT | {"attachments": ["x"]}),
            422,
            "1300",
            "field 'content.attachments[0]' is of type 'string', but needs to be of type 'json_object'",
            id="file of another type",
        ),
        pytest.param(
            body(content=CONTENT | {"attachments": [FILE | {"name": "n" * 256}]}),
            422,
            "1300",
            "field 'content.attachments[0].name' is of length '256', but needs to be of max length '255'",
            id="file name",
        ),
        pytest.param(
            body(content=CONTENT | {"inline_images": [FILE | {"name": "a>"}]}),
            422,
            "1300",
            "content.inline_images[0].name must be usable as a Content-ID",
            id="Content-ID",
        ),
        pytest.param({"content": CONTENT}, 422, "1400", "recipients or list_id required", id="no recipients"),
        pytest.param(
            {"content": CONTENT, "recipients": {}},
            422,
            "1400",
            "recipients or list_id required",
            id="no list",
        ),
        pytest.param(
            {"content": CONTENT, "recipients": {"list_id": "l"}},
            422,
            "1603",
            "Recipient list 'l' does not exist",
            id="stored list",
        ),
        pytest.param(
            {"content": CONTENT, "recipients": "x"},
            422,
            "1300",
            "field 'recipients' is of type 'string', but needs to be of type 'json_array'",
            id="recipients of another type",
        ),
        pytest.param(
            {"content": CONTENT, "recipients": []},
            400,
            "5002",
            "At least one valid recipient is required",
            id="none",
        ),
        pytest.param(
            body({"address": "x"}, {}),
            400,
            "5002",
            "At least one valid recipient is required",
            id="none valid",
        ),
        pytest.param(
            body(content=CONTENT | {"from": "x," * 2495 + "<a@acme.test>"}),
            422,
            "1300",
            "field 'content.from' is of length '5003', but needs to be of max length '5000'",
            id="a long From",
        ),
        pytest.param(
            body(content=CONTENT | {"from": {"email": "a@acme.test", "name": "ü" * 2501}}),
            422,
            "1300",
            "field 'content.from.name' is of length '5002', but needs to be of max length '5000'",
            id="a long name in From",
        ),
        pytest.param(
            body(campaign_id="ü" * 33),
            422,
            "1300",
            "field 'campaign_id' is of length '66', but needs to be of max length '64'",
            id="campaign",
        ),
        pytest.param(
            body(description="x" * 1025),
            422,
            "1300",
            "field 'description' is of length '1025', but needs to be of max length '1024'",
            id="description",
        ),
        pytest.param(
            body(metadata={"x": "y" * 10_000}),
            422,
            "1300",
            "field 'metadata' is of length '10008', but needs to be of max length '10000'",
            id="metadata",
        ),
        pytest.param(
            body(substitution_data={"x": "y" * 100_000}),
            422,
            "2002",
            "Transmission-level substitution data must be less than 100000 bytes",
            id="substitution data",
        ),
        pytest.param(
            body(return_path="x"),
            422,
            "1300",
            "return_path 'x' is not a valid email address",
            id="return path",
        ),
        pytest.param(
            body(options={"sandbox": True}),
            422,
            "1300",
            "options.sandbox is not available on this installation",
            id="the sandbox",
        ),
        pytest.param(
            body(options={"dkim_key": "k" * 256}),
            422,
            "1300",
            "field 'options.dkim_key' is of length '256', but needs to be of max length '255'",
            id="the name of a key",
        ),
        pytest.param(
            body(options={"start_time": "tomorrow"}),
            422,
            "1300",
            "Error parsing scheduled start_time",
            id="time",
        ),
        pytest.param(
            body(options={"start_time": 5}),
            422,
            "1300",
            "Error parsing scheduled start_time",
            id="time, number",
        ),
        pytest.param(
            body(options={"start_time": "2026-02-30T00:00:00+00:00"}),
            422,
            "1300",
            "Error parsing scheduled start_time",
            id="no such day",
        ),
        pytest.param(
            body(options={"start_time": "2026-02-05T09:00:01+00:00"}),
            422,
            "1300",
            "start_time may be at most 31 days ahead",
            id="A15",
        ),
        pytest.param(
            body(options={"ip_pool": 5}),
            422,
            "1300",
            "field 'options.ip_pool' is of type 'number', but needs to be of type 'string'",
            id="A29",
        ),
        pytest.param(
            body(options={"ip_pool": "x" * 256}),
            422,
            "1300",
            "field 'options.ip_pool' is limited to 255 printable characters",
            id="pool",
        ),
        pytest.param(
            body(options={"transactional": "yes"}),
            422,
            "1300",
            "field 'options.transactional' is of type 'string', but needs to be of type 'boolean'",
            id="flag",
        ),
    ],
)
def test_what_breaks_the_contract_is_refused_in_its_words(
    sent: Any, status: int, code: str, description: str
) -> None:
    with pytest.raises(Fault) as caught:
        parse(sent)
    assert (str(caught.value.code), caught.value.detail) == (code, description)


def told(sent: Any) -> list[tuple[int, str]]:
    with pytest.raises(Fault) as caught:
        parse(sent)
    return [(fault.code, fault.detail) for fault in caught.value.all]


def typed(field: str, found: str, needed: str) -> tuple[int, str]:
    return 1300, f"field '{field}' is of type '{found}', but needs to be of type '{needed}'"


NO_TEXT = (1400, "At least one of 'text' or 'html' needs to exist in 'content'")


@pytest.mark.parametrize(
    ("sent", "faults"),
    [
        pytest.param(
            body(campaign_id=5, content={"from": "", "subject": 5, "headers": []}),
            [
                (1400, "content.from is a required field"),
                typed("content.subject", "number", "string"),
                NO_TEXT,
                typed("content.headers", "json_array", "json_object"),
                typed("campaign_id", "number", "string"),
            ],
            id="content and what stands beside it",
        ),
        pytest.param(
            {
                "options": {"transactional": 1, "sandbox": True, "start_time": "x", "ip_pool": 5},
                "metadata": 1,
                "description": 1,
                "return_path": "x",
                "substitution_data": [],
            },
            [
                typed("options.transactional", "number", "boolean"),
                (1300, "options.sandbox is not available on this installation"),
                (1400, "content object or template_id required"),
                typed("options.ip_pool", "number", "string"),
                typed("metadata", "number", "json_object"),
                (1300, "Error parsing scheduled start_time"),
                typed("description", "number", "string"),
                (1300, "return_path 'x' is not a valid email address"),
                typed("substitution_data", "json_array", "json_object"),
                (1400, "recipients or list_id required"),
            ],
            id="each part of the body",
        ),
        pytest.param(
            body(content={"from": {"name": 5}, "headers": {"To": "x", "X-A": 5}, "text": 5, "subject": ""}),
            [
                typed("content.from.name", "number", "string"),
                (1400, "content.from.email is a required field"),
                (1400, "content.subject is a required field"),
                typed("content.text", "number", "string"),
                (1300, "header 'To' is not allowed in content.headers"),
                typed("content.headers.X-A", "number", "string"),
            ],
            id="within from and headers",
        ),
        pytest.param(
            body(
                content=CONTENT
                | {
                    "attachments": [{"type": "x", "data": "?"}, 5, {"type": "a/b"}],
                    "inline_images": [{"name": 5, "type": ""}, {"name": "<", "type": "a/b", "data": ""}],
                }
            ),
            [
                (1300, "content.attachments[0].type is not a MIME type"),
                (1300, "content.attachments[0].data must be base64"),
                typed("content.attachments[1]", "number", "json_object"),
                (1400, "content.attachments[2].data is a required field"),
                typed("content.inline_images[0].name", "number", "string"),
                (1400, "content.inline_images[0].type is a required field"),
                (1400, "content.inline_images[0].data is a required field"),
                (1400, "content.inline_images[1].data is a required field"),
            ],
            id="files",
        ),
        pytest.param(
            body({}, {"address": "x"}),
            [
                (5002, "At least one valid recipient is required"),
                (1400, "address.email is required for each recipient"),
                (1300, "invalid recipient address.email: x"),
            ],
            id="no recipient is one",
        ),
    ],
)
def test_all_that_is_wrong_is_told_at_once(sent: Any, faults: list[tuple[int, str]]) -> None:
    assert told(sent) == faults


def test_one_answer_tells_so_many_faults_and_no_more() -> None:
    assert len(told(body(*[{}] * 200))) == MAX_FAULTS
    assert len(told(body(content=CONTENT | {"attachments": [5] * 200, "subject": 5}))) == MAX_FAULTS


@pytest.mark.parametrize(
    ("recipient", "code", "description"),
    [
        ({}, "1400", "address.email is required for each recipient"),
        ({"address": {"name": "x"}}, "1400", "address.email is required for each recipient"),
        ({"address": ""}, "1400", "address.email is required for each recipient"),
        (None, "1400", "address.email is required for each recipient"),
        (
            "x@y.example",
            "1300",
            "field 'recipients' is of type 'string', but needs to be of type 'json_object'",
        ),
        ({"address": "x"}, "1300", "invalid recipient address.email: x"),
        ({"address": 5}, "1300", "invalid recipient address.email: 5"),
        (BOB | {"return_path": "x"}, "1300", "return_path 'x' is not a valid email address"),
        (
            BOB | {"tags": [1]},
            "1300",
            "field 'tags[0]' is of type 'number', but needs to be of type 'string'",
        ),
        (
            BOB | {"metadata": {"x": "y" * 10_000}},
            "1300",
            "field 'metadata' is of length '10008', but needs to be of max length '10000'",
        ),
        (
            BOB | {"substitution_data": {"x": "y" * 100_000}},
            "2002",
            "Recipient-level substitution data must be less than 100000 bytes",
        ),
    ],
)
def test_a_bad_recipient_is_left_out_and_told(recipient: Any, code: str, description: str) -> None:
    asked = parse(body(BOB, recipient))
    assert [one.mailbox.text for one in asked.recipients] == ["bob@b.example"]
    assert asked.num_rejected == 1
    (fault,) = asked.faults
    assert (str(fault.code), fault.detail) == (code, description)


def test_everything_said_is_read() -> None:
    files = [FILE | {"type": 'text/plain; charset="utf-8"', "data": "eA\r\n=="}]
    content = {
        "from": "Acme <news@acme.test>",
        "subject": "s",
        **BOTH,
        "amp_html": "a",
        "reply_to": "r@acme.test",
        "headers": {"X-A": "1", "X-B": ""},
        "attachments": files,
        "inline_images": [FILE],
    }
    recipient = {
        "address": {"email": " bob@B.example ", "name": "Bob", "header_to": "t@b.example"},
        "return_path": "own@acme.test",
        "tags": ["a", None, *"bcdefghijk"],
        "metadata": {"m": [1]},
        "substitution_data": {"s": {"deep": None}},
    }
    options = {
        "ip_pool": "News",
        "start_time": "2026-01-05T11:00:00+01:00",
        "transactional": True,
        "skip_suppression": True,
        "perform_substitutions": False,
        "dkim_key": "k",
    }
    asked = parse(
        body(
            recipient,
            content=content,
            options=options,
            campaign_id="autumn",
            description="d",
            metadata={"x": 1},
            substitution_data={"y": 2},
            return_path="all@acme.test",
        )
    )
    assert isinstance(asked.content, InlineContent)
    assert (asked.content.from_name, asked.content.from_email) == ("Acme", "news@acme.test")
    assert asked.content.headers == {"X-A": "1"}
    assert asked.content.attachments[0].data == b"x"
    assert asked.recipients == [
        Recipient(
            Mailbox("bob@B.example", "b.example"),
            "Bob",
            "t@b.example",
            "own@acme.test",
            tuple("abcdefghi"),
            {"m": [1]},
            {"s": {"deep": None}},
        )
    ]
    assert asked.start == NOW + timedelta(hours=1)
    assert (asked.options.ip_pool, asked.options.dkim_key, asked.substitutes) == ("News", "k", False)
    assert (asked.options.transactional, asked.options.skip_suppression) == (True, True)
    assert (asked.options.campaign_id, asked.options.metadata) == ("autumn", {"x": 1})
    assert (asked.return_path, asked.substitution_data) == ("all@acme.test", {"y": 2})
    assert asked.asked_options == options


def test_a_sender_may_be_a_template() -> None:
    content = parse(body(content=CONTENT | {"from": {"email": "{{box}}@acme.test"}})).content
    assert isinstance(content, InlineContent)
    assert content.from_email == "{{box}}@acme.test"


def test_a_whole_messages_lines_end_in_crlf() -> None:
    content = parse(body(content={"email_rfc822": "\ufeffA: ü\nB: 2\r3\n\nC\rD"})).content
    assert content == Rfc822Content("A: ü\r\nB: 2 3\r\n\r\nC\r\nD\r\n".encode())


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("A: b\n\n\0", "cannot be sent: NUL octet in message"),
        ("A: b\n\n" + "x" * 200_000, "cannot be sent: line too long"),
        ("A: b\n" * 6_000, "cannot be sent: too many header lines"),
        ("A: bcdefgh\n" * 30_000, "has more than 262144 bytes of header section"),
    ],
)
def test_what_smtp_does_not_take_is_not_taken_as_a_whole_message(message: str, reason: str) -> None:
    with pytest.raises(Fault, match=reason) as refused:
        parse(body(content={"email_rfc822": message}))
    assert refused.value.code == 1300


@pytest.mark.parametrize(
    ("text", "ahead"),
    [
        (None, None),
        ("now", None),
        ("2026-01-05T09:00:00+00:00", None),
        ("2026-01-05T09:00:00.5+00:00", timedelta(milliseconds=500)),
        ("2026-01-05T09:00:01Z", timedelta(seconds=1)),
        ("2026-02-05T09:00:00+00:00", timedelta(days=31)),
    ],
)
def test_a_start_that_is_not_to_come_is_now(text: str | None, ahead: timedelta | None) -> None:
    start = parse(body(options={"start_time": text})).start
    assert start == (None if ahead is None else NOW + ahead)


def test_keys_come_in_any_order_and_null_is_as_if_not_there() -> None:
    two = b' { "recipients" : [ {"address":"bob@b.example"} , {"address":"eve@b.example"} ] ,\n'
    sent = two + b' "metadata":null, "a": 1.5,'
    asked = parse(sent + b'"content": ' + json.dumps(CONTENT).encode() + b"}\n")
    assert len(asked.recipients) == 2
    assert asked.options.metadata == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["content", "recipients", "options", "address", "email", "from", "text", "subject"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_read_or_refused(value: Any) -> None:
    with suppress(Fault):
        assert parse(value).recipients


@given(st.binary(max_size=60))
def test_any_octets_are_read_or_refused(octets: bytes) -> None:
    with pytest.raises(Fault):
        parse(octets)


@pytest.mark.parametrize("value", [False, None])
def test_what_is_not_here_may_be_said_to_be_off(value: bool | None) -> None:
    asked = parse(body(options=dict.fromkeys([*TRACKING, "sandbox", "inline_css"], value)))
    assert not asked.options.open_tracking
    assert not asked.options.click_tracking
    assert not asked.options.inline_css


def test_css_is_inlined_for_those_who_ask() -> None:
    assert parse(body(options={"inline_css": True})).options.inline_css


# ── bounds ───────────────────────────────────────────────────────────────────────────────


def with_member(octets: bytes) -> bytes:
    return json.dumps(body()).encode()[:-1] + b', "nobody": ' + octets + b"}"


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_members_that_nobody_knows_are_read_over_and_not_kept() -> None:
    asked = parse(body(nobody={"x": [1]}, options={"nobody": 1, "start_time": "now"}))
    assert asked.asked_options == {"nobody": 1, "start_time": "now"}
    for large in ("x" * 10_000, nested(MAX_NESTING)):
        assert parse(body(options={"nobody": large, "start_time": "now"})).asked_options == {
            "start_time": "now"
        }
    parse(with_member(b'"\\ud800"'))


def test_values_are_counted_before_they_are_made() -> None:
    number_of_others = 12
    parse(with_member(b"[" + b"[]," * (MAX_VALUES - number_of_others) + b"[]]"))
    parse(with_member(b'"' + b",[{" * MAX_VALUES + b'\\""'))
    with pytest.raises(Fault, match="at most 2,000,000 json values"):
        parse(with_member(b"[" + b"[]," * MAX_VALUES + b"[]]"))


@pytest.mark.parametrize("name", ["metadata", "substitution_data"])
def test_what_is_kept_is_not_nested_deeply(name: str) -> None:
    parse(body(BOB | {name: {"a": nested(MAX_NESTING - 1)}}, **{name: {"a": nested(MAX_NESTING - 1)}}))
    with pytest.raises(Fault, match=NESTED):
        parse(body(**{name: {"a": nested(MAX_NESTING)}}))
    asked = parse(body(BOB, BOB | {name: {"a": nested(MAX_NESTING)}}))
    assert [fault.detail for fault in asked.faults] == [NESTED]


def test_metadata_is_counted_in_octets() -> None:
    asked = parse(json.dumps(body(BOB, BOB | {"metadata": {"a": "😀" * 2600}}), ensure_ascii=False).encode())
    assert [fault.code for fault in asked.faults] == [1300]


def test_a_tag_has_so_many_octets() -> None:
    tag = "ü" * (MAX_TAG_BYTES // 2)
    asked = parse(body(BOB | {"tags": [tag, None]}, BOB | {"tags": ["x", tag + "üü"]}))
    assert [recipient.tags for recipient in asked.recipients] == [(tag,)]
    assert [fault.detail for fault in asked.faults] == [
        "field 'tags[1]' is of length '258', but needs to be of max length '255'"
    ]


@pytest.mark.alone
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda n: with_member(b'"' + b"\\\\" * n + b'"'), id="backslashes"),
        pytest.param(lambda n: with_member(b'"' + b"," * (5 * n)), id="a text without end"),
        pytest.param(lambda n: with_member(b"{" + b'"a":1,' * n + b'"a":1}'), id="one name"),
        pytest.param(lambda n: with_member(b" " * n + b"1"), id="blanks"),
    ],
)
def test_reading_costs_in_proportion(make: Any) -> None:
    def read(sent: bytes) -> None:
        with suppress(Fault):
            parse(sent)

    assert_linear(make, read, 450_000)


@pytest.mark.alone
def test_counting_costs_in_proportion() -> None:
    def count(octets: bytes) -> None:
        with suppress(BadJson):
            check_number_of_values(octets)

    assert_linear(lambda n: b"[" + b'"a,[",[],' * n + b"[]]", count, 400_000)
    assert_linear(lambda n: b'"' + b"\\,\\[" * n, count, 1_000_000)
    assert_linear(lambda n: b",[" * MAX_VALUES + b" " * n, count, 1_000_000)


@pytest.mark.parametrize("name", [{"name": ""}, {"name": None}, {}])
def test_a_file_needs_no_name(name: dict[str, Any]) -> None:
    file = {"type": "text/plain", "data": "aGk="} | name
    content = parse(body(content=CONTENT | {"attachments": [file]})).content
    assert isinstance(content, InlineContent)
    assert content.attachments == (File("", "text/plain", b"hi"),)


@pytest.mark.parametrize(
    ("given", "kept"), [("", "undisclosed-recipients:;"), (None, ""), ("x@y.test", "x@y.test")]
)
def test_an_empty_header_to_shows_nobody(given: str | None, kept: str) -> None:
    """Null is as if it were not there."""
    address = {"email": "bob@b.example", "header_to": given}
    (recipient,) = parse(body({"address": address})).recipients
    assert recipient.header_to == kept


@pytest.mark.parametrize(
    "header_to",
    ["nobody", "Doe, John", "bob@example.com;", "undisclosed-recipients:", "Empfänger:;", " ", "<"],
)
def test_what_is_only_shown_loses_no_recipient(header_to: str) -> None:
    asked = parse(body({"address": {"email": "bob@b.example", "header_to": header_to}}))
    assert [(one.mailbox.text, one.header_to) for one in asked.recipients] == [("bob@b.example", header_to)]
    assert asked.faults == []
