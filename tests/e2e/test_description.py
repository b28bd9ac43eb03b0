"""/api/openapi.json is true: schemathesis asks for what it says, and for what it forbids."""

import asyncio
import sys
from pathlib import Path

import pytest

from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.lab import WITH_API

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)
"""All but those that want every rule of the API written as a JSON schema."""


@pytest.mark.timeout(240)
async def test_the_api_answers_as_its_description_says(tmp_path: Path, mta: FakeMta) -> None:
    http = {"listen": "127.0.0.1:0", "requests_per_second": 100_000}
    async with RelayHarness(tmp_path, mta, settings={**WITH_API, "http": http}) as relay:
        key = await relay.make_key()
        command = [sys.executable, "-m", "schemathesis.cli", "run", "--seed", "1", "--no-color"]
        command += [f"{relay.inside.http_url}/api/openapi.json", "-H", f"Authorization: {key}"]
        command += ["--checks", ",".join(CHECKS), "--max-examples", "5", "--phases", "coverage,fuzzing"]
        # It might revoke the key that it works with.
        command += ["--exclude-path-regex", "api-keys/"]
        child = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=tmp_path
        )
        async with asyncio.timeout(200):
            out, _ = await child.communicate()
    assert child.returncode == 0, out.decode()[-8000:]
