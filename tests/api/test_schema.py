"""The description of the API is true: requests made from it are answered as it says."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from relay.testing.harness import RelayHarness
from tests.support.rest import furnish

EXAMPLES = 8
"""Of each operation: so many requests that fit the description, and so many that do not."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# The same requests in every run.
SETTINGS = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)

Case = schemathesis.Case[Any]
Send = Callable[[Case], httpx.Response]


@pytest.fixture
def relay_settings(relay_settings: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    return {**relay_settings, "http": {"listen": "127.0.0.1:0", "requests_per_second": 1_000_000}}


async def test_what_is_made_from_the_description_is_answered_as_it_says(relay: RelayHarness) -> None:
    app: Any = relay.inside.http_app
    await _check_all(relay, app.openapi(), await furnish(relay))


async def test_a_description_that_leaves_out_a_refusal_is_found_out(relay: RelayHarness) -> None:
    app: Any = relay.inside.http_app
    path = "/api/v1/ip-pools/{pool}"
    operation = app.openapi()["paths"][path]["get"]
    answers = {status: found for status, found in operation["responses"].items() if status != "404"}
    described = {**app.openapi(), "paths": {path: {"get": {**operation, "responses": answers}}}}
    with pytest.raises(FailureGroup, match="404"):
        await _check_all(relay, described, {"pool": "nobodys"})


async def _check_all(relay: RelayHarness, described: dict[str, Any], known: Mapping[str, str]) -> None:
    key, loop = await relay.make_key(is_operator=True), asyncio.get_running_loop()

    def send(case: Case) -> httpx.Response:
        return asyncio.run_coroutine_threadsafe(_answer(relay, key, case), loop).result()

    schema: Any = schemathesis.openapi.from_dict(described)
    for found in schema.get_all_operations():
        operation = found.ok()
        await asyncio.to_thread(_check, operation, GenerationMode.POSITIVE, send, known)
        if operation.body or operation.query:
            await asyncio.to_thread(_check, operation, GenerationMode.NEGATIVE, send, known)


def _check(operation: Any, mode: GenerationMode, send: Send, known: Mapping[str, str]) -> None:
    checks = [*CHECKS, negative_data_rejection]

    @SETTINGS
    @given(case=operation.as_strategy(generation_mode=mode), is_known=st.booleans())
    def each(case: Case, is_known: bool) -> None:
        path = case.meta and case.meta.components.get(ParameterLocation.PATH)
        if is_known and path and path.mode is GenerationMode.POSITIVE:
            case.path_parameters = {name: known[name] for name in case.path_parameters}
        case.validate_response(send(case), checks=checks)

    each()


async def _answer(relay: RelayHarness, key: str, case: Case) -> httpx.Response:
    """In the relay's own loop. Schemathesis itself would write the request by way of `requests`."""
    arguments = case.as_transport_kwargs(base_url="http://relay.test")
    names = ("method", "url", "headers", "params", "json", "data")
    wanted: Any = requests.Request(**{name: arguments.get(name) for name in names}).prepare()
    headers = {**wanted.headers, "Authorization": key}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(relay.inside.http_app)) as api:
        return await api.request(wanted.method, wanted.url, headers=headers, content=wanted.body)
