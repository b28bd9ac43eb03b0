"""`POST /utils/content-previewer`: what would be sent, shown and not sent."""

from typing import Any

import httpx
import pytest

from relay.domain.directory import SUBACCOUNT_GRANTS
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from tests.support.rest import refusal, results

PATH = "/utils/content-previewer"
FROM = "news@acme.test"
CONTENT: dict[str, Any] = {
    "from": {"name": "{{shop}}", "email": FROM},
    "subject": "Summer deals for {{name}}",
    "reply_to": "{{shop}} <deals@acme.test>",
    "text": "Deals,\n{{name}}!",
    "html": "<b>Check out these deals {{name}}!</b>",
    "amp_html": "<html amp4email>{{name}}</html>",
    "headers": {"X-Example-Header": "Summer {{name}}", "Cc": "{{name}} <c@b.example>"},
}
DATA = {"name": "Zoë & Co", "shop": "Shop, Ltd", "age": 35}


async def preview(
    relay: RelayHarness, content: Any, data: Any = None, path: str = PATH, **more: Any
) -> httpx.Response:
    body = {"content": content, "substitution_data": data}
    async with relay.api(1, **more) as api:
        return await api.post(path, json={name: value for name, value in body.items() if value is not None})


def described(answer: httpx.Response) -> dict[str, Any]:
    (problem,) = answer.json()["errors"]
    assert isinstance(problem, dict)
    return {"status": answer.status_code, **problem}


@pytest.mark.parametrize("path", [PATH, f"{PATH}/"])
@pytest.mark.parametrize("subaccount", [None, 123])
async def test_a_content_is_shown_with_its_values(
    relay: RelayHarness, mta: FakeMta, path: str, subaccount: int | None
) -> None:
    assert results(await preview(relay, CONTENT, DATA, path, subaccount=subaccount)) == {
        "from": {"email": FROM, "name": "Shop, Ltd"},
        "subject": "Summer deals for Zoë & Co",
        "reply_to": '"Shop, Ltd" <deals@acme.test>',
        "text": "Deals,\nZoë & Co!",
        "html": "<b>Check out these deals Zoë &amp; Co!</b>",
        "amp_html": "<html amp4email>Zoë &amp; Co</html>",
        "headers": {"X-Example-Header": "Summer Zoë & Co", "Cc": "Zoë & Co <c@b.example>"},
    }
    await relay.quiet()
    assert mta.attempts == []
    assert await relay.queue() == []
    assert await relay.inside.store.events.recent(10) == []


async def test_what_is_not_there_is_not_shown(relay: RelayHarness) -> None:
    content = {"from": FROM, "subject": "Deals for {{name}}", "html": "<b>{{name}}</b>"}
    shown = {"from": {"email": FROM}, "subject": "Deals for ", "html": "<b></b>"}
    assert results(await preview(relay, content)) == shown
    assert results(await preview(relay, content, {})) == shown


async def test_a_whole_message_is_shown_whole(relay: RelayHarness) -> None:
    raw = "From: {{n}} <{{from}}>\nTo: you\nSubject: Hi {{n}}\nX-A: ü\n\nDear {{n}}\n"
    assert results(await preview(relay, {"email_rfc822": raw}, {"n": "Ann", "from": FROM})) == {
        "email_rfc822": f"From: Ann <{FROM}>\r\nTo: you\r\nSubject: Hi Ann\r\nX-A: =?utf-8?b?w7w=?=\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: 7bit\r\n\r\nDear Ann\r\n"
    }


@pytest.mark.parametrize(
    ("change", "part", "line", "place", "cause"),
    [
        ({"text": "a\nb\nc\n{{ if age 5 }}"}, "text", 4, "part text", "line 4: syntax error near '5'"),
        ({"html": "{{x"}, "html", 1, "part html", "line 1: substitution is missing its ending '}}'"),
        (
            {"html": "{{render_snippet('f')}}"},
            "html",
            1,
            "part html",
            "line 1: unknown macro 'render_snippet'",
        ),
        ({"amp_html": "{{a b}}"}, "amp_html", 1, "part amp_html", "line 1: syntax error near 'b'"),
        ({"subject": "{{a b}}"}, "Header:Subject", 1, "header Subject", "line 1: syntax error near 'b'"),
        ({"headers": {"X-A": "{{a b}}"}}, "Header:X-A", 1, "header X-A", "line 1: syntax error near 'b'"),
        ({"from": "{{a b}} <x@y.test>"}, "Header:From", 1, "header From", "line 1: syntax error near 'b'"),
    ],
)
async def test_a_syntax_error_names_part_and_line(
    relay: RelayHarness, change: dict[str, Any], part: str, line: int, place: str, cause: str
) -> None:
    """By a transmission too."""
    content = CONTENT | change
    expected = {
        "status": 422,
        "message": "substitution language syntax error in template content",
        "code": "3000",
        "description": f"Error while compiling {place}: {cause}",
        "part": part,
        "line": line,
    }
    assert described(await preview(relay, content, DATA)) == expected
    async with relay.api(1) as api:
        body = {"content": content, "recipients": [{"address": "bob@b.example"}]}
        assert described(await api.post("/transmissions", json=body)) == expected


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"text": "\n{{age - name}}"}, {"part": "text", "line": 2, "place": " part text"}),
        ({"html": "{{each age}}{{end}}"}, {"part": "html", "line": 1, "place": " part html"}),
        ({"subject": "{{1 / 0}}"}, {"part": "Header:Subject", "line": 1, "place": " header Subject"}),
        ({"email_rfc822": f"From: {FROM}\n\n{{{{-name}}}}"}, {"line": 1, "place": ""}),
    ],
)
async def test_what_cannot_be_rendered_is_an_error_of_its_own(
    relay: RelayHarness, change: dict[str, Any], place: dict[str, Any]
) -> None:
    content = change if "email_rfc822" in change else CONTENT | change
    found = described(await preview(relay, content, DATA))
    where = place.pop("place")
    assert found.pop("description").startswith(f"Error while rendering{where}: line ")
    assert found == {"status": 422, "message": "template language render error", "code": "3001", **place}


@pytest.mark.parametrize(
    ("content", "data", "status", "code", "description"),
    [
        (None, {}, 422, "1400", "content object or template_id required"),
        ({}, {}, 422, "1400", "No valid fields exist in the 'content' object"),
        ({"from": FROM, "text": "t"}, {}, 422, "1400", "content.subject is a required field"),
        ({"subject": "s", "text": "t"}, {}, 422, "1400", "content.from is a required field"),
        (
            CONTENT | {"template_id": "x"},
            {},
            422,
            "1301",
            "Both content object and template_id are specified",
        ),
        ({"template_id": "x"}, {}, 422, "1603", "template 'x' does not exist"),
        (CONTENT | {"from": "nobody"}, {}, 400, "7001", "No sending domain specified"),
        (CONTENT | {"from": "{{none}}"}, {}, 400, "7001", "No sending domain specified"),
        (
            CONTENT,
            [],
            422,
            "1300",
            "field 'substitution_data' is of type 'json_array', but needs to be of type 'json_object'",
        ),
        (
            CONTENT,
            {"x": "x" * 100_000},
            422,
            "2002",
            "Transmission-level substitution data must be less than 100000 bytes",
        ),
        ({"email_rfc822": "no message"}, {}, 422, "3020", None),
        (
            {"email_rfc822": f"From: {FROM}\nSubject: a\nSubject: b\n\nx"},
            {},
            422,
            "1300",
            "The message cannot be sent: 2 fields Subject where one may be",
        ),
    ],
)
async def test_what_is_refused_is_refused_as_a_transmission_is(
    relay: RelayHarness, content: Any, data: Any, status: int, code: str, description: str | None
) -> None:
    found = described(await preview(relay, content, data))
    assert (found["status"], found["code"]) == (status, code)
    assert found.get("description") == description or description is None
    async with relay.api(1) as api:
        body = {"content": content, "substitution_data": data, "recipients": [{"address": "bob@b.example"}]}
        sent = described(await api.post("/transmissions", json=body))
    assert (sent["status"], sent["code"], sent.get("description")) == (status, code, found.get("description"))


@pytest.mark.parametrize("octets", [b"{", b"[]", b'{"content": "\xff"}'])
async def test_no_json_is_refused(relay: RelayHarness, octets: bytes) -> None:
    async with relay.api(1) as api:
        answer = await api.post(PATH, content=octets)
    assert answer.status_code in {400, 422}
    assert described(answer)["code"] in {"1300", "1305"}


async def test_a_heavy_one_is_made_in_the_sandbox(relay: RelayHarness) -> None:
    """Its body is large, it has many braces, or what it makes is large."""
    small = {"from": FROM, "subject": "s"}
    large = small | {"text": "x" * 200_000 + "{{name}}"}
    braces = small | {"text": "{{name}}" * 1000}
    rounds = small | {"text": "{{each a}}{{each a}}{{loop_var}}{{end}}{{end}}"}
    raw = {"email_rfc822": f"From: {FROM}\n\n" + ("x" * 99 + "\n") * 2000}
    assert results(await preview(relay, large, DATA))["text"] == "x" * 200_000 + "Zoë & Co"
    assert results(await preview(relay, braces, DATA))["text"] == "Zoë & Co" * 1000
    assert results(await preview(relay, rounds, {"a": [1] * 300}))["text"] == "1" * 90_000
    assert results(await preview(relay, raw))["email_rfc822"].endswith("x" * 99 + "\r\n")
    assert described(await preview(relay, large | {"html": "\n{{x"}, DATA))["part"] == "html"
    assert described(await preview(relay, large | {"subject": "{{-name}}"}, DATA))["code"] == "3001"


async def test_what_takes_more_than_a_message_may_is_refused(relay: RelayHarness) -> None:
    small = {"from": FROM, "subject": "s"}
    steps = small | {"text": "{{each a}}{{each a}}{{each a}}{{end}}{{end}}{{end}}"}
    found = described(await preview(relay, steps, {"a": [1] * 300}))
    assert (found["status"], found["description"]) == (422, "rendering takes more than 1,000,000 steps")
    octets = small | {"text": "{{each a}}{{b}}{{end}}"}
    found = described(await preview(relay, octets, {"a": [1] * 1000, "b": "x" * 50_000}))
    assert (found["status"], found["description"]) == (422, "the rendered content is too large")
    found = described(await preview(relay, small | {"text": "x" * (21 << 20)}))
    assert found["description"] == "The estimated message size is above the 20 MB message size limit"


async def test_one_of_two_grants_is_enough(relay: RelayHarness) -> None:
    assert "templates/preview" in SUBACCOUNT_GRANTS
    async with relay.api(1) as api:
        made = {
            grant: results(await api.post("/api-keys", json={"label": "k", "grants": [grant]}))["key"]
            for grant in ("templates/preview", "transmissions/modify", "transmissions/view")
        }
        part = {"label": "k", "grants": ["templates/preview"], "subaccount_id": 123}
        made["of a subaccount"] = results(await api.post("/api-keys", json=part))["key"]
        for name, key in made.items():
            answer = await api.post(PATH, json={"content": CONTENT}, headers={"Authorization": key})
            assert answer.status_code == (403 if name == "transmissions/view" else 200), answer.text
            if answer.status_code == 403:
                assert refusal(answer) == (403, "Forbidden.")
                lacking = "the key lacks the grant templates/preview or transmissions/modify"
                assert answer.json()["errors"][0]["description"] == lacking


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", f"/{name}") for name in ("ab-test", "snippets", "inbound-domains", "relay-webhooks")),
        *(("POST", f"/{name}") for name in ("ab-test", "snippets", "inbound-domains", "relay-webhooks")),
        *(
            ("GET", f"/{name}")
            for name in ("recipient-validation/single/a@b.example", "seeds", "inbox-placement")
        ),
        *(
            ("GET", f"/{name}/one")
            for name in ("ab-test/draft", "snippets", "inbound-domains", "relay-webhooks")
        ),
        *(("PUT", "/snippets/one"), ("DELETE", "/relay-webhooks/one"), ("POST", "/labs/snippets")),
    ],
)
async def test_resources_that_are_not_here_are_not_found(relay: RelayHarness, method: str, path: str) -> None:
    async with relay.api(1) as api:
        answer = await api.request(method, path, content=b"{}")
    assert refusal(answer) == (404, "resource not found")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("ab_test_id", "ab_test_id 'x' does not exist"), ("template_id", "template 'x' does not exist")],
)
async def test_what_content_names_and_is_not_here_is_no_subresource(
    relay: RelayHarness, name: str, sentence: str
) -> None:
    sent = {"content": {name: "x"}, "recipients": [{"address": "bob@b.example"}]}
    async with relay.api(1) as api:
        answers = [await api.post(path, json=sent) for path in ("/transmissions", PATH)]
    for answer in answers:
        assert described(answer) == {
            "status": 422,
            "message": "Subresource not found",
            "description": sentence,
            "code": "1603",
        }


async def test_snippets_in_dynamic_content_fail_the_recipient(relay: RelayHarness) -> None:
    content = {"from": FROM, "subject": "s", "text": "{{render_dynamic_content(dynamic_plain.x)}}"}
    data = {"dynamic_plain": {"x": "{{ render_snippet('footer') }}"}}
    found = described(await preview(relay, content, data))
    assert (found["status"], found["code"]) == (422, "3001")
    assert found["description"] == "Error while rendering part text: line 1: unknown macro 'render_snippet'"
