"""Entries of the suppression list as REST shows and takes them."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, WithJsonSchema

from relay.domain.address import parse_mailbox
from relay.domain.errors import MalformedAddress, RelayError
from relay.domain.suppression import MAX_DESCRIPTION, Kind, Source, Suppression, WantedEntry, key_of
from relay.frames.rest.request import RequestBody

MOST_ENTRIES = 10_000
_MOST_NAMED = 1000
"""Recipients that are none, in one refusal."""
_MOST_TOLD = 100
"""Other faults of entries."""

MAX_LIST_ID = 255
_LIST_ID = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_BAD_LIST = (
    f"list_id must be a string of 1 to {MAX_LIST_ID} letters, digits, hyphens, underscores and dots, "
    "without a dot at an end or beside another"
)

_NO_TYPE = "Must supply a suppression type"
_BAD_TYPE = "Type must be one of: 'transactional', 'non_transactional'"
_NO_ADDRESS = "Recipient must be a valid email address"

KindName = Annotated[str, WithJsonSchema({"type": "string", "enum": [kind.value for kind in Kind]})]


class BadEntry(RelayError, ValueError):
    """What was sent is no entry; str() is the sentence to answer."""

    def __init__(self, sentence: str, value: object = None, place: str | None = None) -> None:
        super().__init__(sentence)
        self.value, self.place = value, place
        """place: of the entry, among several."""
        self.more: tuple[BadEntry, ...] = ()
        """What else is wrong, each with nothing more."""

    @property
    def all(self) -> "tuple[BadEntry, ...]":
        return (self, *self.more)

    def along_with(self, more: Iterable["BadEntry"]) -> Self:
        self.more = tuple(more)
        return self


class NoRecipient(BadEntry):
    """What was sent as a recipient is no address."""


class EntryShape(BaseModel):
    """An entry."""

    recipient: str
    type: KindName
    source: str
    description: str
    list_id: str | None = None
    created: str
    updated: str
    transactional: bool | None = None
    non_transactional: bool | None = None
    subaccount_id: str | None = None
    """A number as text, as SparkPost prints it and its clients declare it."""

    @classmethod
    def of(cls, entry: Suppression) -> Self:
        return cls(
            recipient=entry.recipient,
            type=entry.kind.value,
            source=entry.source.value,
            description=entry.description,
            list_id=entry.list_id or None,
            created=entry.created.isoformat(timespec="seconds"),
            updated=entry.updated.isoformat(timespec="seconds"),
            transactional=True if entry.kind is Kind.TRANSACTIONAL else None,
            non_transactional=True if entry.kind is Kind.NON_TRANSACTIONAL else None,
            subaccount_id=None if entry.subaccount is None else str(entry.subaccount),
        )


class SummaryShape(BaseModel):
    """How many entries there are, and by what they came about."""

    spam_complaint: int = 0
    list_unsubscribe: int = 0
    bounce_rule: int = 0
    unsubscribe_link: int = 0
    manually_added: int = 0
    compliance: int = 0
    total: int

    @classmethod
    def of(cls, counts: Mapping[Source, int]) -> Self:
        named = {source.name.lower(): number for source, number in counts.items()}
        return cls(**named, total=sum(counts.values()))


class EntryBody(RequestBody):
    """What PUT /suppression-list/{recipient} takes: for the description of the API alone."""

    type: KindName
    description: Annotated[str, WithJsonSchema({"type": "string", "maxLength": MAX_DESCRIPTION})] = ""
    list_id: Annotated[str, WithJsonSchema({"type": "string", "maxLength": MAX_LIST_ID})] = ""


class RemovalBody(RequestBody):
    """What DELETE /suppression-list/{recipient} takes, if anything: for the description of the API alone."""

    type: KindName | None = None
    """The only list that the recipient is taken off."""


class ListedBody(EntryBody):
    """An entry of a bulk update."""

    recipient: Annotated[str, WithJsonSchema({"type": "string", "format": "email"})]


class BulkBody(RequestBody):
    """What PUT /suppression-list takes: for the description of the API alone."""

    recipients: Annotated[list[ListedBody], Field(min_length=1, max_length=MOST_ENTRIES)]


def read_wanted(recipient: object, fields: Mapping[str, Any]) -> list[WantedEntry]:
    """The entries that one object asks for: of its type, or of the older flags. Raises BadEntry."""
    try:
        description, list_id = _description(fields), parse_list_id(fields.get("list_id"))
        key = parse_recipient(recipient)
        return [WantedEntry(key, kind, description, list_id) for kind in _kinds(fields)]
    except BadEntry as error:
        first, *more = _faults(recipient, fields)
        raise first.along_with(more) from error


def _faults(recipient: object, fields: Mapping[str, Any]) -> list[BadEntry]:
    """All that is wrong with an object that is no entry."""
    found: list[BadEntry] = []
    for check in (
        partial(_description, fields),
        partial(parse_list_id, fields.get("list_id")),
        partial(parse_recipient, recipient),
        partial(_kinds, fields),
    ):
        try:
            check()
        except BadEntry as error:
            found.append(error)
    return found


def _description(fields: Mapping[str, Any]) -> str:
    description = fields.get("description") or ""
    if not isinstance(description, str) or len(description) > MAX_DESCRIPTION:
        raise BadEntry(f"description must be a string of at most {MAX_DESCRIPTION} characters")
    return description


def parse_list_id(value: object) -> str:
    """The name of a mailing list (RFC 2919 §2); empty when none is given. Raises BadEntry."""
    if value in (None, ""):
        return ""
    if isinstance(value, str) and len(value) <= MAX_LIST_ID and _LIST_ID.fullmatch(value):
        return value
    raise BadEntry(_BAD_LIST, _shown(value))


def wanted_of_bulk(value: Mapping[str, Any]) -> list[WantedEntry]:
    """Raises BadEntry with all that is wrong, and where."""
    listed = value.get("recipients")
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_ENTRIES:
        raise BadEntry(f"recipients must be an array of 1 to {MOST_ENTRIES} entries")
    found: list[WantedEntry] = []
    bad: list[str] = []
    faults: list[BadEntry] = []
    for index, fields in enumerate(listed):
        place = f"recipients[{index}]"
        if not isinstance(fields, dict):
            faults.append(BadEntry("each of recipients must be an object", _shown(fields), place))
            continue
        recipient = fields.get("recipient", fields.get("email"))
        try:
            found += read_wanted(recipient, fields)
        except BadEntry as error:
            bad += [_shown(recipient) for fault in error.all if isinstance(fault, NoRecipient)]
            faults += [
                BadEntry(str(fault), _shown(recipient), place)
                for fault in error.all
                if not isinstance(fault, NoRecipient)
            ]
    if bad or faults:
        raise _all_of(bad, faults)
    return found


def _all_of(bad: Sequence[str], faults: Sequence[BadEntry]) -> BadEntry:
    """The recipients that are none in one sentence, then the others; of many so many."""
    told = list(faults[:_MOST_TOLD])
    if len(faults) > _MOST_TOLD:
        told.append(BadEntry(f"{len(faults) - _MOST_TOLD} more faults are not listed"))
    if bad:
        names = ", ".join(bad[:_MOST_NAMED]) + ", …" * (len(bad) > _MOST_NAMED)
        told.insert(0, BadEntry(f"PUT body contains {len(bad)} invalid or malformed recipient(s): {names}"))
    return told[0].along_with(told[1:])


def _shown(recipient: object) -> str:
    """Enough to find it again."""
    match recipient:
        case str():
            return recipient[:254]
        case dict() | list():
            return "{…}" if isinstance(recipient, dict) else "[…]"
        case _:
            return json.dumps(recipient)[:254]


def parse_recipient(text: object) -> str:
    """The form in which recipients are listed. Raises NoRecipient."""
    if isinstance(text, str):
        try:
            return key_of(parse_mailbox(text.strip()))
        except MalformedAddress:
            pass
    raise NoRecipient(_NO_ADDRESS, text[:254] if isinstance(text, str) else None)


def parse_kind(text: object) -> Kind:
    """Raises BadEntry."""
    if isinstance(text, str) and text in set(Kind):
        return Kind(text)
    raise BadEntry(_BAD_TYPE)


def _kinds(fields: Mapping[str, Any]) -> list[Kind]:
    if fields.get("type") is not None:
        return [parse_kind(fields["type"])]
    kinds = [kind for kind in Kind if fields.get(kind.value) is True]
    if not kinds:
        raise BadEntry(_NO_TYPE)
    return kinds
