"""Templates within AMP HTML: braces there are for the reader's program, but for what is plainly ours."""

import re
from bisect import bisect_right

_OPENING = re.compile(r"<(?:template|script)\b([^<>]*)>", re.IGNORECASE)
_CLOSING = re.compile(r"</(?:template|script)\b", re.IGNORECASE)
_MUSTACHE = "amp-mustache"
_NAMES = re.compile(r"sparkpost|loop_var")
_STATEMENT = re.compile(r"else|end|(?:opening|closing)_(?:single|double|triple)_curly\s*\(\s*\)")


class MustacheAreas:
    """Where in a text elements `<template type="amp-mustache">` are."""

    def __init__(self, text: str) -> None:
        self._bounds: list[int] = []
        """Beginnings and ends by turns."""
        at = 0
        while (opening := _OPENING.search(text, at)) is not None:
            at = opening.end()
            if _MUSTACHE in opening[1].lower():
                closing = _CLOSING.search(text, at)
                self._bounds += (at, len(text) if closing is None else closing.start())
                at = self._bounds[-1]

    def keep(self, start: int, inner: str) -> bool:
        """Whether the braces that begin there, with this between them, are left as they are."""
        is_inside = bisect_right(self._bounds, start) % 2 == 1
        return is_inside and not (_NAMES.search(inner) or _STATEMENT.fullmatch(inner))
