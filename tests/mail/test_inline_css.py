"""Rules moved into elements, within what the library can bear."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from relay.mail.budget import BadTemplate
from relay.mail.inline_css import MAX_ELEMENTS, MAX_SPREAD_BYTES, inline_css

RULES = "<style>p { color: red }</style>"


def test_a_rule_stands_in_each_element_that_it_means() -> None:
    made = inline_css(
        f'<html><head>{RULES}</head><body><p>a</p><p style="margin:0">b</p><b>c</b></body></html>'
    )
    assert '<p style="color: red;">a</p>' in made
    assert '<p style="color: red;margin: 0">b</p>' in made
    assert "<b>c</b>" in made
    assert "p {" not in made


def test_what_no_attribute_can_say_stays_a_rule() -> None:
    made = inline_css(
        "<style>a:hover { color: green } @media print { p { color: blue } } p { color: red }</style><p>x</p>"
    )
    assert "a:hover" in made
    assert "@media print" in made
    assert '<p style="color: red;">' in made


@pytest.mark.parametrize("text", ["", "words", "<p>x</p>", "<p>a</style>", "<!DOCTYPE html>\n<p class=x>é"])
def test_a_text_without_rules_stays_as_it_is(text: str) -> None:
    assert inline_css(text) == text


def test_characters_stay_what_they_are() -> None:
    assert '<p style="color: red;">Grüße &amp; ☃</p>' in inline_css(f"{RULES}<p>Grüße &amp; ☃</p>")


# ── nothing is read but the text ─────────────────────────────────────────────────────────


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """A web server's URL, and the paths that it was asked for."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"p { color: purple }")

        def log_message(self, format: str, *args: object) -> None:
            return None

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/sheet.css", paths
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "mark",
    [
        '<link rel="stylesheet" href="{}">',
        '<link rel="stylesheet" type="text/css" href="{}" data-css-inline="keep">',
        '<style>@import "{}";</style>',
        "<style>@import url({});</style>",
        "<base href='{}'><link rel='stylesheet' href='sheet.css'>",
    ],
)
def test_no_sheet_outside_the_text_is_read(asked: tuple[str, list[str]], tmp_path: Path, mark: str) -> None:
    url, paths = asked
    sheet = tmp_path / "sheet.css"
    sheet.write_text("p { color: purple }", encoding="utf-8")
    for target in (url, sheet.as_uri(), str(sheet)):
        made = inline_css(f"{mark.format(target)}{RULES}<p>x</p>")
        assert "purple" not in made
        assert target in made
    assert "root:" not in inline_css(f'<link rel="stylesheet" href="file:///etc/passwd">{RULES}<p>x</p>')
    assert paths == []


# ── bounds ───────────────────────────────────────────────────────────────────────────────


def test_more_elements_than_it_can_bear_are_refused() -> None:
    full = RULES + "<p>x</p>" * (MAX_ELEMENTS - 1)
    assert inline_css(full).count('style="color: red;"') == MAX_ELEMENTS - 1
    with pytest.raises(
        BadTemplate, match=f"at most {MAX_ELEMENTS} elements, and there are {MAX_ELEMENTS + 1}"
    ):
        inline_css(full + "<p>")


@pytest.mark.parametrize(
    "end", ["</style>", "</STYLE>", "", "</style><style>", '</style><style x="</style">']
)
def test_rules_that_would_grow_without_measure_are_refused(end: str) -> None:
    """However the rules are closed: a parser takes the last one's end for the end of the text."""
    rules = "".join(f"--a{number}:{number};" for number in range(MAX_SPREAD_BYTES // 2000 // 10))
    with pytest.raises(BadTemplate, match=r"no \d+ characters of rules for \d+ elements"):
        inline_css("<p>x</p>" * 2000 + "<style>p {" + rules + "}" + end)


def test_a_text_that_cannot_be_read_as_css_is_refused() -> None:
    with pytest.raises(BadTemplate, match="inline_css cannot read the rules"):
        inline_css(f'{RULES}<p style="p{{">x</p>')


@pytest.mark.parametrize("opened", ["<div>", "<b>", "<table><td>", "<svg><g>", "<a><div>", "<b><p></b>"])
def test_nesting_as_deep_as_is_let_through_ends_no_process(opened: str) -> None:
    """In a process of its own: what it must not do is die of it."""
    program = (
        "import sys, threading\n"
        "from relay.mail.inline_css import MAX_ELEMENTS, inline_css\n"
        "opened = sys.argv[1]\n"
        "text = '<style>p{color:red}</style>' + opened * ((MAX_ELEMENTS - 1) // opened.count('<'))\n"
        "thread = threading.Thread(target=inline_css, args=(text,))\n"
        "thread.start(); thread.join(); inline_css(text)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, opened], check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0
