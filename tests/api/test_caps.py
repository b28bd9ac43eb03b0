"""`[limits] account_*`: what an account may have, and that operators are not bound."""

import pytest

from relay.testing.harness import RelayHarness
from relay.testing.lab import WITH_API
from tests.support.rest import refusal, results

MADE = {
    "/api-keys": ({"label": "x", "grants": ["account/view"]}, "keys", "API keys"),
    "/ip-pools": ({"name": "Made Here"}, "pools", "IP pools"),
    "/subaccounts": ({"name": "x", "setup_api_key": False}, "subaccounts", "subaccounts"),
    "/sending-domains": ({"domain": "made.test"}, "domains", "sending domains"),
}


@pytest.fixture
def relay_settings() -> dict[str, dict[str, object]]:
    caps = {f"account_{name}": 1 for _, name, _ in MADE.values()}
    return {**{name: dict(values) for name, values in WITH_API.items()}, "limits": dict(caps)}


@pytest.mark.parametrize("path", MADE)
async def test_over_its_cap_an_account_makes_none_and_an_operator_does(
    relay: RelayHarness, path: str
) -> None:
    """What is there already, more than one of each, stays."""
    body, _, what = MADE[path]
    own, operator = await relay.make_key(), await relay.make_key(is_operator=True)
    async with relay.api(key=own) as api:
        if path == "/sending-domains":
            results(await api.post(path, json={"domain": "first.test"}))
        before = relay.inside.directory.snapshot
        assert refusal(await api.post(path, json=body)) == (400, f"You can have at most 1 {what}.")
        assert relay.inside.directory.snapshot.revision == before.revision
    async with relay.api(key=operator) as api:
        results(await api.post(path, json=body))
