"""What can be set of a pool can be set at every door: a field that one of them forgot is found here."""

import re
from dataclasses import fields
from importlib.resources import files

import pytest

from relay.domain.directory import Pool
from relay.domain.ids import AccountId
from relay.resources.ip_pools.commands import pools
from relay.resources.ip_pools.file import PoolTable, write_pool
from relay.resources.ip_pools.pages import _PLACES
from relay.resources.ip_pools.rest import PoolBody, PoolShape
from relay.resources.ip_pools.rules import PoolEdit

FIELDS = sorted(field.name for field in fields(PoolEdit))
AT_REST = {"overflow_pool": "auto_warmup_overflow_pool"}
"""As REST and `directory.toml` call it, in SparkPost's words; others are called as they are."""
IN_SHELL = {"overflow_pool": "overflow"}
NOT_ON_PAGES = {"fbl_signing_domain"}
"""Of a second signature, for feedback loops: pages leave it to REST, file and shell."""


def test_what_can_be_set_is_all_that_a_pool_has_but_whose_it_is() -> None:
    assert sorted({field.name for field in fields(Pool)} - {"account", "id", "origin"}) == FIELDS


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_comes_from_rest_and_is_shown_there(field: str) -> None:
    name = AT_REST.get(field, field)
    body = PoolBody.model_validate({"name": "News", name: "x"})
    assert getattr(body.edit, field) == "x"
    assert name in PoolShape.model_fields


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_stands_in_the_file_both_ways(field: str) -> None:
    name, value = AT_REST.get(field, field), "a.test" if field.endswith("domain") else "Letters"
    pool = PoolTable.model_validate({"name": "News"} | {name: value}).to_domain(AccountId(1))
    assert getattr(pool, field) == value
    assert f'{name} = "{value}"' in write_pool(pool, overflows=True)


@pytest.mark.parametrize("field", sorted({*FIELDS} - NOT_ON_PAGES))
def test_a_field_is_typed_on_a_page(field: str) -> None:
    folder = files("relay.resources.ip_pools") / "templates"
    text = "".join((folder / name).read_text() for name in ("create.html", "edit.html", "settings.html"))
    assert re.search(rf'kit\.\w+\(form, "{_PLACES[field]}"', text)


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_is_an_option_in_the_shell(field: str) -> None:
    (create,) = [command.callback for command in pools.registered_commands if command.name == "create"]
    assert create is not None
    assert IN_SHELL.get(field, field) in create.__annotations__
