"""Numbers of rules as people meet them: links to what the guide says of each."""

import re
from importlib.resources import files

from markupsafe import Markup, escape

GUIDE = "/guide/rules"
_TEXT = (files("relay.frames.console") / "guides/rules.md").read_text(encoding="utf-8")
_RULES = frozenset(re.findall(r"^\| ([RA]\d+) \|", _TEXT, re.MULTILINE))


def rule_links(named: str) -> Markup:
    """`R28, R29` with a link for each. A word like `re-pin` stays; a number without a rule is left out."""
    return Markup(", ").join(
        _link(part) if part in _RULES else escape(part)
        for part in named.split(", ")
        if part in _RULES or part.replace("-", "").isalpha()
    )


def link_rules(text: str) -> Markup:
    """The text, with a link for each rule in it."""
    parts = re.split(r"\b([RA]\d+)\b", text)
    return Markup("").join(_link(part) if part in _RULES else escape(part) for part in parts)


def _link(rule: str) -> Markup:
    return Markup('<a href="{}#{}">{}</a>').format(GUIDE, rule.lower(), rule)
