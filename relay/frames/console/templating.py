"""Templates and how values are written for people: times, sizes, money, counts."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import jinja2
from markupsafe import Markup

from relay.domain.directory import Account, Plan
from relay.frames.console.rule_links import rule_links
from relay.frames.console.static import url_of

_UNITS = ("B", "kB", "MB", "GB", "TB")
_PLANS = {
    Plan.FREE: "Free",
    Plan.SELF_SERVE: "Self-serve",
    Plan.MANUAL: "Manually billed",
    Plan.ENTERPRISE: "Enterprise",
}


def money(cents: int) -> str:
    """`$1,234.50`."""
    sign = "-" if cents < 0 else ""
    return f"{sign}${abs(cents) // 100:,}.{abs(cents) % 100:02}"


def moment(at: datetime) -> Markup:
    """To the second, UTC, for people and programs."""
    shown = at.astimezone(UTC)
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(
        shown.isoformat(timespec="milliseconds"), f"{shown:%Y-%m-%d %H:%M:%S}"
    )


def day(on: date) -> str:
    """`24 Nov 2026`."""
    return f"{on.day} {on:%b %Y}"


def span(length: timedelta) -> str:
    """The two largest units: `3 h 20 min`."""
    seconds = int(abs(length).total_seconds())
    if seconds < 1:
        return f"{int(abs(length).total_seconds() * 1000)} ms"
    parts = []
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        number, seconds = divmod(seconds, size)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2])


def until(at: datetime, now: datetime) -> str:
    """`in 3 min` or `2 h ago`."""
    if abs(at - now) < timedelta(seconds=1):
        return "now"
    return f"in {span(at - now)}" if at > now else f"{span(now - at)} ago"


def size(octets: int) -> str:
    """`4.1 kB`."""
    amount = float(octets)
    for unit in _UNITS:
        if amount < 1000 or unit == _UNITS[-1]:
            return f"{octets} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError


def count(number: int) -> str:
    """`1,234`."""
    return f"{number:,}"


def plural(number: int, one: str, many: str = "") -> str:
    """`1 message`, `1,234 messages`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def plan_name(plan: Account | Plan) -> str:
    """Of an account its own."""
    return _PLANS[plan.plan if isinstance(plan, Account) else plan]


_OF_RESOURCES: dict[str, jinja2.BaseLoader] = {}
_RESOURCES = jinja2.PrefixLoader(_OF_RESOURCES)
"""`ip_pools/list.html` is `list.html` of the resource `ip_pools`."""


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader("relay.frames.console"), _RESOURCES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    for filter_ in (money, moment, day, span, until, size, count, plural, plan_name, rule_links):
        environment.filters[filter_.__name__] = filter_
    environment.globals["static"] = url_of
    return environment


_ENVIRONMENT = _environment()


def render(template: str, **values: Any) -> str:
    """The template with these values, which are escaped: they may be what a stranger typed."""
    return _ENVIRONMENT.get_template(template).render(**values)


def add_templates(package: str) -> None:
    """Have those of a resource be found, under its name."""
    _OF_RESOURCES.setdefault(package.rpartition(".")[2], jinja2.PackageLoader(package))


def load_templates() -> None:
    """Compile all of them: each takes tens of milliseconds, which no visitor should wait for."""
    for name in _ENVIRONMENT.list_templates(extensions=["html"]):
        _ENVIRONMENT.get_template(name)
