"""API keys as forms ask for them and lists show them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relay.domain.directory import GRANTS, SUBACCOUNT_GRANTS, ApiKey, Subaccount
from relay.domain.ids import SubaccountId
from relay.frames.console.errors import NotHere
from relay.frames.console.forms import Form, number_in, read_name_in
from relay.frames.console.shown_once import Secret
from relay.frames.console.visit import Visit
from relay.frames.values import parse_client
from relay.resources.api_keys.rules import key_id

LIST = "/account/api-keys"
_BAD_IPS = "Must be a comma separated list of valid IPs"
GRANT_LABELS: Mapping[str, str] = {
    "smtp/inject": "Send via SMTP",
    "transmissions/modify": "Send, schedule and cancel transmissions",
    "transmissions/view": "See transmissions",
    "templates/preview": "Preview contents",
    "message_events/view": "Search events",
    "sending_domains/manage": "Manage sending domains",
    "suppression_lists/manage": "Manage the suppression list",
    "tracking_domains/view": "See tracking domains",
    "tracking_domains/manage": "Manage tracking domains",
    "webhooks/view": "See webhooks",
    "webhooks/modify": "Manage webhooks",
    "ip_pools/view": "See IP pools and sending IPs",
    "ip_pools/manage": "Manage IP pools and sending IPs",
    "subaccount/view": "See subaccounts",
    "subaccount/manage": "Manage subaccounts",
    "api_keys/manage": "Manage API keys",
    "account/view": "See the account",
    "account/manage": "Manage the account",
    "billing/manage": "Buy dedicated IPs, see invoices",
    "metrics/view": "See metrics",
    "usage/view": "See usage",
}
"""In the order in which they are offered."""
FOR_ALL = tuple((name, label) for name, label in GRANT_LABELS.items() if name in SUBACCOUNT_GRANTS)
FOR_ACCOUNT = tuple((name, label) for name, label in GRANT_LABELS.items() if name not in SUBACCOUNT_GRANTS)


@dataclass(frozen=True, slots=True)
class KeyAsked:
    """What a form says of a new key."""

    label: str
    grants: frozenset[str]
    valid_ips: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as lists show it."""

    id: str
    key: ApiKey
    subaccount: Subaccount | None

    @property
    def has_all(self) -> bool:
        return self.key.grants >= (GRANTS if self.key.subaccount is None else SUBACCOUNT_GRANTS)

    @property
    def permissions(self) -> Sequence[str]:
        return [label for name, label in GRANT_LABELS.items() if name in self.key.grants]


def key_rows(visit: Visit, subaccount: SubaccountId | None = None) -> list[KeyRow]:
    """The account's keys, or one subaccount's; those of the installation's operators for them alone."""
    owned = [
        key
        for key in visit.snapshot.keys.values()
        if key.account == visit.account.id
        and subaccount in (None, key.subaccount)
        and (visit.is_operator or not key.is_operator)
    ]
    owned.sort(key=lambda key: (key.subaccount or 0, key.label.casefold(), key.sha256))
    subaccounts = visit.subaccounts
    return [
        KeyRow(key_id(key), key, None if key.subaccount is None else subaccounts.get(key.subaccount))
        for key in owned
    ]


def read_key(form: Form, allowed: frozenset[str]) -> tuple[KeyAsked, Form]:
    """What the fields of a new key say, and the form with what is wrong with them."""
    label, form = read_name_in(form, "key_label")
    grants = allowed if form["permissions"] == "all" else frozenset(form.all("grants"))
    if form["permissions"] not in ("all", "select"):
        form = form.wrong(permissions="Choose all or some permissions")
    elif not grants:
        form = form.wrong(permissions="Choose at least one permission")
    elif excess := sorted(grants - allowed):
        whose = "key" if allowed is GRANTS else "subaccount's key"
        form = form.wrong(permissions=f"A {whose} cannot have {', '.join(excess)}")
    parts = [part.strip() for part in form["allowed_ips"].split(",") if part.strip()]
    clients: tuple[str, ...] = ()
    try:
        clients = tuple(parse_client(part) for part in parts)
    except ValueError:
        form = form.wrong(allowed_ips=_BAD_IPS)
    return KeyAsked(label, grants, clients), form


def key_secret(text: str, key: ApiKey, path: str, label: str) -> Secret:
    use = "In Authorization of the REST API"
    if "smtp/inject" in key.grants:
        use = "As the password of SMTP_Injection by SMTP, and in Authorization of the REST API"
    return Secret(text, f"API key {key.label}", use, path, label)


def _row(visit: Visit) -> KeyRow:
    found = next((row for row in key_rows(visit) if row.id == visit.path("key")), None)
    if found is None:
        raise NotHere("API key")
    return found


def _subaccount_asked(visit: Visit, form: Form) -> tuple[SubaccountId | None, Form]:
    asked = form["subaccount"]
    if not asked:
        return None, form
    number = SubaccountId(number_in(asked) or 0)
    if number not in visit.subaccounts:
        return None, form.wrong(subaccount=f"There is no subaccount {asked[:20]}")
    return number, form
