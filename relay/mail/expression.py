"""Expressions of SparkPost's substitution language, made into functions once: no eval, no attribute access.

    or            lowest; the first operand that counts, or the last
    and
    == != < > <= >=
    + -
    * /
    not  #  -     # is the length of an array or a text
    name  a.b  a['b']  a[1]  'text'  12.5  true false nil  (…)  macro(…)

As in Lua, from which the language comes, only false and null do not count: an empty text and 0
do; arrays begin at 1; numbers are doubles, told with 14 digits, and a text that is a number is one in
arithmetic. Ours: values of unlike kinds are neither equal nor in any order.
"""

import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from relay.mail.budget import BadTemplate, Budget
from relay.mail.operators import (
    COMPARE,
    COMPUTE,
    Comparison,
    Value,
    as_told,
    counts,
    is_empty,
    length,
    member,
    negate,
    number_of,
)

MAX_NESTING = 32
"""Of expressions, statements, and of dynamic content."""
MAX_TOKENS = 100_000
"""Of one text: names, numbers, texts and signs between braces, and the braces themselves."""


@dataclass(slots=True)
class Run:
    """One rendering for one recipient: its values, and what it takes from."""

    data: Mapping[str, Value]
    budget: Budget
    out: list[str] = field(default_factory=list)
    loop_var: Value = None
    loop_index: int | None = None
    loop_vars: dict[str, Value] = field(default_factory=dict)
    depth: int = 0

    def put(self, text: str) -> None:
        """Raises OverBudget."""
        self.budget.write(text)
        self.out.append(text)

    def look_up(self, name: str) -> Value:
        match name:
            case "loop_var" if self.loop_index is not None:
                return self.loop_var
            case "loop_index" if self.loop_index is not None:
                return self.loop_index
            case "loop_vars":
                return self.loop_vars
            case _:
                return self.data.get(name)


Function = Callable[[Run], Value]

KEYWORDS = frozenset(
    {"and", "or", "not", "if", "then", "elseif", "else", "end", "each", "do", "true", "false", "nil"}
)
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<sign>==|!=|<=|>=|[<>#.,()\[\]*/+-]))",
    re.DOTALL,
)
_BRACES = {
    "opening_single_curly": "{",
    "closing_single_curly": "}",
    "opening_double_curly": "{{",
    "closing_double_curly": "}}",
    "opening_triple_curly": "{{{",
    "closing_triple_curly": "}}}",
}
_MAX_SIGNS = 250
"""Before one operand."""
DYNAMIC = "render_dynamic_content"
_LITERALS: Mapping[str, Value] = {"true": True, "false": False, "nil": None}


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression, ready to be computed."""

    value: Function
    steps: int
    """What computing it takes, but for what it compares."""
    last_name: str
    """Of a path the last name in it, by which loop_vars knows the loop; else empty."""
    is_dynamic: bool
    """The value is to be rendered as a template itself."""


def compile_expression(text: str, line: int) -> Expression:
    """Raises BadTemplate, which names the line."""
    parser = _Parser(_tokens(text, line), line)
    if len(parser.tokens) > 3 and parser.tokens[0] == ("name", DYNAMIC) and parser.tokens[1][1] == "(":
        del parser.tokens[0]
        made = parser.parenthesised()
        parser.expect_end()
        return Expression(made, len(parser.tokens), "", is_dynamic=True)
    made = parser.disjunction()
    parser.expect_end()
    return Expression(made, len(parser.tokens), parser.last_name, is_dynamic=False)


Token = tuple[str, str]


def _tokens(text: str, line: int) -> list[Token]:
    found: list[Token] = []
    at, text = 0, text.rstrip()
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise BadTemplate(f"syntax error near {text[at:].strip()[:20]!r}", line)
        found.append((token.lastgroup or "", token[token.lastgroup or 0]))
        at = token.end()
    return found


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, tokens: list[Token], line: int) -> None:
        self.tokens, self._line = tokens, line
        self._at = self._depth = 0
        self.last_name = ""

    def disjunction(self) -> Function:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise BadTemplate("nested too deeply", self._line)
        operands = [self._conjunction()]
        while self._take("name", "or"):
            operands.append(self._conjunction())
        self._depth -= 1
        return self._joined(operands, stops_at=True)

    def parenthesised(self) -> Function:
        self._need("(")
        inner = self.disjunction()
        self._need(")")
        self.last_name = ""
        return inner

    def expect_end(self) -> None:
        if self._at < len(self.tokens):
            self._fail()

    def _conjunction(self) -> Function:
        operands = [self._comparison()]
        while self._take("name", "and"):
            operands.append(self._comparison())
        return self._joined(operands, stops_at=False)

    def _joined(self, operands: Sequence[Function], stops_at: bool) -> Function:
        """The first operand that counts (or does not), else the last."""
        if len(operands) == 1:
            return operands[0]
        self.last_name = ""

        def join(run: Run) -> Value:
            value = None
            for operand in operands:
                value = operand(run)
                if counts(value) is stops_at:
                    break
            return value

        return join

    def _comparison(self) -> Function:
        left = self._sum()
        while (sign := self._sign_of(COMPARE)) is not None:
            left = _compared(COMPARE[sign], left, self._sum())
        return left

    def _sum(self) -> Function:
        return self._chain("+-", self._product)

    def _product(self) -> Function:
        return self._chain("*/", self._unary)

    def _chain(self, signs: str, operand: Callable[[], Function]) -> Function:
        """Operands with signs of one rank between them, from left to right."""
        first = operand()
        rest: list[tuple[str, Function]] = []
        while (sign := self._sign_of(signs)) is not None:
            rest.append((sign, operand()))
        return self._computed(first, rest) if rest else first

    def _sign_of(self, signs: Container[str]) -> str | None:
        """One of these signs, if it is what comes next."""
        if self._at == len(self.tokens) or self.tokens[self._at][0] != "sign":
            return None
        sign = self.tokens[self._at][1]
        if sign not in signs:
            return None
        self._at += 1
        self.last_name = ""
        return sign

    def _computed(self, first: Function, rest: Sequence[tuple[str, Function]]) -> Function:
        line = self._line
        self.last_name = ""

        def compute(run: Run) -> Value:
            total, sign = first(run), ""
            try:
                for sign, operand in rest:
                    total = as_told(COMPUTE[sign](number_of(total), number_of(operand(run))))
            except ValueError:
                raise BadTemplate(f"'{sign}' needs two numbers", line) from None
            except ArithmeticError:
                raise BadTemplate(f"no number comes of '{sign}'", line) from None
            return total

        return compute

    def _unary(self) -> Function:
        signs = []
        while self._is("name", "not") or self._is("sign", "#") or self._is("sign", "-"):
            signs.append(self.tokens[self._at][1])
            self._at += 1
        if len(signs) > _MAX_SIGNS:
            raise BadTemplate("nested too deeply", self._line)
        value = self._primary()
        for sign in reversed(signs):
            if sign == "-":
                value = self._computed(_constant(0), [("-", value)])
            else:
                value = _applied(negate if sign == "not" else length, value)
            self.last_name = ""
        return value

    def _primary(self) -> Function:
        if self._is("sign", "("):
            return self.parenthesised()
        kind, text = self._next()
        if kind == "number":
            return _constant(float(text) if "." in text else int(text))
        if kind == "text":
            return _constant(re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL))
        if kind != "name":
            self._at -= 1
            self._fail()
        if text in _LITERALS:
            return _constant(_LITERALS[text])
        if text in KEYWORDS:
            self._at -= 1
            self._fail()
        return self._macro(text) if self._is("sign", "(") else self._path(text)

    def _macro(self, name: str) -> Function:
        if name == "empty":
            return _applied(is_empty, self.parenthesised())
        if name not in _BRACES:
            raise BadTemplate(f"unknown macro '{name}'", self._line)
        self._need("(")
        self._need(")")
        return _constant(_BRACES[name])

    def _path(self, name: str) -> Function:
        steps: list[Function] = []
        last = name
        while self._at < len(self.tokens):
            if self._take("sign", "."):
                kind, last = self._next()
                if kind != "name":
                    self._at -= 1
                    self._fail()
                steps.append(_constant(last))
            elif self._take("sign", "["):
                steps.append(self.disjunction())
                last = ""
                self._need("]")
            else:
                break
        self.last_name = last
        if not steps:
            return lambda run: run.look_up(name)

        def walk(run: Run) -> Value:
            value = run.look_up(name)
            for step in steps:
                value = member(value, step(run))
            return value

        return walk

    # ── tokens ───────────────────────────────────────────────────────────────────────────

    def _is(self, kind: str, text: str) -> bool:
        return self._at < len(self.tokens) and self.tokens[self._at] == (kind, text)

    def _take(self, kind: str, text: str) -> bool:
        found = self._is(kind, text)
        self._at += found
        return found

    def _need(self, sign: str) -> None:
        if not self._take("sign", sign):
            self._fail(f"'{sign}' expected")

    def _next(self) -> Token:
        if self._at == len(self.tokens):
            self._fail()
        self._at += 1
        return self.tokens[self._at - 1]

    def _fail(self, what: str = "syntax error") -> NoReturn:
        near = f"near '{self.tokens[self._at][1][:20]}'" if self._at < len(self.tokens) else "at the end"
        raise BadTemplate(f"{what} {near}", self._line)


def _constant(value: Value) -> Function:
    return lambda run: value


def _applied(function: Callable[[Value], Value], argument: Function) -> Function:
    return lambda run: function(argument(run))


def _compared(function: Comparison, left: Function, right: Function) -> Function:
    return lambda run: function(run.budget, left(run), right(run))
