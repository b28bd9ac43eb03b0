"""The wheel in an environment and a project of somebody else: with pytest and the extra `testing` alone."""

import re
from pathlib import Path

import pytest

from tests.support.installed import checked, environment_with_testing, pip, run

DOCS = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")


pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of the environment."""
    return environment_with_testing(tmp_path_factory.mktemp("stranger"))


def test_what_is_installed_is_the_package_and_its_plugin(python: Path, tmp_path: Path) -> None:
    listed = "from importlib.metadata import files; print(*files('relay-mta'), sep='\\n')"
    names = set(checked([python, "-c", listed], tmp_path).splitlines())
    assert {"relay/py.typed", "relay/testing/plugin.py", "../../../bin/relay"} <= names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"relay", "relay_mta", ".."}


def test_it_is_found_by_its_names(python: Path, tmp_path: Path) -> None:
    version = (
        "from importlib.metadata import version; import relay; print(version('relay-mta'), relay.__version__)"
    )
    first, second = checked([python, "-c", version], tmp_path).split()
    assert first == second
    assert checked([python.with_name("relay"), "--version"], tmp_path) == f"relay {first}\n"
    assert checked([*pip(python), "check"], tmp_path) == "No broken requirements found.\n"


def test_the_documented_examples_pass_with_the_documented_settings(python: Path, tmp_path: Path) -> None:
    (settings,) = re.findall(r"```ini\n(.*?)```", DOCS, re.DOTALL)
    (tmp_path / "pytest.ini").write_text(settings, encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    for number, example in enumerate(examples):
        (tmp_path / f"test_{number}.py").write_text(example, encoding="utf-8")
    printed = checked([python, "-W", "error", "-m", "pytest", "-q", "-W", "error"], tmp_path)
    assert f"{len(examples)} passed" in printed


def test_a_suite_that_does_not_use_it_does_not_notice_it(python: Path, tmp_path: Path) -> None:
    """Its fixtures may be called as they like, its modes are as it set them, nothing of ours is loaded."""
    (tmp_path / "test_own.py").write_text(
        "import sys\n"
        "import pytest\n"
        "@pytest.fixture\n"
        "def clock(): return 7\n"
        "@pytest.fixture\n"
        "def mta(clock): return clock\n"
        "def test_own(mta, request):\n"
        "    assert mta == 7\n"
        "    assert request.config.getini('asyncio_mode') == 'strict'\n"
        "    ours = {name for name in sys.modules if name.partition('.')[0] == 'relay'}\n"
        "    ends = ('', '.plugin', '.async_fixtures')\n"
        "    assert ours <= {'relay', *('relay.testing' + end for end in ends)}\n"
        "    assert not {'pydantic', 'fastapi', 'uvicorn', 'sqlite3', 'httpx'} & sys.modules.keys()\n"
    )
    assert "1 passed" in checked([python, "-m", "pytest", "-q"], tmp_path)


def test_without_pytest_asyncio_the_fixtures_say_what_they_need(python: Path, tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text(
        "def test_one(relay): pass\n"
        "def test_two(relay_mta): pass\n"
        "def test_three(relay_server): relay_server.wait_until_quiet()\n"
    )
    done = run([python, "-m", "pytest", "-q", "-p", "no:asyncio"], tmp_path)
    assert "1 passed, 2 errors" in done.stdout
    assert done.stdout.count("pip install 'relay-mta[testing]'") >= 2


MISTAKES = {
    "def relay_settings(): return {'queue': {'first_rety': '1m'}}": (
        'relay.toml: queue.first_rety: "1m": expected a known key; did you mean first_retry?'
    ),
    "def relay_settings(): return {'first_retry': '1m'}": (
        'relay.toml: first_retry: "1m": expected a known key'
    ),
    "def relay_settings(): return {'queue': {'max_retry_gap': None}}": (
        "relay.toml: queue.max_retry_gap: None: expected what TOML can say: text, a path, a number,"
    ),
    'def relay_directory(): return \'[[account]]\\nid = 1\\nname = "A"\\nplan = "fre"\'': (
        'directory.toml: account[1].plan: "fre": expected "free"'
    ),
    "def relay_directory(): return '[[account]'": "a table without its end: expected [NAME]",
}


def test_a_mistake_is_told_by_its_sentence(python: Path, tmp_path: Path) -> None:
    for number, mistake in enumerate(MISTAKES):
        (tmp_path / f"test_{number}.py").write_text(
            f"import pytest\n@pytest.fixture\n{mistake}\n"
            "@pytest.mark.asyncio\nasync def test_one(relay): pass\n"
            "def test_two(relay_server): pass\n"
        )
    # Without the summary, which repeats each sentence where no width of a line cuts it (CI=1).
    done = run([python, "-m", "pytest", "-q", "-rN"], tmp_path)
    assert f"{2 * len(MISTAKES)} errors" in done.stdout, done.stdout
    for sentence in MISTAKES.values():
        assert done.stdout.count(sentence) == 2, (sentence, done.stdout)
    assert "Traceback" not in done.stdout
    assert "CancelledError" not in done.stdout
    assert len(done.stdout.splitlines()) < 6 * 2 * len(MISTAKES)
