"""The examples of docs/testing.md are true: they run here as they stand there."""

import re
from pathlib import Path

from relay.testing import FakeMta, RelayHarness, ThreadedRelay

DOCS = Path(__file__).parents[2] / "docs" / "testing.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.S)


def _named(name: str) -> object:
    """The test of that name, from the example that has it."""
    (example,) = [text for text in EXAMPLES if name in text]
    names: dict[str, object] = {}
    exec(compile(example, str(DOCS), "exec"), names)
    return names[name]


async def test_the_documented_example_passes(relay: RelayHarness, mta: FakeMta) -> None:
    test = _named("test_a_retry_leaves_from_the_same_ip")
    assert callable(test)
    await test(relay, mta)


def test_the_one_for_code_that_blocks_passes(relay_server: ThreadedRelay) -> None:
    test = _named("test_the_order_is_confirmed")
    assert callable(test)
    test(relay_server)


def test_the_documented_examples_have_at_most_15_lines() -> None:
    assert [text for text in EXAMPLES if len(text.strip().splitlines()) > 15] == []


def test_every_fixture_that_is_documented_is_one_of_the_plugin() -> None:
    """Their names are ours alone, so that they meet nobody else's."""
    from relay.testing import async_fixtures, plugin

    documented = re.findall(r"^\| `(relay\w*)` \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(documented) == 6
    assert all(hasattr(plugin, name) or hasattr(async_fixtures, name) for name in documented)
    assert not {"clock", "mta"} & {*vars(plugin), *vars(async_fixtures)}
