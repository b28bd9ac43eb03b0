"""Whatever cites a rule, a section or a page can be looked up in this repository."""

import ast
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from relay.process.main import app
from relay.testing.harness import RelayHarness
from relay.testing.lab import WITH_API

ROOT = Path(__file__).parent.parent
FOLDERS = ("relay", "tests", "docs", "config", "deploy")
KINDS = frozenset({".py", ".md", ".html", ".js", ".css", ".toml", ".sql", ".service"})
SOURCES = sorted(
    path
    for path in [*ROOT.glob("*.*"), *(path for name in FOLDERS for path in (ROOT / name).rglob("*"))]
    if path.suffix in KINDS and path.is_file() and not path.is_symlink() and path != Path(__file__)
)
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]

NUMBER = re.compile(r"(?<![\w%=+/])([RA][1-9]\d?)(?![\w%])")
IN_A_NAME = re.compile(r"(?<=_)([ra][1-9]\d?)(?=_|\()")
HEAD = re.compile(r"^(?:#+ +|\| *|[-*] +|\d+\. +)([RA]\d+)\b", re.MULTILINE)
SECTION = re.compile(r"([\w./-]+)['’]?s?,? §")
KNOWN = re.compile(r"\d{3,4}(?:bis)?|\d+(?:\.\d+)+|and|to|Unicode")
"""What may stand before a section: the number of an RFC, another section of it, Unicode's standard."""
PAGE = re.compile(r"(?<![\w.-])docs/([\w/-]+\.md)(?:#([\w-]+))?|(?<![\w/.-])([\w-]+\.md)(?![\w-])")


def _rules() -> set[str]:
    return {rule for path in ROOT.glob("docs/**/*.md") for rule in HEAD.findall(_read(path))}


def _faults(paths: Iterable[Path], find: Callable[[str], Iterable[str]]) -> dict[str, list[str]]:
    """By file; nothing of those that are as they should be."""
    found = {path.relative_to(ROOT).as_posix(): list(find(_read(path))) for path in paths}
    return {name: faults for name, faults in found.items() if faults}


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", _read(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


RULES = _rules()


def cited(text: str) -> list[str]:
    names = " ".join(re.findall(r"def (test_\w+\()", text))
    return [*NUMBER.findall(text), *(found.upper() for found in IN_A_NAME.findall(names))]


def dangling(text: str) -> Iterator[str]:
    """Citations that lead nowhere in this repository."""
    yield from (number for number in cited(text) if number not in RULES)
    for work in SECTION.findall(text):
        if not KNOWN.fullmatch(work):
            yield f"{work} §"
    for in_docs, anchor, alone in PAGE.findall(text):
        page = ROOT / "docs" / in_docs
        if alone not in ("", *(path.name for path in PAGES)) or not page.exists():
            yield alone or in_docs
        elif anchor and anchor not in _anchors(page):
            yield f"{in_docs}#{anchor}"


def test_what_is_cited_is_in_this_repository() -> None:
    assert _faults(SOURCES, dangling) == {}


def test_all_rules_are_there_and_the_citations_are_found() -> None:
    assert {f"R{number}" for number in range(1, 34)} <= RULES
    assert sum(len(cited(_read(path))) for path in SOURCES if path.suffix == ".py") > 300
    assert {"resolve.py", "rules.md", "explain.html", "relay.service"} <= {path.name for path in SOURCES}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("no limit (R{}).", "R{}", id="a rule"),
        pytest.param("R18, R{}-R33", "R{}", id="one of several"),
        pytest.param('Step("A{}", "refused")', "A{}", id="a rule of a step"),
        pytest.param("def test_what_is_so_r{}_r18() -> None:", "R{}", id="in a test's name"),
    ],
)
def test_a_number_that_no_page_explains_is_found(text: str, found: str) -> None:
    assert list(dangling(text.format(99))) == [found.format(99)]
    assert list(dangling(text.format(18))) == []


@pytest.mark.parametrize(
    ("work", "found"),
    [
        pytest.param("contract §3.1", "contract §", id="a section of a document"),
        pytest.param("the contract, §3.1", "contract §", id="with a comma"),
        pytest.param("C §2.3, §2.4", "C §", id="by a letter"),
        pytest.param("interface.toml §6", "interface.toml §", id="by a file's name"),
        pytest.param("see {}.md", "{}.md", id="a document"),
        pytest.param("docs/{}.md", "{}.md", id="a page that is not there"),
        pytest.param("docs/{}/rules.md", "{}/rules.md", id="a page that is elsewhere"),
        pytest.param("docs/rules.md#{}", "rules.md#{}", id="a section that is not there"),
    ],
)
def test_a_document_that_is_elsewhere_is_found(work: str, found: str) -> None:
    assert list(dangling(work.format("architecture"))) == [found.format("architecture")]


@pytest.mark.parametrize(
    "text",
    [
        "RFC 5321 §4.5.3.1.5, RFC 5322 §2.1 and §2.2 (§3)",
        "docs/rules.md#routing; docs/adr/README.md; operations.md",
        "%A1 =A1 +A4 R0 SHA1 A100 R1xx",
    ],
)
def test_what_can_be_looked_up_is_no_fault(text: str) -> None:
    assert list(dangling(text)) == []


# ── the literal replies ──────────────────────────────────────────────────────────────────


def unsaid(reply: str) -> list[str]:
    """Pieces of a reply that no program of the relay says, between what differs from time to time."""
    words = re.sub(r"^\d{3} (\d\.\d\.\d )?", "", reply)
    return [piece for piece in re.split(r"<\w+>|\d+(?= (?:bytes|seconds))|…", words) if piece not in SAID]


SAID = "\n".join(_read(path) for path in sorted((ROOT / "relay").rglob("*.py")))


def test_the_literal_replies_of_the_document_are_said() -> None:
    replies = re.findall(r"`(\d{3} \d\.\d\.\d [^`]+|Deletion [^`]+)`", _read(ROOT / "docs/rules.md"))
    assert len(replies) > 20
    assert {reply: found for reply in replies if (found := unsaid(reply))} == {}
    assert unsaid("550 5.7.1 IP Pool '<id>' is void") == ["' is void"]


# ── what users meet ──────────────────────────────────────────────────────────────────────


def _strings(source: str) -> Iterator[str]:
    """The literals of a program, but for those that document it."""
    tree = ast.parse(source)
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            yield node.value


def in_sentences(source: str) -> list[str]:
    """Literals that show a number in the midst of words, where it is no link."""
    alone = re.compile(rf"{NUMBER.pattern}(?:, {NUMBER.pattern})*")
    return [text for text in _strings(source) if NUMBER.search(text) and not alone.fullmatch(text)]


def bare(template: str) -> list[str]:
    """Places of a template that show a rule and do not make a link of it."""
    shown = re.findall(r"\{\{[^}]*\brule\b(?! ==)[^}]*\}\}", template)
    return [*NUMBER.findall(template), *(place for place in shown if "rule_links" not in place)]


CASES = "relay/testing/demo_cases.py"
"""Its rows are printed in a table that names docs/rules.md."""


def test_no_sentence_of_the_relay_has_a_number_in_it() -> None:
    programs = [path for path in SOURCES if path.suffix == ".py" and path.is_relative_to(ROOT / "relay")]
    assert _faults([path for path in programs if path != ROOT / CASES], in_sentences) == {}


def test_a_rule_in_the_console_is_a_link() -> None:
    assert _faults(sorted((ROOT / "relay/web/templates").rglob("*.html")), bare) == {}


def test_a_number_in_a_sentence_and_a_rule_without_a_link_are_found() -> None:
    assert in_sentences('"""R1"""\nsay(f"deleted since (R29): {pool}")\nStep("R28, R29", "it stays")') == [
        "deleted since (R29): "
    ]
    assert bare("<b>{{ step.rule }}</b> {{ rule | rule_links }} R18") == ["R18", "{{ step.rule }}"]


@pytest.fixture
def relay_settings() -> dict[str, dict[str, object]]:
    return {name: dict(values) for name, values in WITH_API.items()}


async def test_the_description_of_rest_names_no_number(relay: RelayHarness) -> None:
    app: Any = relay.inside.http_app
    described = json.dumps(app.openapi())
    assert "IP pools" in described
    assert NUMBER.findall(described) == []


def test_the_help_of_the_command_line_names_no_number() -> None:
    helps = list(_helps(get_command(app)))
    assert len(helps) > 100
    assert [text for text in helps if NUMBER.search(text)] == []


def _helps(command: Any) -> Iterator[str]:
    yield command.help or ""
    yield from (getattr(parameter, "help", None) or "" for parameter in command.params)
    for each in getattr(command, "commands", {}).values():
        yield from _helps(each)
