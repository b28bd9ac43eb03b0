"""The REST API by means of the standard library, for programs that have nothing else installed."""

import asyncio
import http.client
import json
from collections.abc import Mapping
from typing import Any

from relay.frames.rest.errors import BASE

TIMEOUT_S = 20


async def ask(
    address: tuple[str, int],
    key: str,
    method: str,
    path: str,
    body: Mapping[str, object] | None = None,
    *,
    subaccount: int = 0,
) -> tuple[int, dict[str, Any]]:
    """Status and body of one request in clear text; path is below /api/v1. Raises OSError."""
    headers = {"Authorization": key, "Content-Type": "application/json"}
    if subaccount:
        headers["X-MSYS-SUBACCOUNT"] = str(subaccount)
    return await asyncio.to_thread(_ask, address, method, BASE + path, body, headers)


def find_sentence(status: int, answer: Mapping[str, Any]) -> str:
    """A refusal as one line: status, code and description of the first error, or what it has of them."""
    (error, *_) = answer.get("errors") or [{}]
    told = (status, error.get("code"), error.get("description") or error.get("message"))
    return " ".join(str(part) for part in told if part)


def _ask(
    address: tuple[str, int],
    method: str,
    path: str,
    body: Mapping[str, object] | None,
    headers: Mapping[str, str],
) -> tuple[int, dict[str, Any]]:
    client = http.client.HTTPConnection(*address, timeout=TIMEOUT_S)
    try:
        client.request(method, path, None if body is None else json.dumps(body), dict(headers))
        answer = client.getresponse()
        content = answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"no answer of HTTP: {error!r}") from error
    finally:
        client.close()
    return answer.status, json.loads(content) if content else {}
