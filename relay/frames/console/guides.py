"""Guides for people, written in Markdown and shown as pages (R2)."""

import re
from collections.abc import Mapping, MutableMapping, Sequence
from importlib.resources import files
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup, escape
from starlette.responses import Response

from relay.frames.console.routing import Pages
from relay.frames.console.rule_links import GUIDE as RULES_GUIDE
from relay.frames.console.rule_links import link_rules
from relay.frames.console.visit import Visit

pages = Pages(__name__)

_WARM_UP_GUIDE = "/guide/warm-up"
_LINKS: Mapping[str, str] = {
    "sparkpost-compatibility.md": "/api/docs",
    "warm-up.md": _WARM_UP_GUIDE,
    "rules.md": RULES_GUIDE,
}
"""Where the console has what a guide refers to; other files of the repository are named without a link."""
_RULE = re.compile(r"[RA]\d+")
_BOXES = {"[ ] ": "☐ ", "[x] ": "☑ "}
_TABLE = '<div class="scroll" tabindex="0" role="region" aria-label="Table">\n<table>\n'
_CODE = (
    '<div class="copyable"><pre tabindex="0">{0}</pre>'
    '<button type="button" class="quiet" data-copy hidden>Copy</button></div>\n'
)


@pages.get(_WARM_UP_GUIDE)
async def warm_up(visit: Visit) -> Response:
    return visit.page("guide.html", title="IP Warm-up", text=_WARM_UP)


@pages.get(RULES_GUIDE)
async def rules(visit: Visit) -> Response:
    return visit.page("guide.html", title="Rules", text=_RULES)


def html_of(markdown: str) -> Markup:
    """CommonMark and tables as a page of ours shows them: no HTML of the text's own, no inline style.

    Headings have an id made of their words, and rows one made of the rule that they begin with.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("table_open", _table_open)
    parser.add_render_rule("table_close", _table_close)
    parser.add_render_rule("fence", _fence)
    tokens = parser.parse(markdown)
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrs["id"] = _slug(tokens[at + 1].content)
        if token.type == "tr_open" and _RULE.fullmatch(rule := tokens[at + 2].content):
            token.attrs["id"] = rule.lower()
        if token.attrs.pop("style", "") == "text-align:right":
            token.attrs["class"] = "number"
        if token.type == "th_open":
            token.attrs["scope"] = "col"
        if token.children:
            token.children = _inline(token.children)
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # Text of the product's own.


def _slug(heading: str) -> str:
    """The anchor of a heading, as links within documents name it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _inline(tokens: Sequence[Token]) -> list[Token]:
    """With links that lead somewhere here, those of rules among them, and boxes to tick."""
    if tokens and tokens[0].type == "text" and tokens[0].content[:4] in _BOXES:
        tokens[0].content = _BOXES[tokens[0].content[:4]] + tokens[0].content[4:]
    kept, is_linked, is_within = [], True, False
    for token in tokens:
        if token.type == "link_open":
            file, _, anchor = str(token.attrs["href"]).partition("#")
            if (place := _LINKS.get(file, file)).startswith("/guide/") and anchor:
                place += f"#{anchor}"
            token.attrs["href"] = place or f"#{anchor}"
            is_linked = str(token.attrs["href"]).startswith(("/", "https://", "#"))
            is_within = is_linked
        if token.type == "text" and not is_within and not _RULE.fullmatch(token.content):
            token = Token("html_inline", "", 0, content=link_rules(token.content))
        if token.type not in ("link_open", "link_close") or is_linked:
            kept.append(token)
        if token.type == "link_close":
            is_linked, is_within = True, False
    return kept


def _table_open(
    self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: MutableMapping[str, Any]
) -> str:
    return _TABLE


def _table_close(
    self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: MutableMapping[str, Any]
) -> str:
    return "</table>\n</div>\n"


def _fence(
    self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: MutableMapping[str, Any]
) -> str:
    return _CODE.format(escape(tokens[at].content.rstrip("\n")))


def _guide(name: str) -> Markup:
    return html_of((files("relay.frames.console") / "guides" / name).read_text(encoding="utf-8"))


_WARM_UP = _guide("warm-up.md")
_RULES = _guide("rules.md")
