"""The directory that a test relay starts with, and the two configuration files written from it."""

import json
import re
import tomllib
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from relay.config.problems import ConfigError, line
from relay.domain.directory import GRANTS

LAB = """
# Acme: self-serve, a filled default pool, two filled pools and an empty one.
[[account]]
id = 1
name = "Acme"
plan = "self_serve"
[[account.pool]]
name = "Marketing"
[[account.pool]]
name = "Receipts"
[[account.pool]]
name = "Quiet"
[[account.subaccount]]
id = 123
name = "Joe's Garage"
ip_pool = "marketing"
[[account.subaccount]]
id = 124
name = "Unbound"
[[account.subaccount]]
id = 125
name = "Bound to the empty pool"
ip_pool = "quiet"
[[account.api_key]]
label = "account"
key = "a100000000000000000000000000000000000001"
grants = ["smtp/inject"]
[[account.api_key]]
label = "rest"
key = "c100000000000000000000000000000000000001"
grants = REST_GRANTS
[[account.api_key]]
label = "subaccount"
key = "a100000000000000000000000000000000000123"
grants = ["smtp/inject"]
subaccount = 123

# Birch: self-serve, an empty default pool.
[[account]]
id = 2
name = "Birch"
plan = "self_serve"
[[account.pool]]
name = "News"
[[account.api_key]]
label = "account"
key = "a200000000000000000000000000000000000002"
grants = ["smtp/inject"]
[[account.api_key]]
label = "rest"
key = "c200000000000000000000000000000000000002"
grants = REST_GRANTS

# Cedar: Enterprise, a filled default pool.
[[account]]
id = 3
name = "Cedar"
plan = "enterprise"
[[account.pool]]
name = "Promo"
[[account.api_key]]
label = "account"
key = "a300000000000000000000000000000000000003"
grants = ["smtp/inject"]
[[account.api_key]]
label = "rest"
key = "c300000000000000000000000000000000000003"
grants = REST_GRANTS

# Dogwood: Enterprise, an empty default pool.
[[account]]
id = 4
name = "Dogwood"
plan = "enterprise"
[[account.pool]]
name = "Alerts"
[[account.pool]]
name = "Quiet"
[[account.api_key]]
label = "account"
key = "a400000000000000000000000000000000000004"
grants = ["smtp/inject"]
[[account.api_key]]
label = "rest"
key = "c400000000000000000000000000000000000004"
grants = REST_GRANTS

# Elm: free, no dedicated IP anywhere.
[[account]]
id = 5
name = "Elm"
plan = "free"
[[account.api_key]]
label = "account"
key = "a500000000000000000000000000000000000005"
grants = ["smtp/inject"]
[[account.api_key]]
label = "rest"
key = "c500000000000000000000000000000000000005"
grants = REST_GRANTS

# Fir: manually billed, an empty default pool.
[[account]]
id = 6
name = "Fir"
plan = "manual"
[[account.pool]]
name = "Letters"
[[account.api_key]]
label = "account"
key = "a600000000000000000000000000000000000006"
grants = ["smtp/inject"]
[[account.api_key]]
label = "rest"
key = "c600000000000000000000000000000000000006"
grants = REST_GRANTS
""".replace("REST_GRANTS", json.dumps(sorted(GRANTS - {"smtp/inject"})))
"""Accounts, pools, subaccounts and keys of the lab; `LAB_IPS` says where its sending IPs stand."""

LAB_IPS: Mapping[tuple[int, str], tuple[str, ...]] = {
    (1, "marketing"): ("127.0.0.11", "127.0.0.12"),
    (1, "receipts"): ("127.0.0.13",),
    (1, "default"): ("127.0.0.14",),
    (2, "news"): ("127.0.0.21",),
    (3, "default"): ("127.0.0.31",),
    (3, "promo"): ("127.0.0.32",),
    (4, "alerts"): ("127.0.0.41",),
    (6, "letters"): ("127.0.0.61",),
}
SHARED_IPS = ("127.0.0.91", "127.0.0.92")


_SAYABLE = (
    "what TOML can say: text, a path, a number, true or false, a list or a table; leave the key out for its"
    " default"
)

WITH_API: Mapping[str, Mapping[str, object]] = {"": {"roles": ["smtp", "api", "egress"]}}
"""Settings of a test relay that answers HTTP too."""


def lab_directory(
    ips: Mapping[tuple[int, str], tuple[str, ...]] = LAB_IPS, shared: tuple[str, ...] = SHARED_IPS
) -> str:
    """The lab as the text of a directory.toml, with the sending IPs where you want them."""
    entries = [
        _sending_ip(address, account=account, pool=pool)
        for (account, pool), members in ips.items()
        for address in members
    ]
    entries += [_sending_ip(address, shared=True) for address in shared]
    return "\n".join(entries) + LAB


def write_files(
    folder: Path,
    directory: str,
    smarthost: str,
    listen: str,
    settings: Mapping[str, Mapping[str, object]],
    http: str = "127.0.0.1:0",
) -> Path:
    """Both files of one relay in folder; returns the path of relay.toml.

    smarthost, listen and http are HOST:PORT. A directory without a route gets one: everything to
    the smarthost, in clear text. settings are sections of relay.toml over the lab's own. Raises
    ConfigError for a value that TOML cannot say.
    """
    if not _has_route(directory):
        directory += f'\n[[route]]\ndomains = ["*"]\nsmarthost = {json.dumps(smarthost)}\ntls = "off"\n'
    (folder / "directory.toml").write_text(directory, encoding="utf-8")
    sections: dict[str, dict[str, object]] = {
        "": {
            "node": "n1",
            "hostname": "relay.test",
            "store": f"sqlite:///{(folder / 'relay.db').absolute()}",
            "roles": ["smtp", "egress"],
            "directory": str((folder / "directory.toml").absolute()),
        },
        "smtp": {"listen": [listen], "auth_without_tls": True},
        "http": {"listen": http},
        "queue": {"first_retry": "20m"},
    }
    for name, values in settings.items():
        if isinstance(values, Mapping):
            sections.setdefault(name, {}).update(values)
        else:  # a key without its section, of which the relay itself will say what it expected
            sections[""][name] = values
    config = folder / "relay.toml"
    _check(config, sections)
    config.write_text(
        "\n".join(_section(name, values) for name, values in sections.items()), encoding="utf-8"
    )
    return config


def lab_key_of(directory: str, account: int, subaccount: int = 0) -> str:
    """The text of the first key of that account, or of that subaccount, which may inject by SMTP.

    Raises LookupError when the directory lists none in clear text.
    """
    accounts: list[dict[str, Any]] = tomllib.loads(directory).get("account", [])
    for entry in accounts:
        for key in entry.get("api_key", []) if entry["id"] == account else []:
            if "smtp/inject" in key["grants"] and key.get("subaccount", 0) == subaccount and "key" in key:
                return str(key["key"])
    raise LookupError(f"the directory lists no smtp/inject key of account {account}, subaccount {subaccount}")


def rest_key_of(directory: str, account: int) -> str:
    """The text of the first key of that account with grants beyond SMTP, else of its first key for SMTP.

    Raises LookupError when the directory lists none in clear text.
    """
    for entry in tomllib.loads(directory).get("account", []):
        for key in entry.get("api_key", []) if entry["id"] == account else []:
            if "ip_pools/manage" in key["grants"] and not key.get("subaccount") and "key" in key:
                return str(key["key"])
    return lab_key_of(directory, account)


def _sending_ip(address: str, **more: object) -> str:
    number = address.rpartition(".")[2]
    values = {"address": address, "hostname": f"mta{number}.relay.test", **more}
    return "[[sending_ip]]\n" + _values(values)


def _section(name: str, values: Mapping[str, object]) -> str:
    return (f"[{name}]\n" if name else "") + _values(values)


def _has_route(directory: str) -> bool:
    """What is no TOML is left as it is, for the relay itself to say where."""
    try:
        return bool(tomllib.loads(directory).get("route"))
    except tomllib.TOMLDecodeError:
        return True


def _values(values: Mapping[str, object]) -> str:
    return "".join(f"{_key(key)} = {_value(value)}\n" for key, value in values.items())


def _key(key: str) -> str:
    """Bare where it can be, so that messages name it as the documents do."""
    return key if re.fullmatch(r"[\w-]+", key, re.ASCII) else json.dumps(key)


def _check(config: Path, sections: Mapping[str, Mapping[str, object]]) -> None:
    """Raises ConfigError with the place of each value that cannot be written."""
    problems = [
        line(config, f"{name}.{key}" if name else str(key), repr(value), _SAYABLE)
        for name, values in sections.items()
        for key, value in values.items()
        if not (isinstance(key, str) and _is_sayable(value))
    ]
    if problems:
        raise ConfigError(tuple(problems))


def _is_sayable(value: object) -> bool:
    match value:
        case str():
            return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
        case float():
            return isfinite(value)
        case Mapping():
            return all(isinstance(key, str) and _is_sayable(inner) for key, inner in value.items())
        case list() | tuple():
            return all(map(_is_sayable, value))
        case _:
            return isinstance(value, int | Path)


def _value(value: object) -> str:
    """TOML writes text, numbers and booleans as JSON does, and tables its own way."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(str(key))} = {_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    # Not by \\u: JSON would write two for a character beyond 16 bits, which TOML does not know.
    return json.dumps(value, default=str, ensure_ascii=False).replace("\x7f", "\\u007f")
