"""What the form of the event search means, and what is wrong with it, field by field."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from relay.domain.address import domain_spellings, normalise_domain, parse_mailbox
from relay.domain.errors import MalformedAddress
from relay.domain.events import EVENT_KINDS
from relay.domain.ids import IpAddress, MessageId, SubaccountId, TransmissionId, canonical_ip
from relay.frames.console.forms import Form, number_in
from relay.frames.console.visit import Visit
from relay.ports.eventlog import EventQuery
from relay.resources.queue.words import ALL_ACCOUNTS, account_asked

USUAL_SPAN = timedelta(hours=24)
KINDS: Mapping[str, str] = {kind.name: kind.word.capitalize() for kind in EVENT_KINDS if kind.is_public}
"""The types of events that happen here, and the words of the console for them."""
_EARLIEST = datetime.min.replace(tzinfo=UTC) + USUAL_SPAN
_AHEAD = timedelta(days=1)
"""Without an end the search is open to it: clocks of processes differ."""
_MOST_VALUES = 100
_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class Filter:
    """One text field of the form. Of several values, with commas between, one must fit."""

    name: str
    label: str
    hint: str = ""


FILTERS: Sequence[Filter] = (
    Filter("recipients", "Recipients", "Addresses, with commas between."),
    Filter("sending_ips", "Sending IPs"),
    Filter("ip_pools", "IP Pools", "Ids, or whole parts of them."),
    Filter("recipient_domains", "Recipient Domains"),
    Filter("from_addresses", "From Addresses"),
    Filter("subjects", "Subjects", "Whole words of the subject."),
    Filter("campaigns", "Campaigns", "Whole words of the campaign."),
    Filter("reasons", "Reasons", "Whole words of what the next hop said."),
    Filter("subaccounts", "Subaccounts", "Numbers; 0 is the account itself."),
    Filter("bounce_classes", "Bounce Classes", "Numbers, such as 10."),
    Filter("sending_domains", "Sending Domains"),
    Filter("messages", "Message IDs"),
    Filter("transmissions", "Transmission IDs"),
)
ALWAYS_SHOWN = 3
"""How many of them, from the first on, are shown when nothing is typed into them."""
_NAMES = ("events", *(one.name for one in FILTERS), "from", "to", ALL_ACCOUNTS)


@dataclass(frozen=True, slots=True)
class Search:
    """The form, and what it means."""

    form: Form
    query: EventQuery

    @property
    def is_right(self) -> bool:
        return not self.form.errors

    @property
    def is_for_all(self) -> bool:
        return self.query.account is None

    @property
    def used(self) -> list[tuple[str, str]]:
        """Fields that say something, each value by itself."""
        return [(name, value) for name in _NAMES for value in self.form.all(name)]

    @property
    def in_words(self) -> list[tuple[str, str]]:
        """The filters, without the times."""
        kinds = [KINDS[kind] for kind in KINDS if kind in self.query.kinds]
        words = [("What happened", ", ".join(kinds))] if kinds else []
        return [*words, *((one.label, self.form[one.name]) for one in FILTERS if self.form[one.name])]

    @property
    def shown(self) -> Sequence[Filter]:
        """The fields in sight: some always, others when they are used or wrong."""
        return [one for place, one in enumerate(FILTERS) if place < ALWAYS_SHOWN or self._matters(one)]

    @property
    def folded(self) -> Sequence[Filter]:
        """The others."""
        return [one for place, one in enumerate(FILTERS) if place >= ALWAYS_SHOWN and not self._matters(one)]

    def text(self, **more: object) -> str:
        """The query string of the same search; more: other or further fields. None takes one away."""
        fields = [(name, value) for name, value in self.used if name not in more]
        return urlencode(
            [*fields, *((name, str(value)) for name, value in more.items() if value is not None)]
        )

    def _matters(self, one: Filter) -> bool:
        return bool(self.form[one.name]) or one.name in self.form.errors


def read_search(visit: Visit, now: datetime) -> Search:
    """The search that the page's query string means, within the account of the page."""
    form, wrong = visit.query, dict[str, str]()
    until = _moment(form["to"], "to", wrong) or now + _AHEAD
    since = _moment(form["from"], "from", wrong) or max(min(until, now), _EARLIEST) - USUAL_SPAN
    if not wrong and since >= until:
        wrong["from"] = "The time from which must be before the time to which."
    kinds = frozenset(form.all("events"))
    if not kinds <= KINDS.keys():
        wrong["events"], kinds = "Choose from these types.", kinds & KINDS.keys()

    def each(name: str, read: Callable[[str], str], problem: str) -> list[str]:
        found = []
        for value in _values(form[name], name, wrong):
            try:
                found.append(read(value))
            except (ValueError, MalformedAddress):
                wrong.setdefault(name, f"“{value[:100]}” is not {problem}.")
        return found

    def numbers(name: str, what: str) -> list[int]:
        return [int(text) for text in each(name, _number, what)]

    query = EventQuery(
        account=account_asked(visit, form),
        since=since,
        until=until,
        kinds=kinds,
        subaccounts=frozenset(map(SubaccountId, numbers("subaccounts", "the number of a subaccount"))),
        messages=frozenset(map(MessageId, each("messages", str, ""))),
        transmissions=frozenset(map(TransmissionId, each("transmissions", str, ""))),
        sending_ips=frozenset(map(IpAddress, each("sending_ips", _ip, "an IP address"))),
        bounce_classes=frozenset(numbers("bounce_classes", "a number")),
        recipients=frozenset(each("recipients", _mailbox, "an e-mail address")),
        recipient_domains=frozenset(each("recipient_domains", normalise_domain, "a domain")),
        from_addresses=frozenset(each("from_addresses", _mailbox, "an e-mail address")),
        ip_pools=tuple(each("ip_pools", str, "")),
        reasons=tuple(each("reasons", str, "")),
        sending_domains=tuple(
            spelling for value in each("sending_domains", str, "") for spelling in domain_spellings(value)
        ),
        subjects=tuple(each("subjects", str, "")),
        campaigns=tuple(each("campaigns", str, "")),
    )
    return Search(_shown(form, query, wrong), query)


def _shown(form: Form, query: EventQuery, wrong: Mapping[str, str]) -> Form:
    """With times as the browser's fields for them want them."""
    times = {"from": query.since, "to": query.until}
    written = {
        name: (at.strftime("%Y-%m-%dT%H:%M:%S"),)
        for name, at in times.items()
        if form[name] and name not in wrong
    }
    return Form({**form.values, **written}, form.errors).wrong(**wrong)


def _values(text: str, name: str, wrong: dict[str, str]) -> list[str]:
    if len(text) > _LONGEST or not text.isprintable():
        wrong[name] = f"At most {_LONGEST} characters of text."
        return []
    values = [value.strip() for value in text.split(",") if value.strip()]
    if len(values) > _MOST_VALUES:
        wrong[name] = f"At most {_MOST_VALUES} values."
        return []
    return values


def _moment(text: str, name: str, wrong: dict[str, str]) -> datetime | None:
    """ISO 8601; without an offset it is UTC."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        wrong[name] = f"“{text[:100]}” is not a time such as 2026-05-17 09:30."
        return None


def _number(text: str) -> str:
    if number_in(text) is None:
        raise ValueError(text)
    return text


def _ip(text: str) -> str:
    return canonical_ip(text)


def _mailbox(text: str) -> str:
    return parse_mailbox(text).text
