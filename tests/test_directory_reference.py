"""docs/directory.md: every key of the file with its kind and default, and examples that load."""

import re
import tomllib
import typing
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from pydantic.fields import FieldInfo

from relay.config.config import Config
from relay.config.problems import Table
from relay.domain.directory import Plan
from relay.process.directory.file import WholeAccountTable, load_directory
from relay.process.judgments import judge_case
from relay.process.preparation import standing_of
from relay.resources.api_keys.file import ApiKeyTable
from relay.resources.ip_pools.file import PoolTable
from relay.resources.routes.file import RouteTable
from relay.resources.sending_domains.file import SendingDomainTable
from relay.resources.sending_ips.file import SendingIpTable
from relay.resources.subaccounts.file import SubaccountTable

TEXT = (Path(__file__).parent.parent / "docs/directory.md").read_text(encoding="utf-8")
TABLES: dict[str, type[Table]] = {
    "sending_ip": SendingIpTable,
    "account": WholeAccountTable,
    "account.pool": PoolTable,
    "account.subaccount": SubaccountTable,
    "account.api_key": ApiKeyTable,
    "account.sending_domain": SendingDomainTable,
    "route": RouteTable,
}
KINDS = {bool: "true or false", int: "whole number"}


def rows(name: str) -> dict[str, tuple[str, str]]:
    """Kind and default of each key, as the document has them."""
    section = re.split(r"^## ", TEXT, flags=re.MULTILINE)
    (part,) = [part for part in section if part.startswith(f"{name}\n")]
    found = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| \S", part, re.MULTILINE)
    return {key: (kind, default) for key, kind, default in found}


def kind_of(annotation: Any, schema: dict[str, Any]) -> str:
    """As the document calls it. schema: of the value, by pydantic."""
    options = [option for option in typing.get_args(annotation) if option is not type(None)]
    if typing.get_origin(annotation) is tuple:
        item = options[0]
        return "tables" if isinstance(item, type) and issubclass(item, Table) else "list of text"
    bare = options[0] if options else annotation
    bare = getattr(bare, "__supertype__", bare)
    if isinstance(bare, type) and issubclass(bare, Enum):
        *names, last = [f"`{member.value}`" for member in bare]
        return f"{', '.join(names)} or {last}"
    kind = KINDS.get(bare, "text")
    if kind != "whole number":
        return kind
    bounds = {key: value for part in (schema, *schema.get("anyOf", [])) for key, value in part.items()}
    if "maximum" not in bounds:
        return f"{kind} from {bounds['minimum']}"
    return f"{kind}, {bounds['minimum']} to {bounds['maximum']}"


def default_of(field: FieldInfo) -> object:
    """As TOML would say it; None: there is nothing to say."""
    if isinstance(field.default, Enum):
        return field.default.value
    return list(field.default) if isinstance(field.default, tuple) else field.default


@pytest.mark.parametrize("name", TABLES)
def test_the_document_has_each_key_of_the_table_with_its_kind_and_default(name: str) -> None:
    model, told = TABLES[name], rows(name)
    schemas = model.model_json_schema()["properties"]
    assert list(told) == list(model.model_fields)
    for key, field in model.model_fields.items():
        kind, default = told[key]
        assert kind == kind_of(field.annotation, schemas[key]), key
        if field.is_required():
            assert default == "*needed*", key
        elif default == "*none*":
            assert field.default is None, key
        else:
            assert tomllib.loads(f"value = {default.strip('`')}")["value"] == default_of(field), key


def test_all_tables_of_the_file_are_in_the_document() -> None:
    listed = {f"account.{key}" for key in WholeAccountTable.model_fields} & set(TABLES)
    assert listed == {name for name in TABLES if name.startswith("account.")}
    assert "plan" in rows("account")
    assert all(f"`{plan}`" in rows("account")["plan"][0] for plan in Plan)


EXAMPLES = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


def test_there_are_two_examples() -> None:
    assert len(EXAMPLES) == 2


@pytest.mark.parametrize("example", EXAMPLES, ids=["smarthost", "mx"])
def test_an_example_loads_and_nothing_is_wrong_with_it_but_that_its_addresses_are_elsewhere(
    tmp_path: Path, example: str
) -> None:
    file = tmp_path / "directory.toml"
    file.write_text(example, encoding="utf-8")
    config = Config(store=f"sqlite:///{tmp_path}/relay.db", directory=file)
    load_directory(file)
    findings = list(judge_case(standing_of(config, tmp_path / "relay.toml").case))
    assert [
        finding.what.partition(":")[0] for finding in findings if "private addresses" not in finding.what
    ] == ["not on this machine (n1)"]
