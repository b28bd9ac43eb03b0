"""What the documents promise: settings, targets, files and the lines to copy."""

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from relay.config.config import Config, load_config
from relay.config.problems import Table
from relay.process.main import app
from relay.testing.lab import lab_key_of

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]


def _settings(model: type[Table], prefix: str = "") -> list[str]:
    """All keys of relay.toml, as `node` and `smtp.listen`."""
    found = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Table):
            found += _settings(kind, f"{name}.")
        else:
            found.append(prefix + name)
    return found


def _rows() -> dict[str, str]:
    """Setting and default of each row of the README's table."""
    return dict(re.findall(r"^\| `([a-z_.]+)` \| `(.*?)` \| \S", README, re.MULTILINE))


def test_the_readme_has_a_row_for_every_setting_and_for_nothing_else() -> None:
    assert sorted(_rows()) == sorted(_settings(Config))


def test_the_defaults_in_the_readme_are_those_of_the_program(tmp_path: Path) -> None:
    lines = sorted((f"{key} = {default}" for key, default in _rows().items()), key=lambda line: "." in line)
    (tmp_path / "relay.toml").write_text("\n".join(lines), encoding="utf-8")
    assert load_config(tmp_path / "relay.toml", {}) == Config()


def test_the_two_commands_are_on_the_first_screen() -> None:
    first_screen = "\n".join(README.splitlines()[:12])
    assert "`make run`" in first_screen
    assert "`make test`" in first_screen


def test_ci_runs_what_the_readme_names() -> None:
    script = ROOT / ".ci/run"
    assert script.stat().st_mode & 0o111
    assert script.read_text(encoding="utf-8").splitlines()[-1] == "exec make test"


def test_a_commit_is_linted_by_this_tree_alone() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"^ +(?:- )?(repo|entry|language): (.*)$", hooks, re.MULTILINE) == [
        ("repo", "local"),
        ("entry", "make lint"),
        ("language", "system"),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_make_target_that_a_document_names_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"run", "test", "demo", "check", "unit"} <= targets
    assert set(re.findall(r"`make ([a-z]+)`", (ROOT / name).read_text(encoding="utf-8"))) <= targets


@pytest.mark.parametrize("name", ["SECURITY.md", "CONTRIBUTING.md"])
def test_settings_and_files_that_a_paper_names_exist(name: str) -> None:
    quoted = re.findall(r"`([^`\s]+)`", (ROOT / name).read_text(encoding="utf-8"))
    sections = {key.partition(".")[0] for key in _settings(Config) if "." in key}
    dotted = {word for word in quoted if re.fullmatch(rf"(?:{'|'.join(sections)})\.[a-z_]+", word)}
    assert dotted <= set(_settings(Config))
    named = {word for word in quoted if re.match(r"(?:relay|tests|docs|config)/", word)}
    assert {word for word in named if not list(ROOT.glob(word.rstrip("/")))} == set()
    assert dotted | named


class TestContributing:
    """The paper tells of the house as it is: whoever moves something, moves its line there."""

    TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

    @pytest.mark.parametrize("heading", ["a field", "an event", "a resource"])
    def test_an_example_names_each_place_where_its_sister_stands_and_no_other(self, heading: str) -> None:
        (part,) = re.findall(rf"^## Adding {heading}\n(.*?)(?=^## |\Z)", self.TEXT, re.MULTILINE | re.DOTALL)
        (command,) = re.findall(r"^git grep .*$", part, re.MULTILINE)
        done = subprocess.run(shlex.split(command), cwd=ROOT, capture_output=True, text=True, check=True)
        named = re.findall(r"^\| `(relay/\S+)` \|", part, re.MULTILINE)
        assert sorted(named) == sorted(done.stdout.split())

    def test_the_picture_has_every_folder_and_no_other(self) -> None:
        (picture,) = re.findall(r"^```\nrelay/\n(.*?)^```", self.TEXT, re.MULTILINE | re.DOTALL)
        folders = {path.parent.name for path in ROOT.glob("relay/*/__init__.py")}
        assert sorted(re.findall(r"(?:^|\s)(\w+)/ ", picture)) == sorted(folders)

    def test_every_word_has_its_name_in_the_code(self) -> None:
        (words,) = re.findall(r"^## Words\n(.*?)^## ", self.TEXT, re.MULTILINE | re.DOTALL)
        names = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| [^|]+ \| (`.*?`) \|", words, re.MULTILINE)))
        code = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("relay/**/*.py"))
        defined = set(
            re.findall(r"^(?:class |(?: {4})?(?:async )?def )?(\w+)(?: = |\(|:)", code, re.MULTILINE)
        )
        assert len(names) > 20
        assert set(names) <= defined


@pytest.mark.parametrize("name", NAMES)
def test_a_link_of_a_document_leads_somewhere(name: str) -> None:
    path = ROOT / name
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        led_to = path.parent / file if file else path
        assert led_to.exists(), target
        assert not anchor or anchor in _anchors(led_to.read_text(encoding="utf-8")), target


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_index_has_every_decision_by_its_title_and_with_its_status() -> None:
    """One that was superseded names a decision that there is."""
    folder = ROOT / "docs/adr"
    titles = {path.name: path.read_text(encoding="utf-8").splitlines()[0] for path in folder.glob("0*.md")}
    rows = re.findall(
        r"^\| (\d+) \| \[(.*)\]\((.*)\) \| (.*) \|$", (folder / "README.md").read_text(), re.MULTILINE
    )
    assert [(name, f"# {number}. {title}") for number, title, name, _ in rows] == sorted(titles.items())
    standings = {"accepted", *(f"superseded by {number}" for number, *_ in rows)}
    assert {standing for *_, standing in rows} <= standings


def _commands(text: str) -> set[str]:
    """What a document tells to type: `relay …` in code, up to the end of the line."""
    inline = re.findall(r"`(relay [^`]+)`", text)
    blocks = re.findall(
        r"^(relay [^#\n]+)", "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)), re.MULTILINE
    )
    return {command.strip() for command in [*inline, *blocks]}


@pytest.mark.parametrize("name", NAMES)
def test_a_command_that_a_document_names_exists_with_its_options(name: str) -> None:
    for line in _commands((ROOT / name).read_text(encoding="utf-8")):
        command: Any = get_command(app)
        words = re.split(r"[\s\[\]|]+", line)[1:]
        while words and hasattr(command, "commands"):
            word = words.pop(0)
            assert word in command.commands, line
            command = command.commands[word]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known, line


def test_commands_are_looked_for_in_the_documents() -> None:
    assert {"relay run", "relay queue list --state queued"} <= _commands(README)


class TestLinesToCopy:
    """Those of the README work with the lab that is shipped."""

    DIRECTORY = ROOT / "config/directory.toml"
    RELAY = ROOT / "config/relay.toml"

    def _blocks(self) -> list[str]:
        return re.findall(r"```sh\n((?:swaks|python3) .*)\n```", README)

    def test_there_is_one_for_swaks_and_one_for_smtplib(self) -> None:
        assert [shlex.split(block)[0] for block in self._blocks()] == ["swaks", "python3"]

    def test_they_name_the_labs_address_key_and_a_pool_with_ips(self) -> None:
        directory = self.DIRECTORY.read_text(encoding="utf-8")
        pools = {ip.get("pool") for ip in tomllib.loads(directory)["sending_ip"] if ip.get("account") == 1}
        listen = load_config(self.RELAY, {}).smtp.listen[0]
        for block in self._blocks():
            assert lab_key_of(directory, 1) in block
            assert str(listen.port) in block
            assert listen.host in block
            (pool,) = re.findall(r'ip_pool\\?": \\?"(\w+)', block)
            assert pool in pools

    def test_those_for_curl_name_the_labs_api_and_key(self) -> None:
        lines = re.findall(r"^curl .*$", README, re.MULTILINE)
        assert len(lines) >= 2
        listen = load_config(self.RELAY, {}).http.listen
        key = lab_key_of(self.DIRECTORY.read_text(encoding="utf-8"), 1)
        for line in lines:
            assert shlex.split(line)[1].startswith(f"http://{listen}/api/v1/")
            assert f"Authorization: {key}" in shlex.split(line)

    def test_the_one_for_python_is_a_program(self) -> None:
        (line,) = [block for block in self._blocks() if block.startswith("python3")]
        compile(shlex.split(line)[2], "README.md", "exec")


def test_the_shipped_settings_are_valid() -> None:
    assert load_config(ROOT / "config/relay.toml", {}).smtp.auth_without_tls
