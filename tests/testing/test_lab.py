"""The files of a test relay, as they are written from a test's own settings."""

import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from relay.config.problems import ConfigError
from relay.testing.lab import lab_directory, write_files


def written(folder: Path, **section: object) -> dict[str, object]:
    """The section `queue` as TOML reads it again."""
    file = write_files(folder, lab_directory(), "127.0.0.1:1", "127.0.0.1:2", {"queue": section})
    found: dict[str, object] = tomllib.loads(file.read_text(encoding="utf-8"))["queue"]
    return found


@pytest.mark.parametrize(
    "value",
    [None, float("inf"), float("nan"), timedelta(1), {1}, b"x", [None], {"a": None}, {1: "a"}, "\ud800"],
)
def test_a_value_that_toml_cannot_say_is_named_by_section_and_key(tmp_path: Path, value: object) -> None:
    with pytest.raises(ConfigError) as refused:
        written(tmp_path, max_retry_gap=value, first_retry=value)
    first, second = refused.value.problems
    assert first.startswith(
        f"{tmp_path}/relay.toml: queue.first_retry: {value!r}: expected what TOML can say"
    )
    assert "queue.max_retry_gap: " in second


def test_any_text_is_written_as_it_is(tmp_path: Path) -> None:
    text = '\U0001f600 \x7f \x00 " \\ ü\n'
    assert written(tmp_path, a=text, b=[True, 1, 1.5, {"c": text}]) == {
        "first_retry": "20m",
        "a": text,
        "b": [True, 1, 1.5, {"c": text}],
    }
