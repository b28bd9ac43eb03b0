"""New API keys: their text is only their maker's, and a subaccount's first key comes along with it."""

from relay.domain.changes import Put, first_put
from relay.domain.directory import Account, ApiKey, Plan, Snapshot, Status, Subaccount
from relay.domain.ids import AccountId, SubaccountId
from relay.frames.actor import SHELL
from relay.resources.accounts.rules import change_account
from relay.resources.api_keys.rules import hash_key, new_key, with_key
from relay.resources.subaccounts.rules import create_subaccount

ACME = Account(AccountId(1), "Acme", Plan.SELF_SERVE)
HERE = Snapshot(accounts={ACME.id: ACME})


def test_the_directory_gets_the_hash_and_the_first_characters_alone() -> None:
    text, key = new_key(ACME.id, "first", ["smtp/inject"], SubaccountId(7), ["10.0.0.0/8"])
    assert (key.sha256, key.short, len(text)) == (hash_key(text), text[:4], 40)
    assert (key.grants, key.subaccount, key.valid_ips) == (frozenset({"smtp/inject"}), 7, ("10.0.0.0/8",))
    assert text not in repr(key)
    assert new_key(ACME.id, "first", ["smtp/inject"])[0] != text


def test_a_first_key_is_of_the_subaccount_that_is_made_with_it() -> None:
    changes = create_subaccount(HERE, ACME.id, "Garage", SubaccountId(9))
    _, key = new_key(ACME.id, "first", ["smtp/inject"])
    assert with_key(HERE, changes, None, SHELL) == changes
    both = with_key(HERE, changes, key, SHELL)
    assert first_put(both, Subaccount).id == first_put(both, ApiKey).subaccount == 9


def test_an_account_is_renamed_and_suspended_in_one_change() -> None:
    (change,) = change_account(HERE, ACME.id, "Acme Ltd", Status.SUSPENDED)
    assert isinstance(change, Put)
    assert isinstance(change.entry, Account)
    assert (change.entry.name, change.entry.status) == ("Acme Ltd", Status.SUSPENDED)
    assert change_account(HERE, ACME.id) == (Put(ACME),)
