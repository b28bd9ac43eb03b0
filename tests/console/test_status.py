"""People of an account that is not active look and change nothing; operators act for it."""

from dataclasses import replace

import pytest

from relay.domain.directory import Status
from relay.process.mount import VIEWS
from tests.console.site import Console
from tests.console.test_security import concrete

OWN = {"/sign-out", "/profile/password", "/profile/sessions/{id}/end"}
"""What people do to their own sessions."""
SENT = sorted(
    {route.path for pages in VIEWS for route in pages.routes if "POST" in (route.methods or ())}
    - OWN
    - {path for pages in VIEWS for route in pages.routes if (path := route.path).startswith("/sign-in")}
)


@pytest.mark.parametrize("status", [Status.SUSPENDED, Status.TERMINATED])
async def test_every_form_is_refused_but_those_about_oneself(console: Console, status: Status) -> None:
    await console.relay.change_account(1, lambda account: replace(account, status=status))
    before = console.relay.inside.directory.snapshot
    async with console.client("admin") as http:
        for path in SENT:
            answer = await http.post(concrete(path))
            assert answer.status_code == 403, (path, answer.status_code)
        for path in ("/", "/account/api-keys", "/account/ip-pools", "/account/users"):
            assert (await http.get(path)).status_code == 200, path
        refused = await http.post("/account/ip-pools/create", {"name": "News"})
        assert f"The account is {status.value}: you may look, and change nothing." in refused.text
        assert (await http.post("/sign-out")).status_code == 303
    assert console.relay.inside.directory.snapshot is before


@pytest.mark.parametrize("status", [Status.SUSPENDED, Status.TERMINATED])
async def test_an_operator_acts_for_any_account(console: Console, status: Status) -> None:
    await console.relay.change_account(1, lambda account: replace(account, status=status))
    form = {"key_label": "x", "permissions": "all", "allowed_ips": ""}
    async with console.client("operator") as http:
        assert (await http.post("/account/api-keys/create", form)).status_code == 303
