"""SparkPost's substitution language, by the examples of its reference and the corners between them."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail.budget import BadTemplate
from relay.mail.expression import MAX_NESTING
from relay.mail.template import TemplateKind, compile_template, literal

NAMES = {"name": "Clark", "none": None, "empty": "", "zero": 0, "yes": True, "no": False, "age": 40}
NESTED = {
    "address": {"street": "Howard Street", "city": "San Francisco"},
    "part": "street",
    "years": 30,
    "children": ["Rusty", "Audrey"],
    "cart": [{"name": "Jacket", "price": 39.99, "sizes": ["S", "M"]}, {"name": "Gloves", "price": 5.00}],
    "nothing": [],
}
DATA: dict[str, Any] = NAMES | NESTED


def render(text: str, kind: TemplateKind = TemplateKind.TEXT, **data: Any) -> str:
    return compile_template(text, kind).render(DATA | data)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("no braces { } }}", "no braces { } }}", id="plain text"),
        pytest.param("{{name}} {{ name }} {{  name   }}", "Clark Clark Clark", id="white space"),
        pytest.param("[{{unknown}}{{none}}]", "[]", id="missing and null"),
        pytest.param("{{none or 'you'}} {{name or 'you'}}", "you Clark", id="default"),
        pytest.param('{{none or unknown or "x"}}', "x", id="several defaults"),
        pytest.param("{{empty or 'x'}}|{{zero or 'x'}}", "|0", id="an empty text and 0 count"),
        pytest.param("{{yes and name}} {{no and name}}", "Clark false", id="and"),
        pytest.param("{{address.street}}", "Howard Street", id="dots"),
        pytest.param("{{address['city']}} {{address[part]}}", "San Francisco Howard Street", id="brackets"),
        pytest.param("{{children[1]}} {{children[2]}}", "Rusty Audrey", id="arrays begin at 1"),
        pytest.param(
            "{{children[0]}}{{children[3]}}{{children['1']}}{{children[yes]}}", "", id="no such item"
        ),
        pytest.param("{{address[1]}}{{name.first}}{{none.deep.er}}", "", id="no such member"),
        pytest.param("{{cart[1].name}}", "Jacket", id="index and dot"),
        pytest.param("{{#children}} {{#name}} {{#none}}", "2 5 0", id="length"),
        pytest.param("{{39.99}} {{5.00}} {{12}} {{cart[2].price}}", "39.99 5 12 5", id="numbers"),
        pytest.param("{{true}} {{false}} [{{nil}}]", "true false []", id="literals"),
        pytest.param("{{children}}", '["Rusty","Audrey"]', id="an array is JSON"),
        pytest.param(r"{{'it\'s'}} {{" + r'"a\\b"}}', r"it's a\b", id="quotes in texts"),
        pytest.param("{{(none or name)}}", "Clark", id="parentheses"),
        pytest.param("{{opening_double_curly()}}x{{closing_double_curly()}}", "{{x}}", id="double braces"),
        pytest.param("{{opening_triple_curly()}}x{{closing_triple_curly( )}}", "{{{x}}}", id="triple braces"),
        pytest.param("{{opening_single_curly()}}x{{closing_single_curly()}}", "{x}", id="single braces"),
        pytest.param("{{loop_var}}{{loop_index}}{{loop_vars.x}}", "", id="no loop"),
        pytest.param(
            "{{years - 5}} {{years + 1}} {{years * 2}} {{years / 4}}", "25 31 60 7.5", id="arithmetic"
        ),
        pytest.param("{{ (years + 2) / 4 - 2 * 3 }} {{2 - 1 - 1}} {{8 / 2 / 2}}", "2 0 2", id="precedence"),
        pytest.param("{{-years}} {{- -years}} {{2 * -3}} {{1 - -1}}", "-30 30 -6 2", id="signs"),
        pytest.param("{{0.1 + 0.2}} {{5.00 + 5}} {{1 / 3}}", "0.3 10 0.33333333333333", id="digits"),
        pytest.param("{{'15' - 5}} {{' 1.5e1 ' * '2'}}", "10 30", id="texts that are numbers"),
        pytest.param("{{children[1 + 1]}} {{cart[#cart - 1].name}}", "Audrey Jacket", id="in an index"),
        pytest.param("{{if years - 29 == 1 and years * 2 > 59}}yes{{end}}", "yes", id="in a condition"),
        pytest.param("{{each children}}{{loop_index * 10 - 5}};{{end}}", "5;15;", id="of the loop's index"),
        pytest.param(
            "{{99999999999999 + 0}} {{10000000000 * 10000000000}}", "99999999999999 1e+20", id="large"
        ),
    ],
)
def test_an_expression_shows_its_value(text: str, shown: str) -> None:
    assert render(text) == shown


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("yes", True),
        ("no", False),
        ("none", False),
        ("empty", True),
        ("not yes", False),
        ("not none", True),
        ("not not yes", True),
        ("age > 30", True),
        ("age < 30", False),
        ("age >= 40 and age <= 40", True),
        ("age == 40.0", True),
        ("name == 'Clark'", True),
        ("name != 'Clark'", False),
        ("name < 'D'", True),
        ("age == '40'", False),
        ("age > '30'", False),
        ("none > 30", False),
        ("yes == 1", False),
        ("none == unknown", True),
        ("no or age > 30 and name == 'Clark'", True),
        ("not age == 40", False),
        ("empty(nothing)", True),
        ("empty(children)", False),
        ("empty(none)", True),
        ("empty(age)", False),
        ("not empty(cart)", True),
        ("(age > 30) == true", True),
        ("yes then", True),
        ("#children == 2", True),
    ],
)
def test_a_condition_holds_or_not(condition: str, holds: bool) -> None:
    assert render("{{if " + condition + "}}yes{{else}}no{{end}}") == ("yes" if holds else "no")


def test_an_if_without_blank_is_an_if() -> None:
    assert render("{{if(age > 30)}}old{{end}}") == "old"


@pytest.mark.parametrize(("age", "word"), [(10, "child"), (15, "teen"), (40, "adult")])
def test_the_first_branch_that_holds_is_taken(age: int, word: str) -> None:
    text = "{{if age < 12}}child{{elseif age < 18 then}}teen{{else}}adult{{end}}"
    assert render(text, age=age) == word


def test_without_an_else_nothing_is_shown() -> None:
    assert render("[{{if none}}x{{elseif no}}y{{end}}]") == "[]"


def test_statements_alone_on_their_line_leave_no_empty_line() -> None:
    text = 'Start\n{{ if state == "MD" }}  \nMaryland\r\n{{ end }}\r\nEnd\n'
    assert render(text, state="MD") == "Start\nMaryland\r\nEnd\n"


def test_a_statement_beside_text_keeps_the_line() -> None:
    assert render("a {{if yes}}\nb{{end}}\nc") == "a \nb\nc"
    assert render("{{name}}\n{{if yes}}{{end}}\nc\n{{if yes}}x{{end}}") == "Clark\nc\nx"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("{{if name}}\nDear\n{{end}}, hello\n", "Dear, hello\n", id="end"),
        pytest.param("{{if name}}\r\nDear\r\n{{end}}, hello", "Dear, hello", id="end, CRLF"),
        pytest.param("a\n{{if none}}\nb\n  {{end}} c", "a c", id="end of what is not shown"),
        pytest.param("a\n{{if none}}\nb\n{{else}} c\n{{end}}\nd", "a c\nd", id="else"),
        pytest.param("a\n{{if name}}\nb\n{{else}} c\n{{end}}\nd", "a\nb\nd", id="before an else"),
        pytest.param("a\n{{if none}}\nb\n{{elseif name}} c\n{{end}}\nd", "a c\nd", id="elseif"),
        pytest.param("{{each children}}\n{{loop_var}}\n{{end}}, all", "Rusty\nAudrey, all", id="each"),
        pytest.param("{{if none}}\nb\n{{end}}c", "c", id="nothing before it"),
        pytest.param("{{name}}{{if none}}\n{{end}}!", "Clark!", id="a value before it"),
        pytest.param("a\n{{if name}}b{{end}} c", "a\nb c", id="all on one line"),
        pytest.param("a\n{{if none}}{{else}}b{{end}} c", "a\nb c", id="else on the same line"),
        pytest.param("a\n{{if name}}\nb{{end}} c", "a\nb c", id="no break before it"),
    ],
)
def test_text_behind_an_end_or_else_goes_on_without_the_line_break(text: str, shown: str) -> None:
    assert render(text) == shown


TWO_STATEMENTS = "A\n{{if a}}{{if b}}\nB\n{{end}}{{end}}\nC"
IN_A_ROW = "A\n{{if a}}\nB\n{{end}}{{if b}}\nD\n{{end}}\nC"


@pytest.mark.parametrize(
    ("text", "both", "a_alone", "b_alone"),
    [
        pytest.param(TWO_STATEMENTS, "A\nB\nC", "A\nC", "A\nC", id="nested"),
        pytest.param(TWO_STATEMENTS.replace("\n", "\r\n"), "A\r\nB\r\nC", "A\r\nC", "A\r\nC", id="CRLF"),
        pytest.param(TWO_STATEMENTS.replace("}{", "} \t{"), "A\nB\nC", "A\nC", "A\nC", id="blanks between"),
        pytest.param(TWO_STATEMENTS.replace("}\n", "} \n"), "A\nB\nC", "A\nC", "A\nC", id="blanks behind"),
        pytest.param(TWO_STATEMENTS.replace("\n{", "\n  {"), "A\nB\nC", "A\nC", "A\nC", id="blanks before"),
        pytest.param(
            TWO_STATEMENTS.replace("{if b}", "{if\nb}"), "A\nB\nC", "A\nC", "A\nC", id="a break within braces"
        ),
        pytest.param(IN_A_ROW, "A\nB\nD\nC", "A\nB\nC", "A\nD\nC", id="in a row"),
        pytest.param(
            IN_A_ROW.replace("}{", "} {"), "A\nB\nD\nC", "A\nB\nC", "A\nD\nC", id="in a row, blanks"
        ),
        pytest.param(
            "{{if a}}\nB\n{{else}} {{if b}}\nD\n{{end}} {{end}}\nC",
            "B\nC",
            "B\nC",
            "D\nC",
            id="behind an else",
        ),
        pytest.param("{{if a}}{{if b}}\nB\n{{end}}{{end}} ", "B\n", "", "", id="the last line"),
        pytest.param(
            "{{if a}}\n{{if b}}\nB\n{{end}} {{end}}, C", "B, C", ", C", ", C", id="goes on behind both"
        ),
        pytest.param(
            "A\n\n{{if a}}{{if b}}\n{{end}}{{end}}, C",
            "A\n, C",
            "A\n, C",
            "A\n, C",
            id="one break is taken back",
        ),
        pytest.param(
            "{{if a}}\n{{if b}}\nB\n{{end}}{{else}} D\n{{end}}\nC",
            "B\nC",
            "C",
            " D\nC",
            id="not before an else",
        ),
        pytest.param(
            "A\n {{if a}} {{if b}} B{{end}}{{end}}\nC", "A\n   B\nC", "A\n  \nC", "A\n \nC", id="text"
        ),
        pytest.param("A\n{{if a}}{{end}} {{n}}\nC", "A\n N\nC", "A\n N\nC", "A\n N\nC", id="a value"),
        pytest.param("{{n}} {{if a}}{{end}}\nC", "N \nC", "N \nC", "N \nC", id="behind a value"),
    ],
)
def test_a_line_of_statements_and_blanks_alone_leaves_no_line(
    text: str, both: str, a_alone: str, b_alone: str
) -> None:
    template = compile_template(text, TemplateKind.TEXT)
    values: list[dict[str, Any]] = [{"a": 1, "b": 1}, {"a": 1}, {"b": 1}]
    assert [template.render({"n": "N"} | given) for given in values] == [both, a_alone, b_alone]


def test_each_shows_every_item() -> None:
    text = "{{ each children }}\n{{loop_index}}: {{loop_var}}\n{{ end }}\n"
    assert render(text) == "1: Rusty\n2: Audrey\n"


def test_nested_loops_know_their_arrays_by_name() -> None:
    text = (
        "{{each cart}}\n{{loop_vars.cart.name}}: {{each loop_vars.cart.sizes}}"
        "{{loop_vars.cart.name}}-{{loop_vars.sizes}},{{end}}{{loop_var.price}}\n{{end}}\n"
    )
    assert render(text) == "Jacket: Jacket-S,Jacket-M,39.99\nGloves: 5\n"


def test_each_of_null_or_nothing_shows_nothing() -> None:
    assert render("[{{each none}}x{{end}}{{each nothing}}x{{end}}]") == "[]"


def test_each_takes_do_and_any_expression() -> None:
    assert render("{{each (none or children) do}}{{loop_var}}{{end}}") == "RustyAudrey"


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        (TemplateKind.HTML, "&lt;b&gt;&amp;&quot;&#39;&#x2F; <b>&\"'/"),
        (TemplateKind.TEXT, "<b>&\"'/ <b>&\"'/"),
        (TemplateKind.HEADER, "<b>&\"'/ <b>&\"'/"),
    ],
)
def test_values_are_escaped_in_html_unless_braces_are_triple(kind: TemplateKind, shown: str) -> None:
    assert render("{{x}} {{{x}}}", kind, x="<b>&\"'/") == shown


def test_values_in_links_are_percent_encoded() -> None:
    text = '<a href="https://c.example/d?user={{user}}&code={{code}}">{{code}}</a> {{{code}}}'
    shown = render(text, TemplateKind.HTML, user="jörn", code="Daily Deal!/")
    link = "https://c.example/d?user=j%C3%B6rn&code=Daily%20Deal%21%2F"
    assert shown == f'<a href="{link}">Daily Deal!&#x2F;</a> Daily Deal!/'


def test_a_value_that_holds_the_rest_of_a_link_goes_in_triple_braces() -> None:
    text = "http://{{{host}}}/{{x}} and {{x}}, http://a.example\n{{x}}"
    assert (
        render(text, host="b.example/c", x="a b") == "http://b.example/c/a%20b and a b, http://a.example\na b"
    )


def test_dynamic_content_is_rendered_and_not_escaped() -> None:
    text = "{{each offers}}{{render_dynamic_content(dynamic_html[loop_var])}}{{end}}"
    dynamic = {"a": '<a href="http://t.example?n={{name}}">{{name}}</a>', "b": "{{name}}"}
    shown = render(text, TemplateKind.HTML, offers=["b", "a", "none"], dynamic_html=dynamic, name="<x>")
    assert shown == '&lt;x&gt;<a href="http://t.example?n=%3Cx%3E">&lt;x&gt;</a>'


def test_braces_in_values_mean_nothing() -> None:
    assert render("{{x}} {{{x}}}", x="{{name}}") == "{{name}} {{name}}"


def test_a_literal_shows_its_braces() -> None:
    assert literal("{{name}}").render({"name": "x"}) == "{{name}}"
    assert literal("").render({}) == ""


def test_a_template_knows_whether_it_is_the_same_for_all() -> None:
    assert compile_template("{x}", TemplateKind.TEXT).is_constant
    assert not compile_template("{{x}}", TemplateKind.TEXT).is_constant
    assert compile_template("{{x}}", TemplateKind.TEXT).source == "{{x}}"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a\n{{name", "line 2: substitution is missing its ending '}}'"),
        ("{{{name}}", "line 1: substitution is missing its ending '}}}'"),
        ("{{}}", "line 1: syntax error at the end"),
        ("\n\n{{a b}}", "line 3: syntax error near 'b'"),
        ("{{a.}}", "line 1: syntax error at the end"),
        ("{{a.'b'}}", "line 1: syntax error near ''b''"),
        ("{{a[1}}", "line 1: ']' expected at the end"),
        ("{{(a}}", "line 1: ')' expected at the end"),
        ("{{a ? b}}", "line 1: syntax error near '? b'"),
        ("{{a == }}", "line 1: syntax error at the end"),
        ("{{== a}}", "line 1: syntax error near '=='"),
        ("{{and}}", "line 1: syntax error near 'and'"),
        ("{{'a}}", 'line 1: syntax error near "\'a"'),
        ("{{evil()}}", "line 1: unknown macro 'evil'"),
        ("{{opening_double_curly(1)}}", "line 1: ')' expected near '1'"),
        ("{{render_dynamic_content(a) b}}", "line 1: syntax error near 'b'"),
        ("{{if render_dynamic_content(a)}}{{end}}", "line 1: dynamic content is no condition"),
        ("{{if a}}", "line 1: 'if' without its 'end'"),
        ("x\n{{each a}}\n\n", "line 2: 'each' without its 'end'"),
        ("{{end}}", "line 1: 'end' without its 'if or each'"),
        ("{{else}}", "line 1: 'else' without its 'if'"),
        ("{{each a}}{{else}}{{end}}", "line 1: 'else' without its 'if'"),
        ("{{if a}}{{else}}{{else}}{{end}}", "line 1: 'else' without its 'if'"),
        ("{{if a}}{{else}}{{elseif b}}{{end}}", "line 1: 'elseif' without its 'if'"),
        ("{{if a}}{{end if}}", "line 1: syntax error near 'if'"),
        ("{{if}}{{end}}", "line 1: syntax error at the end"),
        ("{{" + "x" * 1001 + "}}", "line 1: expression is too long"),
        ("{{" + "(" * 40 + ")" * 40 + "}}", "line 1: nested too deeply"),
        ("{{" + "-" * 990 + "1}}", "line 1: nested too deeply"),
        ("{{" + "#" * 990 + "a}}", "line 1: nested too deeply"),
        ("{{a +}}", "line 1: syntax error at the end"),
        ("{{* a}}", "line 1: syntax error near '*'"),
        ("{{a + * b}}", "line 1: syntax error near '*'"),
        ("{{if a}}" * (MAX_NESTING + 1), "line 1: nested too deeply"),
    ],
)
def test_what_cannot_be_compiled_is_told_with_its_line(text: str, error: str) -> None:
    with pytest.raises(BadTemplate) as caught:
        compile_template(text, TemplateKind.TEXT)
    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("text", "data", "error"),
    [
        ("\n{{a + 1}}", {"a": "x"}, "line 2: '+' needs two numbers"),
        ("{{a + 1}}", {"a": "0." + "1" * 399}, "line 1: '+' needs two numbers"),
        ("{{a + 1}}", {"a": "1" * 300_000 + "x"}, "line 1: '+' needs two numbers"),
        ("{{1 * a}}", {"a": None}, "line 1: '*' needs two numbers"),
        ("{{-a}}", {"a": [1]}, "line 1: '-' needs two numbers"),
        ("{{a - 1}}", {"a": True}, "line 1: '-' needs two numbers"),
        ("{{1 / a}}", {"a": 0}, "line 1: no number comes of '/'"),
        ("{{a * a}}", {"a": 1e300}, "line 1: no number comes of '*'"),
        ("{{a + 1}}", {"a": 10**400}, "line 1: no number comes of '+'"),
    ],
)
def test_arithmetic_that_makes_no_number_is_told(text: str, data: dict[str, Any], error: str) -> None:
    with pytest.raises(BadTemplate) as caught:
        render(text, **data)
    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("text", "data", "error"),
    [
        ("\n{{each a}}{{end}}", {"a": "x"}, "line 2: 'each' needs an array"),
        ("{{render_dynamic_content(a)}}", {"a": 1}, "dynamic content must be a text"),
        ("{{render_dynamic_content(a)}}", {"a": "{{"}, "line 1: substitution is missing its ending '}}'"),
        (
            "{{render_dynamic_content(a)}}",
            {"a": "{{render_dynamic_content(a)}}"},
            "dynamic content is nested too deeply",
        ),
        (
            "{{each a}}{{each a}}{{each a}}{{end}}{{end}}{{end}}",
            {"a": [0] * 100},
            "rendering takes more than 1,000,000 steps",
        ),
        (
            "{{each a}}{{b}}{{end}}",
            {"a": [0] * 30, "b": "x" * (1 << 20)},
            "the rendered content is too large",
        ),
    ],
    ids=["no array", "no text", "bad dynamic content", "recursion", "loops", "size"],
)
def test_what_cannot_be_rendered_is_told(text: str, data: dict[str, Any], error: str) -> None:
    with pytest.raises(BadTemplate) as caught:
        compile_template(text, TemplateKind.TEXT).render(data)
    assert str(caught.value) == error


def test_a_loop_leaves_no_trace() -> None:
    text = "{{each children}}{{each children}}{{end}}{{loop_index}}{{end}}{{loop_var}}{{loop_vars.children}}"
    assert render(text) == "12"


PIECES = st.sampled_from(
    [
        *("{{", "}}", "{{{", "}}}", "if ", "else", "elseif ", "each ", "end", " or ", " and ", "not ", "#"),
        *("name", "children", "cart", "loop_var", ".", "[1]", "(", ")", "'x'", "==", " ", "\n", "http://x/"),
    ]
)


@given(st.lists(PIECES, max_size=30).map("".join))
def test_any_text_renders_or_is_refused(text: str) -> None:
    with suppress(BadTemplate):
        assert compile_template(text, TemplateKind.HTML).render(DATA) is not None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(VALUES)
def test_no_value_breaks_out_of_html(value: Any) -> None:
    shown = compile_template('<p title="{{x}}">', TemplateKind.HTML).render({"x": value})
    assert not set(shown.removeprefix('<p title="').removesuffix('">')) & set("<>\"'")
