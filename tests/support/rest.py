"""What REST answers look like, for short tests."""

from datetime import timedelta
from typing import Any

import httpx

from relay.testing.harness import RelayHarness


def results(answer: httpx.Response) -> Any:
    """What was asked for, of an answer that is 200."""
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Status and message of a refusal with one problem, in SparkPost's shape and no other."""
    body = answer.json()
    assert set(body) == {"errors"}, body
    (problem,) = body["errors"]
    assert set(problem) <= {"message", "description", "code", "param", "value"}
    return answer.status_code, problem["message"]


def described(answer: httpx.Response) -> str:
    """The description of a refusal with one problem; empty: it has none."""
    (problem,) = answer.json()["errors"]
    return str(problem.get("description", ""))


async def furnish(
    relay: RelayHarness, account: int = 1, named: str = "acme", subaccount: int | None = None
) -> dict[str, str]:
    """An object of each kind, made by the account or its subaccount: parameters of paths by name.

    named is part of the names of those that are made here; pool, IP and subaccount are of the lab.
    """
    start = relay.clock.now() + timedelta(days=1)
    later = {
        "campaign_id": f"{named}-later",
        "content": {"from": f"news@{named}.test", "subject": f"Hello from {named}", "text": "Hello."},
        "recipients": [{"address": f"bob@{named}.example"}, {"address": f"eve@{named}.example"}],
        "options": {"start_time": start.isoformat(timespec="seconds")},
    }
    async with relay.api(account) as api:
        invoice = results(await api.get("/billing/invoices"))[0]["id"]
    async with relay.api(account, subaccount=subaccount) as api:
        results(await api.put(f"/suppression-list/joe@{named}.example", json={"type": "transactional"}))
        results(await api.post("/sending-domains", json={"domain": f"{named}.test"}))
        spare = {"label": f"{named} spare", "grants": ["message_events/view"]}
        return {
            "pool": "receipts",
            "external_ip": "127.0.0.13",
            "subaccount": "124",
            "key": results(await api.post("/api-keys", json=spare))["id"],
            "invoice": invoice,
            "domain": f"{named}.test",
            "recipient": f"joe@{named}.example",
            "id": results(await api.post("/transmissions", json=later))["id"],
        }


def operations(relay: RelayHarness) -> list[tuple[str, str]]:
    """Method and path of all that the application describes; of /api/v1 without that."""
    app: Any = relay.inside.http_app
    return [
        (method.upper(), path.removeprefix("/api/v1"))
        for path, found in app.openapi()["paths"].items()
        for method in found
    ]


def takes_body(relay: RelayHarness, *, needs_one: bool = False) -> list[tuple[str, str]]:
    """Those operations that are described with a body. needs_one: not those that can do without."""
    app: Any = relay.inside.http_app
    paths = app.openapi()["paths"]
    return [
        (method, path)
        for method, path in operations(relay)
        if (body := paths.get(f"/api/v1{path}", {}).get(method.lower(), {}).get("requestBody"))
        and (body["required"] or not needs_one)
    ]
