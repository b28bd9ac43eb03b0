"""What becomes of sending domains with time, and by a directory file."""

from dataclasses import replace
from datetime import timedelta

import pytest

from relay.domain.changes import Put, Remove
from relay.domain.directory import Account, Check, DkimKey, Origin, Plan, SendingDomain, Snapshot
from relay.domain.ids import SubaccountId
from relay.process.directory.changes import changes_to
from relay.process.directory.export import export
from relay.resources.sending_domains.rules import UNVERIFIED_FOR, remove_expired
from tests.support.mail import ACCOUNT, NOW

OWNER = Account(ACCOUNT, "Acme", Plan.SELF_SERVE, require_sending_domain=True)
LIVE = SendingDomain(
    ACCOUNT, "acme.test", origin=Origin.LIVE, dkim=DkimKey("s", "PUBLIC", "PRIVATE"), created=NOW
)
VALID = replace(LIVE, dkim_status=Check.VALID)


def snapshot_with(entry: SendingDomain) -> Snapshot:
    return Snapshot(accounts={ACCOUNT: OWNER}, domains={(ACCOUNT, entry.domain): entry})


@pytest.mark.parametrize(
    ("entry", "age", "goes"),
    [
        pytest.param(LIVE, UNVERIFIED_FOR, True, id="two weeks unverified"),
        pytest.param(LIVE, UNVERIFIED_FOR - timedelta(seconds=1), False, id="not yet two weeks"),
        pytest.param(VALID, 2 * UNVERIFIED_FOR, False, id="verified"),
        pytest.param(replace(LIVE, origin=Origin.FILE), 2 * UNVERIFIED_FOR, False, id="of the file"),
        pytest.param(replace(LIVE, created=None), 2 * UNVERIFIED_FOR, False, id="of unknown age"),
    ],
)
def test_unverified_domains_are_forgotten(entry: SendingDomain, age: timedelta, goes: bool) -> None:
    assert remove_expired(snapshot_with(entry), NOW + age) == ((Remove(entry),) if goes else ())


def test_a_file_that_lists_a_domain_keeps_its_key() -> None:
    listed = SendingDomain(ACCOUNT, "acme.test", SubaccountId(3))
    difference = changes_to(snapshot_with(VALID), [OWNER, listed], ())
    assert difference.changes == (Put(replace(VALID, subaccount=SubaccountId(3), origin=Origin.FILE)),)


def test_an_export_lists_what_is_verified_and_no_key() -> None:
    text = export(snapshot_with(VALID))
    assert 'domain = "acme.test"' in text
    assert "# DKIM key s, which is not in this file" in text
    assert "PRIVATE" not in text
    assert "acme.test" not in export(snapshot_with(LIVE))
