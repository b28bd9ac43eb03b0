"""X-MSYS-API as it arrives, and what it asks for (docs/rules.md#x-msys-api; R18)."""

import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.address import parse_mailbox
from relay.domain.errors import BadOptions
from relay.domain.message import MAX_METADATA_BYTES, Copy, Options
from relay.ingress.msys import MAX_NESTING, MAX_OCTETS, parse_msys

TAG_OCTETS = 255
BOB = Copy(parse_mailbox("bob@example.com"))


def detail_of(value: bytes) -> str:
    """The sentence with which the value is refused."""
    with pytest.raises(BadOptions) as refused:
        parse_msys(value)
    return refused.value.detail


@pytest.mark.parametrize(
    ("value", "options"),
    [
        pytest.param(b"", Options(), id="empty is {} (ours)"),
        pytest.param(b" \r\n ", Options(), id="white space is empty"),
        pytest.param(b"{}", Options(), id="nothing asked"),
        pytest.param(
            b' {"options": {"ip_pool": "Receipts"}}\r\n', Options(ip_pool="Receipts"), id="R18 verbatim"
        ),
        pytest.param(b'{"options": {"ip_pool": null}}', Options(), id="a null pool is none"),
        pytest.param(b'{"options": {"ip_pool": ""}}', Options(), id="an empty pool is none"),
        pytest.param(
            b'{"options": null, "campaign_id": null, "metadata": null, "tags": null, "cc": null}',
            Options(),
            id="null is not given",
        ),
        pytest.param(
            b'{"substitution_data": {"a": 1}, "colour": [], "options": {"start_time": "x"}}',
            Options(),
            id="unknown keys and substitution_data are ignored",
        ),
        pytest.param(
            b'{"options": {"ip_pool": "a", "ip_pool": "b"}}',
            Options(ip_pool="b"),
            id="the last of a double key counts",
        ),
        pytest.param(
            b'{"options": {"open_tracking": true, "click_tracking": false, "transactional": true,'
            b' "skip_suppression": true, "inline_css": true, "sandbox": false, "dkim_key": "k1"}}',
            Options(
                open_tracking=True,
                click_tracking=False,
                transactional=True,
                skip_suppression=True,
                inline_css=True,
                dkim_key="k1",
            ),
            id="all other options",
        ),
        pytest.param(
            b'{"campaign_id": "spring", "metadata": {"order": 7, "in": {"x": [1.5, null, true]}}}',
            Options(campaign_id="spring", metadata={"order": 7, "in": {"x": [1.5, None, True]}}),
            id="campaign and metadata",
        ),
    ],
)
def test_a_header_asks_for_what_it_says(value: bytes, options: Options) -> None:
    assert parse_msys(value) == options


class TestFolding:
    @pytest.mark.parametrize("fold", [b"\r\n ", b"\r\n\t", b"\r\n   \t "])
    def test_a_fold_between_members_is_white_space(self, fold: bytes) -> None:
        value = fold + b'{"campaign_id":' + fold + b'"a",' + fold + b'"tags": ["t"]}'
        assert parse_msys(value) == Options(campaign_id="a", tags=("t",))

    def test_a_fold_inside_a_string_is_exactly_one_space(self) -> None:
        """A24: the client's fault, and not an error."""
        assert parse_msys(b'{"campaign_id": "my_awes\r\n   ome"}').campaign_id == "my_awes ome"

    def test_a_line_break_without_white_space_is_no_fold(self) -> None:
        assert detail_of(b'{"campaign_id": "a\r\nb"}').startswith("JSON parsing error in X-MSYS-API: ")


class TestTags:
    def test_ten_are_kept_and_the_surplus_is_dropped(self) -> None:
        value = json.dumps({"tags": [f"t{number}" for number in range(12)]}).encode()
        assert parse_msys(value).tags == tuple(f"t{number}" for number in range(10))

    def test_a_surplus_tag_must_still_be_a_string(self) -> None:
        value = json.dumps({"tags": ["t"] * 10 + [1]}).encode()
        assert detail_of(value) == "X-MSYS-API 'tags[10]' must be of type 'json string'"


class TestCopies:
    def test_an_entry_is_an_address_or_an_object_with_a_name(self) -> None:
        value = b"""{"cc": ["bob@example.com", {"email": "eve@example.com", "name": "Eve"}],
            "bcc": [{"email": "bob@example.com", "name": null}], "archive": ["bob@example.com"]}"""
        options = parse_msys(value.replace(b"\n", b"\r\n"))
        assert options.cc == (BOB, Copy(parse_mailbox("eve@example.com"), "Eve"))
        assert options.bcc == options.archive == (BOB,)

    @pytest.mark.parametrize(("cc", "bcc", "archive"), [(1000, 0, 0), (400, 300, 300)])
    def test_a_thousand_in_all_are_taken_and_one_more_is_refused(
        self, cc: int, bcc: int, archive: int
    ) -> None:
        lists = {"cc": ["bob@example.com"] * cc, "bcc": ["bob@example.com"] * bcc}
        lists["archive"] = ["bob@example.com"] * archive
        assert len(parse_msys(json.dumps(lists).encode()).cc) == cc
        lists["archive"].append("bob@example.com")
        sentence = "X-MSYS-API 'cc', 'bcc' and 'archive' are limited to 1000 entries"
        assert detail_of(json.dumps(lists).encode()) == sentence

    @pytest.mark.parametrize(
        ("entry", "sentence"),
        [
            pytest.param("bob", "X-MSYS-API 'cc[0]' is not an email address", id="no domain"),
            pytest.param(
                "Bob <bob@example.com>", "X-MSYS-API 'cc[0]' is not an email address", id="a phrase"
            ),
            pytest.param("b@x.de\r\nBcc: eve@x.de", "X-MSYS-API 'cc[0]' is not an email address", id="CRLF"),
            pytest.param(
                "b\ud800b@x.de", "JSON parsing error in X-MSYS-API: lone surrogate", id="lone surrogate"
            ),
            pytest.param({}, "X-MSYS-API 'cc[0]' is not an email address", id="no email"),
            pytest.param({"email": 1}, "X-MSYS-API 'cc[0].email' must be of type 'json string'", id="email"),
            pytest.param(
                {"email": "bob@example.com", "name": ["Bob"]},
                "X-MSYS-API 'cc[0].name' must be of type 'json string'",
                id="name",
            ),
            pytest.param(
                {"email": "bob@example.com", "name": "\udc00"},
                "JSON parsing error in X-MSYS-API: lone surrogate",
                id="name with a lone surrogate",
            ),
            pytest.param(1, "X-MSYS-API 'cc[0]' must be of type 'json string' or 'json object'", id="number"),
        ],
    )
    def test_what_is_no_entry_is_refused_by_its_place(self, entry: object, sentence: str) -> None:
        assert detail_of(json.dumps({"cc": [entry]}).encode()) == sentence


@pytest.mark.parametrize(
    ("given_", "sentence"),
    [
        pytest.param('["ip_pool"]', "X-MSYS-API must be of type 'json object'", id="an array"),
        pytest.param("null", "X-MSYS-API must be of type 'json object'", id="null"),
        pytest.param(
            '{"metadata": "x"}',
            "X-MSYS-API 'metadata' must be of type 'json object'",
            id="SparkPost's own",
        ),
        pytest.param(
            '{"metadata": []}', "X-MSYS-API 'metadata' must be of type 'json object'", id="metadata"
        ),
        pytest.param('{"options": "x"}', "X-MSYS-API 'options' must be of type 'json object'", id="options"),
        pytest.param('{"tags": "x"}', "X-MSYS-API 'tags' must be of type 'json array'", id="tags"),
        pytest.param('{"cc": {}}', "X-MSYS-API 'cc' must be of type 'json array'", id="cc"),
        pytest.param(
            '{"campaign_id": 1}', "X-MSYS-API 'campaign_id' must be of type 'json string'", id="campaign_id"
        ),
        pytest.param(
            '{"options": {"ip_pool": 5}}',
            "X-MSYS-API 'options.ip_pool' must be of type 'json string'",
            id="A29 number",
        ),
        pytest.param(
            '{"options": {"ip_pool": {}}}',
            "X-MSYS-API 'options.ip_pool' must be of type 'json string'",
            id="A29 object",
        ),
        pytest.param(
            '{"options": {"ip_pool": "a\\r\\n250 2.0.0 OK"}}',
            "X-MSYS-API 'options.ip_pool' is limited to 255 printable characters",
            id="a pool that would forge a reply",
        ),
        pytest.param(
            json.dumps({"options": {"ip_pool": "x" * 256}}),
            "X-MSYS-API 'options.ip_pool' is limited to 255 printable characters",
            id="an endless pool",
        ),
        pytest.param(
            '{"options": {"sandbox": true}}',
            "options.sandbox is not available on this installation",
            id="mail that must not go out",
        ),
        *[
            pytest.param(
                f'{{"options": {{"{name}": {wrong}}}}}',
                f"X-MSYS-API 'options.{name}' must be of type 'json boolean'",
                id=f"{name} {wrong}",
            )
            for name in (
                "open_tracking",
                "click_tracking",
                "initial_open",
                "transactional",
                "skip_suppression",
                "inline_css",
                "sandbox",
            )
            for wrong in ("1", '"true"')
        ],
    ],
)
def test_a_wrong_type_is_refused_in_the_words_of_sparkpost(given_: str, sentence: str) -> None:
    assert detail_of(given_.encode()) == sentence


class TestCampaign:
    """At most 64 bytes of UTF-8, not characters."""

    @pytest.mark.parametrize("campaign", ["x" * 64, "ü" * 32])
    def test_64_bytes_are_taken(self, campaign: str) -> None:
        assert parse_msys(json.dumps({"campaign_id": campaign}).encode()).campaign_id == campaign

    @pytest.mark.parametrize("campaign", ["x" * 65, "ü" * 32 + "x"])
    def test_one_more_is_refused(self, campaign: str) -> None:
        value = json.dumps({"campaign_id": campaign}).encode()
        assert detail_of(value) == "smtpapi_campaign_id context is limited to 64 bytes"


PUBLISHED = [
    pytest.param(
        b"""{"campaign_id": "my_campaign", "metadata": {"has_pets": true "pet": "cat"}}""",
        id="no comma between members",
    ),
    pytest.param(b"""{"cc": ["one@example.com" "two@example.com"]}""", id="no comma between elements"),
    pytest.param(b"""{"options": {"open_tracking": false,}}""", id="comma after the last member"),
    pytest.param(b"""{"tags": ["a", "b",]}""", id="comma after the last element"),
]


class TestNotJson:
    @pytest.mark.parametrize("value", PUBLISHED)
    def test_the_mistakes_of_the_published_examples_are_refused(self, value: bytes) -> None:
        """The examples in SparkPost's documents are no JSON."""
        assert detail_of(value).startswith("JSON parsing error in X-MSYS-API: ")

    @pytest.mark.parametrize(
        ("value", "ending"),
        [
            pytest.param(b"{", " at character 2", id="where it breaks is told"),
            pytest.param(b'{"a": 1} x', " at character 10", id="something after it"),
            pytest.param(b"{'a': 1}", " at character 2", id="wrong quotes"),
            pytest.param(b'{"metadata": {"a": "\x00"}}', " at character 21", id="control character"),
            pytest.param(b'{"metadata": {"a": NaN}}', "NaN is not JSON", id="NaN"),
            pytest.param(b'{"metadata": {"a": -Infinity}}', "-Infinity is not JSON", id="infinity"),
            pytest.param(b'{"metadata": {"a": 1e999}}', "number out of range", id="a float beyond range"),
            pytest.param(
                b'{"metadata": {"a": ' + b"9" * 5000 + b"}}", "number out of range", id="huge integer"
            ),
            pytest.param(b"[" * 10_000, "nested too deeply", id="10,000 arrays"),
            pytest.param(b'{"metadata":' * 9_000, "nested too deeply", id="9,000 objects"),
            pytest.param(b"[" * 501 + b"]" * 501, "nested too deeply", id="501 arrays, all closed"),
            pytest.param(b'{"campaign_id": "\xff"}', "invalid UTF-8", id="8-bit that is not UTF-8"),
            pytest.param(rb'{"campaign_id": "\ud800"}', "lone surrogate", id="surrogate in campaign_id"),
            pytest.param(rb'{"tags": ["\udfff"]}', "lone surrogate", id="surrogate in a tag"),
            pytest.param(rb'{"metadata": {"\ud83d": 1}}', "lone surrogate", id="surrogate in a key"),
            pytest.param(rb'{"metadata": {"a": ["\ud83d"]}}', "lone surrogate", id="surrogate in metadata"),
            pytest.param(
                rb'{"options": {"dkim_key": "\ud800"}}', "lone surrogate", id="surrogate in dkim_key"
            ),
            pytest.param(b"=?utf-8?q?=7B?=", " at character 2", id="encoded words that are not JSON either"),
        ],
    )
    def test_it_is_refused_with_the_reason(self, value: bytes, ending: str) -> None:
        detail = detail_of(value)
        assert detail.startswith("JSON parsing error in X-MSYS-API: ")
        assert detail.endswith(ending)


def test_many_arrays_beside_each_other_and_signs_in_strings_are_not_nested() -> None:
    beside = b'{"other": [' + b'["[[{\\"[", {}], ' * 900 + b"[]]}"
    assert parse_msys(beside) == parse_msys(b"{}")


class TestSize:
    """Ours: SparkPost names no limit for SMTP, REST has one of 10 kB for metadata."""

    def test_metadata_of_10_kilobytes_is_taken_and_one_byte_more_refused(self) -> None:
        fitting = {"a": "x" * (MAX_METADATA_BYTES - len('{"a":""}'))}
        assert parse_msys(json.dumps({"metadata": fitting}).encode()).metadata == fitting
        beyond = json.dumps({"metadata": {"a": fitting["a"] + "x"}}).encode()
        assert detail_of(beyond) == "X-MSYS-API 'metadata' is limited to 10000 bytes"

    def test_metadata_may_be_nested_but_not_without_end(self) -> None:
        def nested(levels: int) -> bytes:
            return b'{"metadata": ' + b'{"a":' * levels + b"1" + b"}" * levels + b"}"

        assert parse_msys(nested(MAX_NESTING)).metadata
        assert detail_of(nested(MAX_NESTING + 1)) == "X-MSYS-API 'metadata' is limited to 32 levels"

    def test_the_whole_is_limited_before_it_is_read(self) -> None:
        assert parse_msys(b" " * MAX_OCTETS) == Options()
        assert detail_of(b" " * (MAX_OCTETS + 1)) == "X-MSYS-API is limited to 262144 bytes"


class TestNonAscii:
    @pytest.mark.parametrize(
        "written",
        [
            pytest.param(rb"Gr\u00fc\u00dfe", id="escapes"),
            pytest.param("Grüße".encode(), id="raw UTF-8"),
            pytest.param(b"=?utf-8?q?Gr=C3=BC=C3=9Fe?=", id="Q"),
            pytest.param(b"=?UTF-8?Q?Gr=C3?= =?utf-8?q?=BC=C3=9Fe?=", id="split in mid-character"),
            pytest.param(b"=?utf-8?b?" + b64encode("Grüße".encode()) + b"?=", id="B"),
            pytest.param(b"=?utf-8?B?R3LDvMOfZQ?=", id="B without padding"),
            pytest.param(b"=?iso-8859-1*de?q?Gr=FC=DFe?=", id="Latin-1 with a language"),
            pytest.param(b"=?iso-8859-1?q?Gr=FC?=  =?utf-8?q?=C3=9Fe?=", id="two charsets"),
            pytest.param(b"=?utf-8?q?Gr=C3=BC?=\r\n =?utf-8?q?=C3=9Fe?=", id="folded between words"),
        ],
    )
    def test_it_arrives_in_campaign_tags_and_metadata(self, written: bytes) -> None:
        value = b'{"campaign_id": "%s", "tags": ["a %s"], "metadata": {"%s": {"b": ["%s", 1]}}}'
        options = parse_msys(value % ((written,) * 4))
        assert options == Options(
            campaign_id="Grüße", tags=("a Grüße",), metadata={"Grüße": {"b": ["Grüße", 1]}}
        )

    def test_a_value_that_is_encoded_as_a_whole_is_decoded_first(self) -> None:
        whole = b'{"campaign_id": "' + "Grüße".encode() + b'", "options": {"ip_pool": "news"}}'
        words = [b"=?utf-8?b?" + b64encode(whole[at : at + 20]) + b"?=" for at in range(0, len(whole), 20)]
        assert parse_msys(b"\r\n ".join(words)) == Options(campaign_id="Grüße", ip_pool="news")

    @pytest.mark.parametrize(
        "word",
        [
            pytest.param("=?martian?q?a=FC?=", id="charset nobody knows"),
            pytest.param("=?iso-8859-99?q?a=FC?=", id="charset that does not exist"),
            pytest.param("=?unicode_escape?q?a=5Cud800?=", id="a codec of Python alone"),
            pytest.param("=?utf-8?q?=FF?=", id="octets that are not of the charset"),
            pytest.param("=?utf-8?b?A?=", id="base64 that is none"),
            pytest.param("=?utf-8?x?a?=", id="encoding nobody knows"),
            pytest.param("a =? b ?= c", id="not a word at all"),
        ],
    )
    def test_a_word_that_cannot_be_decoded_stays_as_it_is(self, word: str) -> None:
        assert parse_msys(json.dumps({"campaign_id": word}).encode()).campaign_id == word

    def test_words_elsewhere_are_left_alone(self) -> None:
        """Words are decoded in three fields; a pool's id is compared as it was written."""
        assert parse_msys(b'{"options": {"ip_pool": "=?utf-8?q?a?="}}').ip_pool == "=?utf-8?q?a?="


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
_KNOWN = ["campaign_id", "metadata", "tags", "cc", "bcc", "archive", "options"]


@given(
    st.binary()
    | st.text(alphabet=' {}[]":,=?\r\n\\udq8tf-1e9', max_size=60).map(str.encode)
    | st.dictionaries(st.sampled_from(_KNOWN), _json).map(lambda known: json.dumps(known).encode())
)
def test_any_octets_are_options_or_refused(value: bytes) -> None:
    try:
        options = parse_msys(value)
    except BadOptions as error:
        detail = error.detail
    else:
        stored = json.dumps([dict(options.metadata), options.tags, options.campaign_id, options.ip_pool])
        json.loads(stored, parse_constant=pytest.fail)
        assert options.ip_pool != ""
        return
    assert "X-MSYS-API" in detail or "smtpapi_campaign_id" in detail
    assert detail.isprintable()


@given(st.dictionaries(st.text(), st.text() | st.integers()), st.booleans())
def test_metadata_survives_any_way_of_writing_json(metadata: dict[str, object], ascii_only: bool) -> None:
    value = json.dumps({"metadata": metadata}, ensure_ascii=ascii_only).encode()
    assert "=?" in value.decode() or parse_msys(value).metadata == metadata


def test_a_tag_has_so_many_octets() -> None:
    assert parse_msys(b'{"tags": ["%b"]}' % (b"t" * TAG_OCTETS)).tags == ("t" * TAG_OCTETS,)
    too_long = b'{"tags": ["x", "%b"]}' % ("ü".encode() * 128)
    assert detail_of(too_long) == "X-MSYS-API 'tags' are limited to 255 bytes each"


@pytest.mark.parametrize(
    "value",
    [b'{"a": [' + b"[]," * 10_000 + b"1]}", b"=?utf-8?q?" + b'{"a":[' + b"1," * 10_000 + b"1]}" + b"?="],
    ids=["as it stands", "in an encoded word"],
)
def test_there_are_so_many_values_at_most(value: bytes) -> None:
    assert detail_of(value) == "X-MSYS-API is limited to 10,000 json values"
    assert parse_msys(value.replace(b"[],", b"", 50).replace(b"1,", b"", 50)) == Options()
