"""How deep JSON may be nested, counted before any Python reads it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail.scan import MAX_LEVELS, BadJson, is_too_deep, read_object

FLAT = {"text": 'a "[[[" \\', "\\": ["{", '\\"'], "e": ["", {}, []]}


def wrapped(value: Any, levels: int, shapes: str) -> str:
    text = json.dumps(value)
    for level in range(levels):
        text = f"[{text}]" if shapes[level % len(shapes)] == "[" else f'{{"a\\"[": {text}}}'
    return text


@given(st.text("[{", min_size=1, max_size=9), st.lists(st.sampled_from([FLAT, [], "[" * 999, "\\"])))
def test_levels_are_counted_and_signs_in_texts_are_not(shapes: str, beside: list[Any]) -> None:
    inner = 1 + max([0, *(3 if one == FLAT else 1 for one in beside if not isinstance(one, str))])
    fits = wrapped(beside, MAX_LEVELS - inner, shapes)
    assert not is_too_deep(fits.encode())
    assert is_too_deep(wrapped(beside, MAX_LEVELS - inner + 1, shapes).encode())


@pytest.mark.parametrize("shut", [b"]" * MAX_LEVELS, b""])
def test_arrays_that_nobody_shuts_count_as_well(shut: bytes) -> None:
    assert not is_too_deep(b"[" * MAX_LEVELS + shut)
    assert is_too_deep(b"[" * (MAX_LEVELS + 1) + shut)


def test_many_beside_each_other_are_not_deep() -> None:
    assert not is_too_deep(json.dumps([FLAT] * 10_000).encode())


def test_an_object_as_deep_as_it_may_be_is_read_and_a_deeper_one_is_not() -> None:
    deep = wrapped(1, MAX_LEVELS - 1, "[")
    assert read_object(b'{"a": %b}' % deep.encode(), 10_000)
    with pytest.raises(BadJson):
        read_object(b'{"a": [%b]}' % deep.encode(), 10_000)
