"""Audit lines as people read them: who changed what, and only what is different since."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from relay.domain.ids import from_us
from relay.ports.directory import AuditLine

_DEEDS: Mapping[str, str] = {
    "put": "changed",
    "set": "changed",
    "remove": "removed",
    "cancel": "cancelled",
    "retry": "retried",
}
_KINDS: Mapping[str, str] = {
    "account": "Account",
    "pool": "IP pool",
    "subaccount": "Subaccount",
    "sending_ip": "Sending IP",
    "api_key": "API key",
    "sending_domain": "Sending domain",
    "user": "User",
}
_OF_ACCOUNT = frozenset({"pool", "subaccount", "sending_domain"})
"""Their keys are `account/name`."""
_UNTOLD = frozenset({"id", "origin", "updated", "sha256"})
"""Fields that the title tells, or nobody asks for."""
_MOMENTS = frozenset({"created", "next_plan_at"})
_MOST_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field; before and after are None where it was not there, or had nothing."""

    field: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """One audit line."""

    id: int
    at: datetime
    actor: str
    deed: str
    """added, changed, removed, or what else was done."""
    title: str
    differences: tuple[FieldChange, ...]

    @property
    def text(self) -> str:
        """All of it, in small letters, for whoever searches."""
        told = (f"{one.field} {one.before or ''} {one.after or ''}" for one in self.differences)
        return f"{self.actor} {self.deed} {self.title} {' '.join(told)}".casefold()


def change_of(line: AuditLine) -> Change:
    verb, _, what = line.what.partition(" ")
    kind, _, key = what.partition(" ")
    before, after = _fields(line.before), _fields(line.after)
    deed = _DEEDS.get(verb, verb)
    if verb == "put" and line.before is None:
        deed = "added"
    if verb == "put" and line.after is None:
        # As far as the account that asks can see: another has it now, or nobody.
        deed = "removed"
    title, differences = _title(kind, key, after or before), _differences(kind, before, after)
    return Change(line.id, line.at, line.actor, deed, title, differences)


def _title(kind: str, key: str, fields: Mapping[str, object]) -> str:
    if kind not in _KINDS:
        return f"{kind} {key}".strip().capitalize() if not key else f"{kind.capitalize()} {key}"
    if kind in _OF_ACCOUNT:
        account, _, key = key.partition("/")
        return f"{_KINDS[kind]} {key} of account {account}"
    if kind == "api_key":
        return f"API key {fields.get('label', '')} ({fields.get('short', key[:4])}…)"
    return f"{_KINDS[kind]} {key}"


def _differences(
    kind: str, before: Mapping[str, object], after: Mapping[str, object]
) -> tuple[FieldChange, ...]:
    untold = _UNTOLD | {"account"} if kind in _OF_ACCOUNT else _UNTOLD
    found = []
    for name in dict.fromkeys((*before, *after)):
        old, new = _said(name, before.get(name)), _said(name, after.get(name))
        if old != new and name not in untold:
            found.append(FieldChange(name.replace("_", " "), old, new))
    return tuple(found)


def _fields(text: str | None) -> Mapping[str, object]:
    value = json.loads(text) if text else {}
    return value if isinstance(value, dict) else {"routes": value}


def _said(name: str, value: object) -> str | None:
    """None for nothing."""
    if value in (None, "", [], False):
        return None
    if value is True:
        return "yes"
    if name in _MOMENTS and isinstance(value, int):
        return f"{from_us(value):%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        text = ", ".join(value)
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "…"
