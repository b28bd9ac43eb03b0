"""`/account`."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relay.domain.directory import Plan
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.lab import WITH_API
from tests.support.rest import refusal, results

OFF = dict.fromkeys(
    (
        "smtp_tracking_default",
        "rest_tracking_default",
        "transactional_default",
        "transactional_unsub",
        "initial_open_pixel_tracking",
        "click_tracking",
    ),
    False,
)


async def test_the_account_is_shown_with_its_plan(relay: RelayHarness) -> None:
    async with relay.api() as api:
        assert results(await api.get("/account?include=usage")) == {
            "customer_id": 1,
            "company_name": "Acme",
            "status": "active",
            "service_level": "standard",
            "tfa_required": False,
            "subscription": {
                "code": "self_serve",
                "name": "Self serve",
                "self_serve": True,
                "type": "default",
            },
            "options": OFF,
        }


@pytest.mark.parametrize(
    ("account", "code", "level", "kind"),
    [
        pytest.param(3, "ent1", "enterprise", "manual", id="Enterprise"),
        pytest.param(5, "free", "standard", "default", id="free"),
        pytest.param(6, "manual", "standard", "manual", id="manual"),
    ],
)
async def test_clients_recognise_the_plan_class(
    relay: RelayHarness, account: int, code: str, level: str, kind: str
) -> None:
    async with relay.api(account) as api:
        shown = results(await api.get("/account"))
    assert (shown["subscription"]["code"], shown["service_level"]) == (code, level)
    assert shown["subscription"]["type"] == kind


async def test_a_downgrade_that_waits_is_told(relay: RelayHarness) -> None:
    at = datetime(2026, 2, 1, tzinfo=UTC)
    await relay.change_account(1, lambda account: replace(account, next_plan=Plan.FREE, next_plan_at=at))
    async with relay.api() as api:
        pending = results(await api.get("/account"))["pending_subscription"]
    assert pending == {"code": "free", "name": "Free", "effective_date": "2026-02-01T00:00:00+00:00"}


async def test_the_account_is_renamed(relay: RelayHarness) -> None:
    async with relay.api() as api:
        body = {"company_name": "Acme & Co", "tfa_required": False, "options": OFF, "unknown": 1}
        assert results(await api.put("/account", json=body)) == {"message": "Account has been updated"}
        assert results(await api.get("/account"))["company_name"] == "Acme & Co"
        assert results(await api.put("/account", json={})) == {"message": "Account has been updated"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(
            {"company_name": ""},
            "company_name must be a string of 1 to 64 printable characters",
            id="no name",
        ),
        pytest.param(
            {"tfa_required": True}, "tfa_required is not available on this installation.", id="two factors"
        ),
        pytest.param({"tfa_required": 0}, "tfa_required must be a boolean", id="no boolean"),
        pytest.param(
            {"options": {"click_tracking": True, "transactional_default": True}},
            "options are not available on this installation.",
            id="an option",
        ),
        pytest.param(
            {"options": {"click_tracking": 1}},
            "options.click_tracking must be a boolean",
            id="an option that is no boolean",
        ),
        pytest.param({"options": []}, "options must be an object", id="options that are none"),
    ],
)
async def test_nothing_is_accepted_that_has_no_effect(
    relay: RelayHarness, body: dict[str, object], message: str
) -> None:
    async with relay.api() as api:
        assert refusal(await api.put("/account", json={"company_name": "New", **body})) == (400, message)
        assert results(await api.get("/account"))["company_name"] == "Acme"


async def test_tracking_options_are_kept_and_shown_and_change_no_mail(relay: RelayHarness) -> None:
    asked = {"smtp_tracking_default": True, "click_tracking": True, "rest_tracking_default": False}
    async with relay.api() as api:
        answer = await api.put("/account", json={"options": asked})
        assert answer.headers["X-Relay-Notice"].endswith("not available on this installation")
        assert results(await api.get("/account"))["options"] == {**OFF, **asked}
        answer = await api.put("/account", json={"company_name": "B", "options": {"click_tracking": False}})
        assert "X-Relay-Notice" not in answer.headers
        await relay.restart()
    async with relay.api() as api:
        shown = results(await api.get("/account"))
        assert shown["company_name"] == "B"
        assert shown["options"] == {**OFF, "smtp_tracking_default": True}


async def test_where_tracking_is_refused_its_options_are_too(tmp_path: Path, mta: FakeMta) -> None:
    settings = {**WITH_API, "tracking": {"when_off": "refuse"}}
    async with RelayHarness(tmp_path, mta, settings=settings) as relay, relay.api() as api:
        answer = await api.put("/account", json={"options": {"click_tracking": True}})
        assert refusal(answer) == (400, "options are not available on this installation.")
        assert (await api.put("/account", json={"options": OFF})).status_code == 200
