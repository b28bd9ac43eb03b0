"""`/suppression-list`, and what it does to mail."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from relay.domain.address import normalise_domain
from relay.domain.events import Bounce, Injection
from relay.domain.ids import AccountId
from relay.domain.suppression import Kind, Source, Suppression
from relay.frames.rest.paging import encode_cursor
from relay.testing.harness import RelayHarness
from tests.support.rest import refusal, results

SUPPRESSED = "554 5.7.1 recipient address was suppressed due to customer policy"
NO_TYPE = "Must supply a suppression type"
NON_TRANSACTIONAL = {"type": "non_transactional"}


async def suppress(relay: RelayHarness, recipient: str, account: int = 1, **body: Any) -> None:
    async with relay.api(account) as client:
        answer = await client.put(f"/suppression-list/{recipient}", json={**NON_TRANSACTIONAL, **body})
        assert results(answer) == {"message": "Suppression list successfully updated"}


def _next(page: Mapping[str, Any]) -> str:
    """Empty on the last page."""
    found = {link["rel"]: link["href"] for link in page["links"]}
    assert found.keys() <= {"first", "next"}
    return str(found.get("next", ""))


# ── the resource ─────────────────────────────────────────────────────────────────────────


async def test_an_entry_is_made_shown_and_removed(relay: RelayHarness) -> None:
    await suppress(relay, "Bob%2Bx@B.example", description="asked by phone")
    async with relay.api() as client:
        shown = (await client.get("/suppression-list/bob+x@b.example")).json()
        (entry,) = shown["results"]
        assert entry.pop("created") == entry.pop("updated") == relay.clock.now().isoformat(timespec="seconds")
        assert entry == {
            "recipient": "bob+x@b.example",
            "type": "non_transactional",
            "non_transactional": True,
            "source": "Manually Added",
            "description": "asked by phone",
        }
        assert (shown["total_count"], shown["links"]) == (1, [])
        assert (await client.delete("/suppression-list/bob+x@b.example")).status_code == 204
        for method in ("GET", "DELETE"):
            gone = await client.request(method, "/suppression-list/bob+x@b.example")
            assert refusal(gone) == (404, "Recipient could not be found")


async def test_many_entries_are_made_at_once(relay: RelayHarness) -> None:
    entries = [{"recipient": f"r{number:05}@b.example", "type": "transactional"} for number in range(10_000)]
    async with relay.api() as client:
        answer = await client.put("/suppression-list", json={"recipients": entries})
        assert results(answer) == {"message": "Suppression List successfully updated"}
        page = (await client.get("/suppression-list")).json()
        assert (len(page["results"]), page["total_count"]) == (1000, 10_000)
        seen = page["results"]
        whole = (await client.get("/suppression-list?per_page=10000")).json()
        assert (len(whole["results"]), whole["links"]) == (10_000, [])
        while next_page := _next(page):
            page = (await client.get(next_page.removeprefix("/api/v1"))).json()
            seen += page["results"]
        assert seen == whole["results"]


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (
            b'{"recipients": [' + b"0," * 40_000 + b"0]}",
            400,
            "recipients must be an array of 1 to 10000 entries",
        ),
        (b'{"x": "' + b"x" * 70_000, 400, "Problems parsing request as json"),
        (b'{"x": "\xff' + b"x" * 70_000 + b'"}', 400, "Non-UTF-8 data found in json"),
        (b'{"x": [' + b"0," * 2_000_000 + b"0]}", 400, "a body may have at most 2,000,000 json values"),
    ],
)
async def test_what_is_wrong_with_many_entries_is_said_too(
    relay: RelayHarness, body: bytes, status: int, sentence: str
) -> None:
    """Such a body is read in the sandbox."""
    async with relay.api() as client:
        answer = await client.put(
            "/suppression-list", content=body, headers={"Content-Type": "application/json"}
        )
    assert refusal(answer) == (status, sentence)


async def test_the_older_flags_say_which_mail(relay: RelayHarness) -> None:
    body = {"recipients": [{"email": "a@b.example", "transactional": True, "non_transactional": True}]}
    async with relay.api() as client:
        results(await client.put("/suppression-list", json=body))
        entries = results(await client.get("/suppression-list/a@b.example"))
        assert [entry["type"] for entry in entries] == ["non_transactional", "transactional"]
        left = await client.request("DELETE", "/suppression-list/a@b.example", json={"type": "transactional"})
        assert left.status_code == 204
        (entry,) = results(await client.get("/suppression-list/a@b.example"))
        assert entry["type"] == "non_transactional"


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        pytest.param("/a@b.example", {}, NO_TYPE, id="no type"),
        pytest.param("/a@b.example", {"transactional": False}, NO_TYPE, id="flags off"),
        pytest.param(
            "/a@b.example",
            {"type": "all"},
            "Type must be one of: 'transactional', 'non_transactional'",
            id="bad type",
        ),
        pytest.param(
            "/a@b.example",
            {"type": ["transactional"]},
            "Type must be one of: 'transactional', 'non_transactional'",
            id="type of another type",
        ),
        pytest.param("/nobody", NON_TRANSACTIONAL, "Recipient must be a valid email address", id="address"),
        pytest.param(
            "/a@b.example",
            {**NON_TRANSACTIONAL, "description": "x" * 1025},
            "description must be a string of at most 1024 characters",
            id="description",
        ),
        pytest.param("", {}, "recipients must be an array of 1 to 10000 entries", id="no recipients"),
        pytest.param("", {"recipients": []}, "recipients must be an array of 1 to 10000 entries", id="none"),
        pytest.param(
            "", {"recipients": [1] * 10_001}, "recipients must be an array of 1 to 10000 entries", id="many"
        ),
        pytest.param("", {"recipients": ["a@b.example"]}, "each of recipients must be an object", id="text"),
        pytest.param(
            "",
            {
                "recipients": [
                    {"recipient": "ok@b.example", **NON_TRANSACTIONAL},
                    {"recipient": "a@b.example"},
                ]
            },
            NO_TYPE,
            id="one of two",
        ),
        pytest.param(
            "",
            {"recipients": [{"recipient": 5, **NON_TRANSACTIONAL}]},
            "PUT body contains 1 invalid or malformed recipient(s): 5",
            id="a number",
        ),
    ],
)
async def test_what_is_wrong_is_said_and_changes_nothing(
    relay: RelayHarness, path: str, body: Mapping[str, Any], message: str
) -> None:
    async with relay.api() as client:
        assert refusal(await client.put(f"/suppression-list{path}", json=body)) == (400, message)
        assert results(await client.get("/suppression-list")) == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param("types=transactional", "b", id="type"),
        pytest.param("sources=manually added,Bounce Rule", "a b c", id="sources"),
        pytest.param("sources=Compliance", "", id="another source"),
        pytest.param("domain=C.example", "c", id="domain"),
        pytest.param("description=phone", "a", id="description"),
        pytest.param("description=phone&description_strict=false", "a", id="in the description"),
        pytest.param("description=Phone&description_strict=true", "", id="not all of the description"),
        pytest.param("description=By Phone&description_strict=TRUE", "a", id="all of the description"),
        pytest.param("description_strict=true", "a b c", id="no description to be matched"),
        pytest.param("from=2020-01-05T12:00:00Z&to=2036-01-01T00:00:00", "a b c", id="span"),
        pytest.param("to=2020-01-01", "", id="before"),
        pytest.param("per_page=2&page=2", "c", id="page"),
        pytest.param("limit=1", "a", id="limit"),
        pytest.param("per_page=2&page=0&cursor=initial", "a b", id="no page beside a cursor"),
        pytest.param("per_page=2&page=2&cursor=", "a b", id="nor beside an empty one"),
    ],
)
async def test_entries_are_searched(relay: RelayHarness, query: str, found: str) -> None:
    await suppress(relay, "a@b.example", description="By Phone")
    await suppress(relay, "b@b.example", type="transactional")
    await suppress(relay, "c@c.example")
    async with relay.api() as client:
        entries = results(await client.get(f"/suppression-list?{query}"))
    assert " ".join(entry["recipient"][0] for entry in entries) == found


async def test_entries_are_sorted_by_their_last_update(relay: RelayHarness) -> None:
    """Those of one moment by recipient; pages follow each other in that order too."""
    for letter in ("c", "a", "d"):
        await suppress(relay, f"{letter}@b.example")
        relay.clock.advance(seconds=1)
    await suppress(relay, "b@b.example")
    await suppress(relay, "c@b.example", description="changed")

    async def listed(query: str) -> str:
        path, found = f"/suppression-list?{query}", []
        async with relay.api() as client:
            while path:
                page = (await client.get(path)).json()
                assert page["total_count"] == 4
                found += [entry["recipient"][0] for entry in page["results"]]
                path = _next(page).removeprefix("/api/v1")
        return "".join(found)

    for size in (1, 2, 3, 1000):
        assert await listed(f"sort=asc&per_page={size}") == "adbc"
        assert await listed(f"sort=desc&per_page={size}&cursor=initial") == "cbda"
        assert await listed(f"sort=&per_page={size}&cursor=") == "abcd"


async def test_an_internationalised_domain_is_found_in_each_spelling(relay: RelayHarness) -> None:
    await suppress(relay, "a@nümlaut.example")
    await suppress(relay, "b@b.example")
    async with relay.api() as client:
        for domain in ("nümlaut.example", "@NÜMLAUT.example", "xn--nmlaut-3ya.example"):
            (entry,) = results(await client.get("/suppression-list", params={"domain": domain}))
            assert entry["recipient"] == "a@xn--nmlaut-3ya.example"
        await suppress(relay, "c@σασ.example")
        (entry,) = results(await client.get("/suppression-list", params={"domain": "ΣΑΣ.example"}))
        assert entry["recipient"] == f"c@{normalise_domain('σασ.example')}"
        assert results(await client.get("/suppression-list", params={"domain": "σας.example"})) == []


async def test_links_have_the_shape_that_clients_declare(relay: RelayHarness) -> None:
    for letter in "abc":
        await suppress(relay, f"{letter}@b.example")
    seen, path = [], "/suppression-list?cursor=initial&per_page=2"
    async with relay.api() as client:
        assert (await client.get("/suppression-list?cursor=initial")).json()["links"] == []
        while path:
            page = (await client.get(path)).json()
            seen.append([link["rel"] for link in page["links"]])
            first = page["links"][0]["href"]
            path = _next(page).removeprefix("/api/v1")
    assert seen == [["first", "next"], ["first"]]
    assert first == "/api/v1/suppression-list?cursor=initial&per_page=2"


async def test_all_recipients_that_are_none_are_named(relay: RelayHarness) -> None:
    """So that a file of them can be mended in one go."""
    names: list[object] = ["bad1", "ok@x.example", "bad2", {}]
    entries = [{"recipient": name, "type": "transactional"} for name in names]
    async with relay.api() as client:
        answer = await client.put("/suppression-list", json={"recipients": entries})
        assert refusal(answer) == (
            400,
            "PUT body contains 3 invalid or malformed recipient(s): bad1, bad2, {…}",
        )
        many = [{"recipient": f"bad{number}", "type": "transactional"} for number in range(1500)]
        long = refusal(await client.put("/suppression-list", json={"recipients": many}))[1]
        assert long.startswith("PUT body contains 1500 invalid")
        assert long.endswith("bad999, …")


async def test_all_that_is_wrong_with_entries_is_told_and_where(relay: RelayHarness) -> None:
    entries: list[object] = [
        {"recipient": "bad1", "type": "transactional", "description": 5},
        {"recipient": "a@x.example"},
        "b@x.example",
        {"recipient": "bad2", "type": "all", "list_id": "-."},
        {"recipient": "ok@x.example", "type": "transactional"},
    ]
    async with relay.api() as client:
        answer = await client.put("/suppression-list", json={"recipients": entries})
        single = await client.put("/suppression-list/bad", json={"description": 5})
        many = await client.put(
            "/suppression-list", json={"recipients": [{"recipient": "b@c.example"}] * 3000}
        )
        assert (await client.get("/suppression-list")).json()["total_count"] == 0
    told = [(one["message"][:40], one.get("param"), one.get("value")) for one in answer.json()["errors"]]
    assert (answer.status_code, told) == (
        400,
        [
            ("PUT body contains 2 invalid or malformed", None, None),
            ("description must be a string of at most ", "recipients[0]", "bad1"),
            (NO_TYPE, "recipients[1]", "a@x.example"),
            ("each of recipients must be an object", "recipients[2]", "b@x.example"),
            ("list_id must be a string of 1 to 255 let", "recipients[3]", "bad2"),
            ("Type must be one of: 'transactional', 'n", "recipients[3]", "bad2"),
        ],
    )
    assert [one["message"].split()[0] for one in single.json()["errors"]] == [
        "description",
        "Recipient",
        "Must",
    ]
    errors = many.json()["errors"]
    assert errors[99] == {"message": NO_TYPE, "param": "recipients[99]", "value": "b@c.example"}
    assert errors[100:] == [{"message": "2900 more faults are not listed"}]


async def test_pages_by_number_are_followed_by_cursor(relay: RelayHarness) -> None:
    for letter in "abc":
        await suppress(relay, f"{letter}@b.example")
    async with relay.api() as client:
        page = (await client.get("/suppression-list?page=1&per_page=1")).json()
        following = (await client.get(_next(page).removeprefix("/api/v1"))).json()
    assert [entry["recipient"] for entry in following["results"]] == ["b@b.example"]


@pytest.mark.parametrize(
    "query",
    [
        *("types=all", "sources=me", "from=yesterday", "to=9999-12-31T23:59:59-12:00", "per_page=0"),
        *("per_page=10001", "page=0", "page=11", "page=x", "cursor=x", "cursor=WzAsIiIsIiJd"),
        *("cursor=W10", "sort=up", "sort=DESC", "description_strict=yes"),
        "sort=asc&cursor=WzAsIiIsIiIsIiJd",
        f"sort=asc&cursor={encode_cursor([5 * 10**18, 0, '', 'transactional', ''])}",
    ],
)
async def test_a_search_that_makes_no_sense_is_refused(relay: RelayHarness, query: str) -> None:
    async with relay.api() as client:
        assert refusal(await client.get(f"/suppression-list?{query}"))[0] == 400


async def test_an_entry_for_compliance_stays(relay: RelayHarness) -> None:
    now = relay.clock.now()
    entry = Suppression(
        AccountId(1), None, "a@b.example", Kind.NON_TRANSACTIONAL, Source.COMPLIANCE, "", now, now
    )
    await relay.inside.store.suppressions.put([entry])
    async with relay.api() as client:
        answer = await client.delete("/suppression-list/a@b.example")
        assert refusal(answer) == (403, "Recipient could not be removed - Compliance")
    injected = await relay.inject("a@b.example")
    bounce = (await relay.story(injected.message_id))[-1].event
    assert isinstance(bounce, Bounce)
    assert bounce.raw_reason == "554 5.7.1 recipient address was suppressed due to system policy"


async def test_each_subaccount_has_its_own_list(relay: RelayHarness) -> None:
    await suppress(relay, "a@b.example")
    async with relay.api(subaccount=124) as part, relay.api(subaccount=0) as alone, relay.api() as both:
        assert results(await part.get("/suppression-list")) == []
        results(await part.put("/suppression-list/b@b.example", json=NON_TRANSACTIONAL))
        assert [entry["subaccount_id"] for entry in results(await part.get("/suppression-list"))] == ["124"]
        assert [entry["recipient"] for entry in results(await alone.get("/suppression-list"))] == [
            "a@b.example"
        ]
        assert len(results(await both.get("/suppression-list"))) == 2
        assert (await both.delete("/suppression-list/b@b.example")).status_code == 404
        assert (await part.delete("/suppression-list/b@b.example")).status_code == 204


async def test_another_accounts_list_is_not_there(relay: RelayHarness) -> None:
    await suppress(relay, "a@b.example")
    async with relay.api(2) as others:
        assert results(await others.get("/suppression-list")) == []
        assert (await others.get("/suppression-list/a@b.example")).status_code == 404
        assert (await others.delete("/suppression-list/a@b.example")).status_code == 404
        await suppress(relay, "a@b.example", account=2, description="theirs")
    async with relay.api(1) as own:
        assert results(await own.get("/suppression-list/a@b.example"))[0]["description"] == ""


async def test_the_grant_is_needed(relay: RelayHarness) -> None:
    key = await relay.make_key(grants=["message_events/view"])
    async with relay.api(key=key) as client:
        assert refusal(await client.get("/suppression-list")) == (403, "Forbidden.")


# ── mailing lists ────────────────────────────────────────────────────────────────────────

LISTED = {"a": "news.example.com", "b": "", "c": "Other_1-x.example.com"}


async def _some_on_lists(relay: RelayHarness) -> None:
    for letter, list_id in LISTED.items():
        await suppress(relay, f"{letter}@b.example", list_id=list_id)


async def test_the_list_of_an_entry_is_kept_and_shown_as_it_came(relay: RelayHarness) -> None:
    bulk: list[dict[str, object]] = [
        {"recipient": "a@b.example", "type": "transactional", "list_id": "News.Example.com"},
        {"recipient": "b@b.example", "type": "transactional", "list_id": ""},
        {"recipient": "c@b.example", "type": "transactional", "list_id": None},
    ]
    async with relay.api() as client:
        results(await client.put("/suppression-list", json={"recipients": bulk}))
        results(await client.put("/suppression-list/d@b.example", json={**bulk[0], "list_id": "x"}))
        entries = results(await client.get("/suppression-list"))
    assert [entry.get("list_id", "-") for entry in entries] == ["News.Example.com", "-", "-", "x"]


async def test_a_recipient_has_an_entry_for_each_list_whatever_the_case_of_its_name(
    relay: RelayHarness,
) -> None:
    for number, list_id in enumerate(["", "news.example", "other.example", "NEWS.example"]):
        await suppress(relay, "a@b.example", list_id=list_id, description=str(number))
    async with relay.api() as client:
        shown = (await client.get("/suppression-list/a@b.example")).json()
        pages, path = [], "/suppression-list?per_page=1"
        while path:
            page = (await client.get(path)).json()
            pages += page["results"]
            path = _next(page).removeprefix("/api/v1")
    assert pages == shown["results"]
    assert shown["total_count"] == 3
    told = [(entry.get("list_id", ""), entry["description"]) for entry in shown["results"]]
    assert told == [("", "0"), ("NEWS.example", "3"), ("other.example", "2")]


@pytest.mark.parametrize(
    ("query", "found"),
    [("", "a b c"), ("list_id=NEWS.example.com", "a"), ("list_id=", "b"), ("list_id=no.example", "")],
)
async def test_entries_are_searched_by_list(relay: RelayHarness, query: str, found: str) -> None:
    await _some_on_lists(relay)
    async with relay.api() as client:
        page = (await client.get(f"/suppression-list?{query}")).json()
    assert " ".join(entry["recipient"][0] for entry in page["results"]) == found
    assert page["total_count"] == len(found.split())


@pytest.mark.parametrize(
    ("query", "left"),
    [("?list_id=NEWS.example", ["", "x"]), ("?list_id=", ["news.example", "x"]), ("", [])],
)
async def test_an_entry_is_removed_from_its_list_or_from_all(
    relay: RelayHarness, query: str, left: list[str]
) -> None:
    for list_id in ("", "news.example", "x"):
        await suppress(relay, "a@b.example", list_id=list_id)
    async with relay.api() as client:
        assert (await client.delete(f"/suppression-list/a@b.example{query}")).status_code == 204
        again = await client.delete(f"/suppression-list/a@b.example{query}")
        assert refusal(again) == (404, "Recipient could not be found")
        entries = results(await client.get("/suppression-list"))
    assert [entry.get("list_id", "") for entry in entries] == left


BAD_LISTS: list[object] = [
    *("x" * 256, "a..b", ".a", "a.", "a b", "<news.example>", "ü.example", "a\r\nb", "."),
    *(5, 0, False, True, ["news.example"], {"id": "x"}),
]


@pytest.mark.parametrize("list_id", BAD_LISTS, ids=repr)
async def test_what_is_no_list_is_refused_and_changes_nothing(relay: RelayHarness, list_id: object) -> None:
    good = {"recipient": "ok@b.example", **NON_TRANSACTIONAL}
    async with relay.api() as client:
        for path, body in (
            ("/a@b.example", {**NON_TRANSACTIONAL, "list_id": list_id}),
            ("", {"recipients": [good, {**good, "list_id": list_id}]}),
        ):
            status, message = refusal(await client.put(f"/suppression-list{path}", json=body))
            assert status == 400
            assert message.startswith("list_id must be a string of 1 to 255 letters, digits, hyphens")
        assert results(await client.get("/suppression-list")) == []
        if isinstance(list_id, str):
            for method, path in (("GET", ""), ("DELETE", "/a@b.example")):
                answer = await client.request(method, f"/suppression-list{path}", params={"list_id": list_id})
                assert refusal(answer)[0] == 400


async def test_a_list_may_have_a_name_of_255_characters(relay: RelayHarness) -> None:
    await suppress(relay, "a@b.example", list_id="x" * 255)
    async with relay.api() as client:
        (entry,) = results(await client.get("/suppression-list", params={"list_id": "x" * 255}))
    assert entry["list_id"] == "x" * 255


# ── the summary ──────────────────────────────────────────────────────────────────────────

NOTHING = {
    "spam_complaint": 0,
    "list_unsubscribe": 0,
    "bounce_rule": 0,
    "unsubscribe_link": 0,
    "manually_added": 0,
    "compliance": 0,
    "total": 0,
}


async def test_the_summary_counts_entries_by_source(relay: RelayHarness) -> None:
    now, put = relay.clock.now(), relay.inside.store.suppressions.put
    for number, source in enumerate(Source, 1):
        await put(
            [
                Suppression(
                    AccountId(1),
                    None,
                    f"r{index}-{number}@b.example",
                    Kind.TRANSACTIONAL,
                    source,
                    "",
                    now,
                    now,
                )
                for index in range(number)
            ]
        )
    async with relay.api() as client:
        assert results(await client.get("/suppression-list/summary")) == {
            "spam_complaint": 1,
            "list_unsubscribe": 2,
            "bounce_rule": 3,
            "unsubscribe_link": 4,
            "manually_added": 5,
            "compliance": 6,
            "total": 21,
        }
        assert results(await client.get("/suppression-list/summary/"))["total"] == 21
    async with relay.api(2) as others:
        assert results(await others.get("/suppression-list/summary")) == NOTHING


async def test_the_summary_is_of_the_list_that_the_header_names(relay: RelayHarness) -> None:
    await suppress(relay, "a@b.example")
    async with relay.api(subaccount=124) as part, relay.api(subaccount=0) as alone, relay.api() as both:
        for letter in "bc":
            results(await part.put(f"/suppression-list/{letter}@b.example", json=NON_TRANSACTIONAL))
        found = [results(await api.get("/suppression-list/summary")) for api in (part, alone, both)]
    assert found == [{**NOTHING, "manually_added": number, "total": number} for number in (2, 1, 3)]


async def test_a_mailbox_called_summary_is_a_recipient_like_any(relay: RelayHarness) -> None:
    await suppress(relay, "summary@b.example")
    async with relay.api() as client:
        (entry,) = results(await client.get("/suppression-list/summary@b.example"))
        assert entry["recipient"] == "summary@b.example"
        bare = await client.put("/suppression-list/summary", json=NON_TRANSACTIONAL)
        assert refusal(bare) == (400, "Recipient must be a valid email address")
        gone = await client.delete("/suppression-list/summary")
        assert refusal(gone) == (404, "Recipient could not be found")
    key = await relay.make_key(grants=["message_events/view"])
    async with relay.api(key=key) as client:
        assert refusal(await client.get("/suppression-list/summary")) == (403, "Forbidden.")


# ── its effect ───────────────────────────────────────────────────────────────────────────


async def test_suppressed_recipients_are_accepted_and_bounce(relay: RelayHarness) -> None:
    """250, then `injection` and `bounce`, and no delivery; the others get their mail."""
    await suppress(relay, "bob@b.example")
    injected = await relay.inject(["BOB@B.example", "eve@b.example"], msys={"cc": ["bob@b.example"]})
    await relay.quiet()
    assert [attempt.recipient for attempt in relay.mta.attempts] == ["eve@b.example"]
    told = await relay.inside.store.events.of_transmission(injected.transmission_id)
    bounces = [one.event for one in told if isinstance(one.event, Bounce)]
    assert len([one for one in told if isinstance(one.event, Injection)]) == 3
    assert {bounce.about.rcpt_to for bounce in bounces} == {"BOB@B.example", "bob@b.example"}
    for bounce in bounces:
        assert (bounce.raw_reason, bounce.bounce_class, bounce.error_code) == (SUPPRESSED, 25, 554)
        assert bounce.about.sending_ip == "127.0.0.14"


async def test_mail_to_nobody_else_is_accepted_too(relay: RelayHarness) -> None:
    await suppress(relay, "bob@b.example")
    injected = await relay.inject("bob@b.example")
    assert await relay.quiet() == []
    assert [type(one.event).__name__ for one in await relay.story(injected.message_id)] == [
        "Injection",
        "Bounce",
    ]
    assert len(relay.mta.attempts) == 0


@pytest.mark.parametrize(
    ("listed", "options", "account", "is_delivered"),
    [
        pytest.param("non_transactional", {}, 1, False, id="marketing, listed for marketing"),
        pytest.param("non_transactional", {"transactional": True}, 1, True, id="a receipt"),
        pytest.param("transactional", {"transactional": True}, 1, False, id="a receipt, listed for receipts"),
        pytest.param("transactional", {}, 1, True, id="marketing, listed for receipts"),
        pytest.param("non_transactional", {"skip_suppression": True}, 1, False, id="self-serve may not skip"),
        pytest.param("non_transactional", {"skip_suppression": True}, 3, True, id="Enterprise may skip"),
        pytest.param("non_transactional", {}, 3, False, id="Enterprise does not skip unasked"),
    ],
)
async def test_the_list_stops_mail_of_its_kind(
    relay: RelayHarness, listed: str, options: dict[str, bool], account: int, is_delivered: bool
) -> None:
    await suppress(relay, "bob@b.example", account, type=listed)
    await relay.inject("bob@b.example", account=account, msys={"options": options})
    await relay.quiet()
    assert len(relay.mta.attempts) == is_delivered


async def test_an_entry_of_a_mailing_list_stops_mail_as_any(relay: RelayHarness) -> None:
    await suppress(relay, "bob@b.example", list_id="news.example")
    injected = await relay.inject(["bob@b.example", "eve@b.example"])
    await relay.quiet()
    assert [attempt.recipient for attempt in relay.mta.attempts] == ["eve@b.example"]
    told = await relay.inside.store.events.of_transmission(injected.transmission_id)
    assert [one.event.raw_reason for one in told if isinstance(one.event, Bounce)] == [SUPPRESSED]


async def test_lists_of_others_stop_nothing(relay: RelayHarness) -> None:
    """Of another account, of the account for a subaccount's mail, and the other way round."""
    await suppress(relay, "bob@b.example", 2)
    async with relay.api(subaccount=124) as part:
        results(await part.put("/suppression-list/bob@b.example", json=NON_TRANSACTIONAL))
    await relay.inject("bob@b.example")
    await relay.inject("bob@b.example", subaccount=124)
    await relay.quiet()
    assert len(relay.mta.attempts) == 1


async def test_a_hard_bounce_suppresses_and_a_removal_ends_it(relay: RelayHarness) -> None:
    relay.mta.answer("bob@b.example", "550 5.1.1 no such user")
    await relay.inject("Bob@b.example")
    await relay.quiet()
    async with relay.api() as client:
        entries = results(await client.get("/suppression-list/bob@b.example"))
        assert {(entry["source"], entry["type"]) for entry in entries} == {
            ("Bounce Rule", "transactional"),
            ("Bounce Rule", "non_transactional"),
        }
        assert json.dumps(entries).count("5.1.1 no such user") == 2
        second = await relay.inject("bob@b.example")
        bounce = (await relay.story(second.message_id))[-1].event
        assert isinstance(bounce, Bounce)
        assert bounce.raw_reason == SUPPRESSED
        await client.delete("/suppression-list/bob@b.example")
    third = await relay.inject("bob@b.example")
    await relay.quiet()
    bounce = (await relay.story(third.message_id))[-1].event
    assert isinstance(bounce, Bounce)
    assert bounce.raw_reason == "550 5.1.1 no such user"
