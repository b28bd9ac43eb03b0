"""The example of docs/testing.md is true: it runs here as it stands there."""

import re
from pathlib import Path

from relay.testing import FakeMta, RelayHarness

DOCS = Path(__file__).parents[2] / "docs" / "testing.md"


async def test_the_documented_example_passes(relay: RelayHarness, mta: FakeMta) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), flags=re.S)
    names: dict[str, object] = {}
    exec(compile(example, str(DOCS), "exec"), names)
    test = names["test_a_retry_leaves_from_the_same_ip"]
    assert callable(test)
    await test(relay, mta)


def test_the_documented_example_has_at_most_15_lines() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), flags=re.S)
    assert len(example.strip().splitlines()) <= 15
