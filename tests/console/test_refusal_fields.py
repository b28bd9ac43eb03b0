"""A refusal is told beside the field that it is about, whatever it is called."""

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from relay.domain import words
from relay.domain.changes import Put
from relay.domain.directory import Pool
from relay.domain.ids import AccountId, PoolId
from tests.console.site import Console

OTHER = "Quite another sentence"


@pytest.fixture(autouse=True)
def _rewritten(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sentence is as it was."""
    rows = {kind: replace(row, says=OTHER, console_says=f"{OTHER}.") for kind, row in words.ROWS.items()}
    monkeypatch.setattr(words, "ROWS", rows)


def told(page: str) -> Mapping[str, str]:
    """What is said beside each field of a page; under "" what is said of the whole form."""
    found = dict(re.findall(r'<p class="error" id="([\w-]+)-error">([^<]*)</p>', page))
    for said in re.findall(r'<div class="problem" role="alert">([^<]*)</div>', page):
        found[""] = said
    return found


POOLS = "/account/ip-pools"


@pytest.mark.parametrize(
    ("path", "form", "field"),
    [
        (f"{POOLS}/create", {"name": "x" * 21}, "name"),
        (f"{POOLS}/create", {"name": "a/b"}, "name"),
        (f"{POOLS}/create", {"name": "Marketing"}, "name"),
        (f"{POOLS}/create", {"name": "Default"}, "name"),
        (f"{POOLS}/create", {"name": "News", "overflow": "nowhere"}, "overflow"),
        (f"{POOLS}/create", {"name": "News", "overflow": "spare"}, "overflow"),
        (f"{POOLS}/create", {"name": "News", "signing_domain": "nobody.test"}, "signing_domain"),
        (f"{POOLS}/create", {"name": "News", "ips": "192.0.2.200"}, ""),
        (f"{POOLS}/edit/marketing", {"name": "a/b"}, "name"),
        (f"{POOLS}/edit/marketing", {"name": "Marketing", "overflow": "marketing"}, "overflow"),
        (f"{POOLS}/edit/marketing", {"name": "Marketing", "overflow": "quiet"}, "overflow"),
        (f"{POOLS}/edit/marketing", {"name": "Marketing", "signing_domain": "nobody.test"}, "signing_domain"),
    ],
)
async def test_the_field_is_found_by_what_the_refusal_is_about(
    console: Console, path: str, form: Mapping[str, str], field: str
) -> None:
    spare = Pool(AccountId(1), PoolId("spare"), "Spare", overflow_pool="receipts")
    over = Pool(AccountId(1), PoolId("over"), "Over", overflow_pool="marketing")
    await console.relay.inside.directory.apply([Put(spare), Put(over)], "test")
    async with console.client() as client:
        answer = await client.post(path, form)
    assert answer.status_code == 422
    assert told(answer.text) == {field: f"{OTHER}."}
