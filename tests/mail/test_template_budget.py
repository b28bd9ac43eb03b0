"""What a rendering may take: steps, whatever they are spent on, and octets."""

from typing import Any

import pytest

from relay.mail.budget import BadTemplate, Budget, OverBudget
from relay.mail.expression import MAX_TOKENS
from relay.mail.template import TemplateKind, compile_template


def spent(text: str, data: dict[str, Any], kind: TemplateKind = TemplateKind.HTML) -> int:
    """Steps of one rendering."""
    budget = Budget(steps=10**9, octets=10**9)
    compile_template(text, kind).render(data, budget)
    return 10**9 - budget.steps


def doubling(depth: int) -> dict[str, Any]:
    """Each text renders the next one twice."""
    twice = "{{ render_dynamic_content(d.a%d) }}"
    return {"d": {f"a{level}": 2 * (twice % (level + 1)) for level in range(depth)} | {f"a{depth}": ""}}


def deep(width: int) -> list[list[int]]:
    return [[0] * 100 for _ in range(width)]


@pytest.mark.parametrize(
    ("text", "data", "least"),
    [
        pytest.param("{{each a}}{{end}}", {"a": [0] * 1000}, 1000, id="rounds"),
        pytest.param("{{each a}}{{if b}}{{end}}{{end}}", {"a": [0] * 1000}, 2000, id="conditions"),
        pytest.param("{{each a}}{{b}}{{end}}", {"a": [0] * 1000}, 2000, id="values that are nothing"),
        pytest.param(
            "{{if x == y}}{{end}}", {"x": "x" * 256_000, "y": "x" * 256_000}, 1000, id="equal texts"
        ),
        pytest.param(
            "{{if x < y}}{{end}}", {"x": "x" * 256_000, "y": "x" * 256_000}, 1000, id="texts in order"
        ),
        pytest.param("{{if x == y}}{{end}}", {"x": deep(10), "y": deep(10)}, 1000, id="equal lists"),
        pytest.param(
            "{{if x != y}}{{end}}", {"x": {"a": deep(10)}, "y": {"a": deep(10)}}, 1000, id="objects"
        ),
        pytest.param("{{b}}", {"b": [0] * 10_000}, 1000, id="a list that is written"),
        pytest.param("{{b}}", {"b": "<" * 64_000}, 1000, id="a text that is escaped"),
        pytest.param("http://{{b}}", {"b": "<" * 1000}, 1000, id="a text in a URL"),
        pytest.param("x" * 256_000, {}, 1000, id="text"),
        pytest.param("{{ render_dynamic_content(d.a0) }}", doubling(9), 1000, id="dynamic texts that double"),
        pytest.param("{{" + "not " * 200 + "b}}" * 5, {}, 200, id="operands"),
    ],
)
def test_work_is_counted_that_writes_little_or_nothing(text: str, data: dict[str, Any], least: int) -> None:
    assert spent(text, data) >= least


def test_dynamic_texts_that_double_are_over_at_once() -> None:
    template = compile_template("{{ render_dynamic_content(d.a0) }}", TemplateKind.TEXT)
    with pytest.raises(OverBudget, match="1,000,000 steps"):
        template.render(doubling(31))


def test_unlike_values_are_not_equal_and_cost_nothing_to_tell() -> None:
    same = "{{if x == y}}same{{end}}"
    template = compile_template(same, TemplateKind.TEXT)
    assert template.render({"x": deep(2), "y": deep(2)}) == "same"
    assert template.render({"x": {"a": [1]}, "y": {"a": [1.0]}}) == "same"
    unlike: list[tuple[Any, Any]] = [
        (deep(2), deep(3)),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": 1, "b": 1}),
        ([1], [True]),
        ([1], {"a": 1}),
        ("1", 1),
        (None, False),
    ]
    assert [template.render({"x": x, "y": y}) for x, y in unlike] == [""] * len(unlike)
    assert template.render({"x": None, "y": None}) == "same"
    assert spent(same, {"x": deep(100), "y": deep(99)}) < 10


def test_a_budget_is_shared_by_what_is_rendered_for_one_message() -> None:
    budget = Budget(octets=10)
    template = compile_template("{{a}}", TemplateKind.TEXT)
    assert template.render({"a": "x" * 6}, budget) == "x" * 6
    with pytest.raises(OverBudget, match="too large"):
        template.render({"a": "x" * 6}, budget)


def test_octets_are_counted_and_not_characters() -> None:
    with pytest.raises(OverBudget):
        compile_template("{{a}}", TemplateKind.TEXT).render({"a": "é" * 6}, Budget(octets=11))
    assert compile_template("{{a}}", TemplateKind.TEXT).render({"a": "é" * 5}, Budget(octets=11)) == "é" * 5


def test_dynamic_content_is_compiled_at_the_cost_of_whoever_brings_it() -> None:
    data = {"a": ["{{b}}" * 20 + str(number) for number in range(100)]}
    text = "{{each a}}{{render_dynamic_content(loop_var)}}{{end}}"
    first, again = spent(text, data), spent(text, {"a": data["a"][:1]})
    assert first > 100 * 20 * 8
    long = {"b": "{{c}}" * 10_000}
    text = "{{render_dynamic_content(b)}}"
    assert spent(text, long) == spent(text, long) > 100_000, "too long to be kept"
    short = {"b": "{{c}}{{d}}"}
    assert spent(text, short) > spent(text, short), "kept"
    assert again < first


def test_a_text_has_so_many_names_and_signs_and_no_more() -> None:
    compile_template("{{a}}" * (MAX_TOKENS // 3), TemplateKind.TEXT)
    with pytest.raises(BadTemplate, match="line 1: a text may have at most 100,000 names and signs"):
        compile_template("{{a}}" * (MAX_TOKENS // 3 + 1), TemplateKind.TEXT)
    with pytest.raises(BadTemplate, match="line 1: a text may have at most 100,000 names and signs"):
        compile_template("{{if a}}{{end}} " * (MAX_TOKENS // 4 + 1), TemplateKind.TEXT)
