"""SparkPost's substitution language: compiled once for a transmission, rendered for each recipient.

Outside braces text is itself. `{{…}}` is an expression, escaped for where it stands; `{{{…}}}`
is one unescaped; `if`, `elseif`, `else`, `each` and `end` are statements (relay.mail.braces).
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, assert_never

from relay.mail.amp import MustacheAreas
from relay.mail.braces import TOKENS_OF_BRACES, TOO_MANY, Braces, Break, split_at_braces
from relay.mail.budget import OCTETS_A_STEP, BadTemplate, Budget
from relay.mail.expression import MAX_NESTING, MAX_TOKENS, Expression, Function, Run, compile_expression
from relay.mail.operators import Value, counts


class TemplateKind(Enum):
    """Where a template stands, which settles how values are escaped in it."""

    TEXT = "text"
    HTML = "html"
    AMP = "amp"
    """HTML that may have templates of its own in it."""
    HEADER = "header"


Node = str | Callable[[Run], None]


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled text."""

    source: str
    nodes: tuple[Node, ...]

    @property
    def is_constant(self) -> bool:
        """Whether it says the same to every recipient."""
        return all(isinstance(node, str) for node in self.nodes)

    @property
    def constant(self) -> str:
        """What of it is the same for everybody."""
        return "".join(node for node in self.nodes if isinstance(node, str))

    def render(self, data: Mapping[str, Any], budget: Budget | None = None) -> str:
        """The text for the recipient with these values. Raises BadTemplate.

        budget: what else is rendered for that recipient takes from it too; None: one of its own.
        """
        run = Run(data, Budget() if budget is None else budget)
        _render(self.nodes, run)
        return "".join(run.out)

    def portable(self) -> "Template":
        """What can be handed to another process: all that it says, but for rendering it with values."""
        return self if self.is_constant else Template(self.source, (Elsewhere(),))


class Elsewhere:
    """Stands for nodes that are not here: they are in another process, or could not be compiled."""

    def __call__(self, run: Run) -> None:
        raise AssertionError("the nodes of this template are not here")


def literal(text: str) -> Template:
    """A template in which braces mean nothing."""
    return Template(text, (text,) if text else ())


def compile_template(text: str, kind: TemplateKind, budget: Budget | None = None) -> Template:
    """Raises BadTemplate with the line of what is wrong. budget: of the rendering that needs it compiled."""
    if "{{" not in text:
        return literal(text)
    return Template(text, _Compiler(text, kind, budget).compile())


def _render(nodes: Sequence[Node], run: Run) -> None:
    for node in nodes:
        if isinstance(node, str):
            run.put(node)
        else:
            node(run)


# ── compiling ────────────────────────────────────────────────────────────────────────────

_THEN = re.compile(r"(.*\S)\s+(?:then|do)", re.DOTALL)
_OUTSIDE_URLS = " \t\r\n\"'<>"


class _Block:
    """An `if` or `each` that is being read, or the whole text."""

    def __init__(self, word: str, line: int, argument: Expression | None = None) -> None:
        self.word, self.line = word, line
        self.nodes: list[Node] = []
        self.branches = [(argument, self.nodes)]

    def branch(self, condition: Expression | None) -> None:
        self.nodes = []
        self.branches.append((condition, self.nodes))


class _Compiler:
    """Reads a template from left to right, with the open blocks on a stack."""

    def __init__(self, text: str, kind: TemplateKind, budget: Budget | None) -> None:
        self._text, self._kind, self._budget = text, kind, budget
        self._areas = MustacheAreas(text) if kind is TemplateKind.AMP else None
        self._line, self._tokens = 1, 0
        self._stack = [_Block("", 1)]
        self._is_in_url = False

    def compile(self) -> tuple[Node, ...]:
        for piece in split_at_braces(self._text, self._areas):
            match piece:
                case str():
                    self._add_text(piece)
                case Break.TAKEN_BACK:
                    self._stack[-1].nodes.append(_unbroken)
                case Braces():
                    self._add_braces(piece)
                case _:
                    assert_never(piece)
        if len(self._stack) > 1:
            raise BadTemplate(f"'{self._stack[-1].word}' without its 'end'", self._stack[-1].line)
        return tuple(self._stack[0].nodes)

    def _add_braces(self, braces: Braces) -> None:
        self._line = braces.line
        self._count_tokens(TOKENS_OF_BRACES)
        if braces.word:
            self._add_statement(braces.word, braces.inner)
        else:
            self._add_expression(braces.inner, braces.is_raw)

    def _count_tokens(self, number: int) -> None:
        self._tokens += number
        if self._budget is not None:
            self._budget.spend(number * _STEPS_A_TOKEN)
        if self._tokens > MAX_TOKENS:
            raise BadTemplate(TOO_MANY, self._line)

    def _expression(self, text: str) -> Expression:
        expression = compile_expression(text, self._line)
        self._count_tokens(expression.steps)
        return expression

    def _add_text(self, text: str) -> None:
        if not text:
            return
        self._stack[-1].nodes.append(text)
        begins = max(map(text.rfind, _OUTSIDE_URLS)) + 1
        is_url = text.startswith(("https://", "http://"), begins)
        self._is_in_url = (self._is_in_url and not begins) or is_url

    def _add_expression(self, text: str, is_raw: bool) -> None:
        expression = self._expression(text)
        if expression.is_dynamic:
            self._stack[-1].nodes.append(_dynamic(expression, self._kind))
        else:
            escape = _plain if is_raw or self._kind is TemplateKind.HEADER else self._escape()
            self._stack[-1].nodes.append(_written(expression, escape))

    def _escape(self) -> Callable[[str], str]:
        if self._is_in_url:
            return encode_for_url
        return _plain if self._kind is TemplateKind.TEXT else html_escaped

    def _add_statement(self, word: str, rest: str) -> None:
        block = self._stack[-1]
        if word in {"if", "each"}:
            if len(self._stack) > MAX_NESTING:
                raise BadTemplate("nested too deeply", self._line)
            self._stack.append(_Block(word, self._line, self._argument(rest)))
            return
        if not block.word or (word != "end" and (block.word != "if" or block.branches[-1][0] is None)):
            raise BadTemplate(f"'{word}' without its '{'if or each' if word == 'end' else 'if'}'", self._line)
        if word == "elseif":
            block.branch(self._argument(rest))
            return
        if rest:
            raise BadTemplate(f"syntax error near '{rest[:20]}'", self._line)
        if word == "else":
            block.branch(None)
        else:
            self._stack.pop()
            self._stack[-1].nodes.append(_chosen(block) if block.word == "if" else _repeated(block))

    def _argument(self, text: str) -> Expression:
        then = _THEN.fullmatch(text)
        expression = self._expression(then[1] if then else text)
        if expression.is_dynamic:
            raise BadTemplate("dynamic content is no condition", self._line)
        return expression


# ── nodes ────────────────────────────────────────────────────────────────────────────────


def _written(expression: Expression, escape: Callable[[str], str]) -> Node:
    value_of, steps, per_step = expression.value, expression.steps, _ESCAPED_A_STEP[escape]

    def write(run: Run) -> None:
        run.budget.spend(steps)
        value = value_of(run)
        text = as_text(value)
        run.budget.spend(
            1 + len(text) // per_step if isinstance(value, str) else 3 + len(text) // _JSON_A_STEP
        )
        run.put(escape(text))

    return write


def _unbroken(run: Run) -> None:
    """Take back the line break that the text ends in so far."""
    if not run.out:
        return
    run.budget.spend(1 + len(run.out[-1]) // OCTETS_A_STEP)
    line = run.out[-1].rstrip(" \t")
    if line.endswith("\n"):
        run.out[-1] = line[:-1].removesuffix("\r")


def _chosen(block: _Block) -> Node:
    branches: list[tuple[Function | None, int, tuple[Node, ...]]] = [
        (None, 1, tuple(nodes)) if condition is None else (condition.value, 1 + condition.steps, tuple(nodes))
        for condition, nodes in block.branches
    ]

    def choose(run: Run) -> None:
        for condition, steps, nodes in branches:
            run.budget.spend(steps)
            if condition is None or counts(condition(run)):
                _render(nodes, run)
                return

    return choose


def _repeated(block: _Block) -> Node:
    ((array, own),) = block.branches
    assert array is not None
    name, nodes, line = array.last_name, tuple(own), block.line
    value_of: Function = array.value
    steps = array.steps

    def repeat(run: Run) -> None:
        run.budget.spend(steps)
        values = value_of(run)
        if values is None:
            return
        if not isinstance(values, list):
            raise BadTemplate("'each' needs an array", line)
        outer = run.loop_var, run.loop_index, run.loop_vars
        run.loop_vars = dict(run.loop_vars)
        for run.loop_index, value in enumerate(values, 1):
            run.budget.spend(1)
            run.loop_var = run.loop_vars[name] = value
            _render(nodes, run)
        run.loop_var, run.loop_index, run.loop_vars = outer

    return repeat


_STEPS_A_TOKEN = 8
_MOST_KEPT = 64
_LONGEST_KEPT = 20_000
"""Characters of dynamic content that is kept compiled."""

_kept: dict[tuple[str, TemplateKind], Template] = {}
"""Dynamic content is the transmission's, so it is the same text for many recipients."""


def _compiled(text: str, kind: TemplateKind, budget: Budget) -> Template:
    """Raises BadTemplate, and OverBudget when compiling takes too much of it."""
    found = _kept.get((text, kind))
    if found is None:
        budget.spend(1 + len(text) // OCTETS_A_STEP)
        found = compile_template(text, kind, budget)
        if len(text) <= _LONGEST_KEPT:
            while len(_kept) >= _MOST_KEPT:
                # Another thread may have been quicker.
                _kept.pop(next(iter(_kept), (text, kind)), None)
            _kept[text, kind] = found
    return found


def _dynamic(expression: Expression, kind: TemplateKind) -> Node:
    value, steps = expression.value, expression.steps

    def render(run: Run) -> None:
        run.budget.spend(steps)
        text = value(run)
        if text is None:
            return
        if not isinstance(text, str):
            raise BadTemplate("dynamic content must be a text")
        run.depth += 1
        if run.depth > MAX_NESTING:
            raise BadTemplate("dynamic content is nested too deeply")
        _render(_compiled(text, kind, run.budget).nodes, run)
        run.depth -= 1

    return render


# ── values as text ───────────────────────────────────────────────────────────────────────

_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "/": "&#x2F;"})
_RESERVED = re.compile(rb"[^A-Za-z0-9_.~-]")


def as_text(value: Value) -> str:
    """What a value looks like: nothing for null, 5 for 5.00, JSON for arrays and objects."""
    match value:
        case str():
            return value
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return f"{value:.14g}"
        case _:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def html_escaped(text: str) -> str:
    return text.translate(_HTML)


def encode_for_url(text: str) -> str:
    """Fit for a place inside a URL (RFC 3986 §2.1)."""
    octets = text.encode("utf-8", "replace")
    return _RESERVED.sub(lambda found: b"%%%02X" % found[0][0], octets).decode("ascii")


def _plain(text: str) -> str:
    return text


_ESCAPED_A_STEP: Mapping[Callable[[str], str], int] = {_plain: 256, html_escaped: 64, encode_for_url: 1}
"""Characters that are escaped in the time of a step, at worst."""
_JSON_A_STEP = 8
"""Characters of a value that is no text, and is made one."""
