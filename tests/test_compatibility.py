"""`docs/sparkpost-compatibility.md` says what the application does."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from relay.testing.harness import RelayHarness
from relay.testing.lab import WITH_API
from tests.support.rest import furnish, operations

DOCUMENT = Path(__file__).parent.parent / "docs/sparkpost-compatibility.md"
BASES: Mapping[str, dict[str, Any]] = {
    "POST /ip-pools": {"name": "News #"},
    "PUT /ip-pools/{pool}": {"name": "News"},
    "POST /subaccounts": {"name": "New", "setup_api_key": False},
    "POST /api-keys": {"label": "k", "grants": ["account/view"]},
    "POST /transmissions": {
        "content": {"from": "a@acme.test", "subject": "Hello", "text": "Hello."},
        "recipients": [{"address": "bob@b.example"}],
    },
    "POST /utils/content-previewer": {
        "content": {"from": "a@acme.test", "subject": "Hello", "text": "Hello."}
    },
    "POST /sending-domains": {"domain": "new#.test"},
    "PUT /suppression-list": {"recipients": [{"recipient": "bob@b.example", "type": "transactional"}]},
    "PUT /suppression-list/{recipient}": {"type": "transactional"},
}
"""Bodies that are taken, # being another number each time; `{}` for the others."""


class Row(NamedTuple):
    endpoint: str
    field: str
    here: str
    example: str
    notes: str


def _rows() -> list[Row]:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")
    ]
    return [Row(one[0].strip("`"), one[1].strip("`"), one[2], one[3].strip("`"), one[4]) for one in cells]


ROWS = _rows()
TRIED = [row for row in ROWS if row.example]


@pytest.fixture
def relay_settings() -> dict[str, dict[str, object]]:
    return {name: dict(values) for name, values in WITH_API.items()}


def test_each_row_stands_once_and_says_one_of_three_words() -> None:
    assert [row for row, count in Counter(one[:2] for one in ROWS).items() if count > 1] == []
    assert {row.here for row in ROWS} == {"works", "ignored", "refused"}


def test_each_field_that_is_ignored_or_refused_has_an_example_and_no_other_has() -> None:
    for row in ROWS:
        assert bool(row.example) == (row.field != "" and row.here != "works"), row


async def test_the_endpoints_are_those_of_the_application(relay: RelayHarness) -> None:
    there = {f"{method} {path}" for method, path in operations(relay)} - {"GET /healthz", "GET /readyz"}
    assert {row.endpoint for row in ROWS if not row.field and row.here == "works"} == there
    assert {row.endpoint for row in ROWS if row.field} <= there


async def test_an_endpoint_that_is_not_here_is_answered_as_it_says(relay: RelayHarness) -> None:
    async with relay.api() as api:
        for row in ROWS:
            if row.here == "refused" and not row.field:
                method, path = row.endpoint.split(" ")
                assert str((await api.request(method, path)).status_code) == row.notes.partition(";")[0], row


async def test_no_field_is_left_out_and_none_is_said_to_work_that_is_not_there(relay: RelayHarness) -> None:
    app: Any = relay.inside.http_app
    described = app.openapi()
    for method, path in operations(relay):
        operation = described["paths"].get(f"/api/v1{path}", {}).get(method.lower())
        if operation is None:
            continue
        listed = {row.field: row.here for row in ROWS if row.endpoint == f"{method} {path}" and row.field}
        fields = set(_fields_of(operation, described["components"]["schemas"]))
        assert fields <= set(listed), (method, path)
        assert {field for field, here in listed.items() if here == "works"} <= fields, (method, path)


async def test_what_is_ignored_is_taken_and_what_is_refused_is_told_so(relay: RelayHarness) -> None:
    known = await furnish(relay)
    async with relay.api() as api:
        for number, row in enumerate(TRIED):
            answer = await _ask(api, row, known, number)
            if row.here == "ignored":
                assert answer.status_code == 200, (row, answer.text)
                continue
            status, sentence = re.findall(r"^(\d{3}) `(.+?)`", row.notes)[0]
            (problem,) = answer.json()["errors"]
            said = problem.get("description", problem["message"])
            assert (answer.status_code, said) == (int(status), sentence), row


async def _ask(api: httpx.AsyncClient, row: Row, known: Mapping[str, str], number: int) -> httpx.Response:
    method, path = row.endpoint.split(" ")
    value = json.loads(row.example)
    if row.field.startswith("?"):
        return await api.request(method, path.format(**known), params={row.field[1:]: value})
    body: Any = json.loads(json.dumps(BASES.get(row.endpoint, {})).replace("#", str(number)))
    place = body
    *outer, last = row.field.split(".")
    for name in outer:
        if name.endswith("[]"):
            place = place[name.removesuffix("[]")][0]
        else:
            if not isinstance(place.get(name), dict):
                place[name] = {}
            place = place[name]
    place[last] = value
    return await api.request(method, path.format(**known), json=body)


def _fields_of(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    """As the document names them."""
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "query":
            yield f"?{parameter['name']}"
        elif parameter["in"] == "header":
            yield f"{parameter['name']}:"
    content = operation.get("requestBody", {}).get("content", {})
    if content:
        yield from _fields(content["application/json"]["schema"], schemas, "")


def _fields(schema: Mapping[str, Any], schemas: Mapping[str, Any], name: str) -> Iterator[str]:
    """The fields below, and name itself where something else than an object with fields can stand."""
    if "$ref" in schema:
        yield from _fields(schemas[schema["$ref"].rpartition("/")[2]], schemas, name)
    elif "anyOf" in schema:
        for option in schema["anyOf"]:
            yield from _fields(option, schemas, name)
    elif "properties" in schema:
        for field, found in schema["properties"].items():
            yield from _fields(found, schemas, f"{name}.{field}".removeprefix("."))
    elif schema.get("type") == "array" and "$ref" in schema["items"]:
        yield from _fields(schema["items"], schemas, f"{name}[]")
    elif schema.get("type") != "null":
        yield name
