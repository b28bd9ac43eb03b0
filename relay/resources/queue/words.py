"""What the pages about mail share: which mail a form means, and words for messages and events."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from relay.domain.address import normalise_domain
from relay.domain.errors import MalformedAddress
from relay.domain.events import Event, Operated, kind_of
from relay.domain.ids import AccountId, PoolId, SubaccountId, TransmissionId, canonical_ip
from relay.domain.message import Message, State
from relay.frames.console.forms import Form, number_in
from relay.frames.console.visit import Visit
from relay.ports.queue import MailFilter
from relay.resources.queue.rules import Verb

ALL_ACCOUNTS = "all"
"""The box by which operators look at every account's mail."""
STATES: Mapping[State, str] = {State.QUEUED: "Queued", State.IN_FLIGHT: "In flight", State.HELD: "Held"}
_FILTERS = ("ip", "pool", "domain", "state", "transmission", "subaccount", ALL_ACCOUNTS)
_DEEDS: Mapping[str, str] = {
    Verb.HOLD: "held",
    Verb.RELEASE: "released",
    Verb.RETRY: "retried",
    Verb.CANCEL: "cancelled",
    Verb.REPIN: "re-pinned",
}
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class MailAsked:
    """Which unfinished mail a page is about."""

    form: Form
    """As typed, with what is wrong with it."""
    what: MailFilter

    @property
    def is_for_all(self) -> bool:
        return self.what.account is None

    @property
    def is_right(self) -> bool:
        return not self.form.errors

    @property
    def used(self) -> Mapping[str, str]:
        """The fields that say something."""
        return {name: self.form[name] for name in _FILTERS if self.form[name]}

    def query(self, **more: object) -> str:
        """For a link to the same mail; more: other fields, or further ones. None takes one away."""
        fields = {**self.used, **more}
        return urlencode({name: value for name, value in fields.items() if value not in (None, "")})


def read_filter(visit: Visit, form: Form) -> MailAsked:
    """The mail that the fields of form mean, within the account of the page."""
    wrong: dict[str, str] = {}
    what = MailFilter(account_asked(visit, form))
    if text := form["ip"]:
        try:
            what = replace(what, ip=canonical_ip(text))
        except ValueError:
            wrong["ip"] = f"“{_short(text)}” is not an IP address."
    if text := form["pool"]:
        what = replace(what, pool=PoolId(text.lower()))
    if text := form["domain"]:
        try:
            what = replace(what, domain=normalise_domain(text))
        except MalformedAddress:
            wrong["domain"] = f"“{_short(text)}” is not a domain."
    if text := form["state"]:
        try:
            what = replace(what, state=State(text))
        except ValueError:
            wrong["state"] = "Choose one of the states."
    if text := form["subaccount"]:
        if (number := number_in(text)) is None:
            wrong["subaccount"] = f"“{_short(text)}” is not the number of a subaccount."
        else:
            what = replace(what, subaccount=SubaccountId(number))
    if text := form["transmission"]:
        what = replace(what, transmission=TransmissionId(text))
    for name in ("pool", "transmission"):
        if "\0" in form[name]:
            wrong[name] = "This has a character that none can have."
    return MailAsked(form.wrong(**wrong), what)


def account_asked(visit: Visit, form: Form) -> AccountId | None:
    """Whose mail a page is about; None, for operators who ask for it: everybody's."""
    return None if visit.is_operator and form.has(ALL_ACCOUNTS) else visit.account.id


def account_name(visit: Visit, id_: AccountId) -> str:
    """As people know it."""
    known = visit.snapshot.accounts.get(id_)
    return f"{known.name} ({id_})" if known else str(id_)


def why_waiting(message: Message) -> str:
    """The last reply, or that there is none yet."""
    if message.last_reply:
        return message.last_reply
    return "being handed over" if message.state is State.IN_FLIGHT else "not tried yet"


def word_of(event: Event) -> tuple[str, str]:
    """What happened, in a word, and the kind of badge it stands on."""
    kind = kind_of(event)
    return _DEEDS.get(event.verb, event.verb) if isinstance(event, Operated) else kind.word, kind.tone


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
