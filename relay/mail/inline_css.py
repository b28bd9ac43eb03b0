"""Rules of `<style>` moved into the elements that they mean, for readers that heed no `<style>`."""

import re

from css_inline import CSSInliner, InlineError

from relay.mail.budget import BadTemplate

MAX_ELEMENTS = 3000
"""css-inline 0.24 goes down the tree by recursion and ends the process where a stack of 8 MiB does, at
9,800 levels. One start tag makes two levels at most: `<td>` in `<table>` brings its section and row."""
MAX_SPREAD_BYTES = 16 << 20
"""Elements times characters of rules: what is written at most, should each rule mean each element."""

_START_TAG = re.compile(r"<[a-zA-Z]")
_STYLE = re.compile(r"<(/?)style", re.ASCII | re.IGNORECASE)

# Nothing is read but the text: sheets that <link> names stay where they are, @import is left standing.
_INLINER = CSSInliner(
    load_remote_stylesheets=False,
    keep_link_tags=True,
    keep_style_tags=True,
    remove_inlined_selectors=True,
)


def inline_css(html: str) -> str:
    """The document with what its rules say in `style` of each element.

    Rules that no attribute can express, as for `:hover` and `@media`, stay in `<style>`; a text
    without `<style>` stays as it is. Raises BadTemplate when it is too large for that.
    """
    marks = list(_STYLE.finditer(html))
    start = next((mark.start() for mark in marks if not mark[1]), None)
    if start is None:
        return html
    # The widest span that can be rules, whatever a parser takes for a tag in between.
    end = marks[-1].start() if marks[-1][1] else len(html)
    elements = len(_START_TAG.findall(html))
    if elements > MAX_ELEMENTS:
        raise BadTemplate(f"inline_css takes at most {MAX_ELEMENTS} elements, and there are {elements}")
    if elements * (end - start) > MAX_SPREAD_BYTES:
        raise BadTemplate(f"inline_css takes no {end - start} characters of rules for {elements} elements")
    try:
        return _INLINER.inline(html)
    except InlineError as error:
        raise BadTemplate(f"inline_css cannot read the rules: {error}") from error
