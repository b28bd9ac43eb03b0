"""The image: what its file says, and the same lines carried out by somebody else in an empty folder."""

import json
import os
import re
import shlex
import signal
import smtplib
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from relay.testing.process import free_port
from tests.support.dockerfile import NOBODY, Bench, bench, stages

ROOT = Path(__file__).parent.parent
BUILD, IMAGE = stages((ROOT / "Dockerfile").read_text(encoding="utf-8"))
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
pytestmark = pytest.mark.timeout(400)


def _of(word: str) -> str:
    """What the image's only instruction of that name says."""
    (found,) = [rest for name, rest in IMAGE if name == word]
    return found


def _command(word: str) -> list[str]:
    """In the form that needs no shell, so that signals reach the program."""
    words: list[str] = json.loads(_of(word).partition("CMD ")[2] or _of(word))
    return words


def test_its_base_is_one_exact_version() -> None:
    bases = {stage[0][1].split()[0] for stage in (BUILD, IMAGE)}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", bases.pop())


def test_it_runs_as_nobody_in_particular_and_stops_in_good_order() -> None:
    assert _of("USER") == f"{NOBODY}:{NOBODY}"
    assert _of("STOPSIGNAL") == "SIGTERM"
    assert json.loads(_of("VOLUME")) == ["/var/lib/relay"]
    assert (_command("ENTRYPOINT"), _command("CMD")) == (["relay"], ["run"])
    assert "/readyz" in _command("HEALTHCHECK")[-1]


def test_only_what_is_copied_is_sent_to_the_engine() -> None:
    ignored, *kept = [
        line for line in (ROOT / ".dockerignore").read_text().split("\n") if line and line[0] != "#"
    ]
    assert ignored == "*"
    copied = [source for word, rest in BUILD if word == "COPY" for source in rest.split()[:-1]]
    assert sorted(copied) == sorted(line[1:] for line in kept if line[0] == "!")
    assert all((ROOT / source).exists() for source in copied)
    assert any(fnmatch("relay/__pycache__", line) for line in kept)


def test_nothing_is_installed_but_what_is_locked() -> None:
    lines = [rest for word, rest in BUILD if word == "RUN" and "pip install" in rest]
    assert ["--require-hashes" in line for line in lines] == [True, False]
    assert lines[-1].endswith("--no-deps --no-build-isolation .")


@pytest.fixture(scope="module")
def built() -> Iterator[Bench]:
    with bench() as made:
        made.build(BUILD)
        yield made


def test_its_lines_install_a_relay(built: Bench) -> None:
    done = built.run(["relay", "--version"], f"{built.folder}/app/.venv/bin")
    assert (done.returncode, done.stdout[:6]) == (0, "relay "), done.stderr
    assert (built.folder / "app/state").is_dir()


class Running:
    """Relay and sink as docker-compose.yml starts them, on the loopback interface."""

    def __init__(self, built: Bench) -> None:
        self.built, self.path = built, f"{built.folder}/app/.venv/bin"
        self.smtp, self.http, self.sink = free_port(), free_port(), free_port()
        self.log, self.sink_log = built.folder / "relay.log", built.folder / "sink.log"
        for name in ("relay.toml", "directory.toml"):
            text = (ROOT / "deploy" / name).read_text(encoding="utf-8")
            built.write(built.folder / "etc" / name, self._moved(text))
        words = re.findall(r"command: \[(.*)\]", COMPOSE)[0].replace('"', "").split(", ")
        self._children = [
            built.start(["relay", *(self._moved(word) for word in words)], self.path, self.sink_log),
            built.start(
                [*_command("ENTRYPOINT"), *_command("CMD"), "--config", f"{built.folder}/etc/relay.toml"],
                self.path,
                self.log,
            ),
        ]

    def _moved(self, text: str) -> str:
        for old, new in {
            "0.0.0.0:2525": f"127.0.0.1:{self.smtp}",
            "0.0.0.0:8025": f"127.0.0.1:{self.http}",
            "127.0.0.1:8025": f"127.0.0.1:{self.http}",
            "10.225.25.2:2526": f"127.0.0.1:{self.sink}",
            "0.0.0.0:2526": f"127.0.0.1:{self.sink}",
            "10.225.25.11": "127.0.0.11",
            "/var/lib/relay": f"{self.built.folder}/state",
            "/etc/relay": f"{self.built.folder}/etc",
        }.items():
            text = text.replace(old, new)
        return text

    def healthy(self) -> bool:
        return (
            self.built.run([self._moved(word) for word in _command("HEALTHCHECK")], self.path).returncode == 0
        )

    def documented(self, beginning: str) -> str:
        """What a line of the file's head prints, which begins so after `docker compose exec relay`."""
        (line,) = re.findall(rf"^# +docker compose exec relay ({beginning}.*)$", COMPOSE, re.MULTILINE)
        done = self.built.run(
            [*shlex.split(line), "--config", f"{self.built.folder}/etc/relay.toml"], self.path
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stop(self) -> list[int]:
        for child in self._children:
            child.send_signal(signal.SIGTERM)
        return [child.wait(30) for child in self._children]

    def kill(self) -> None:
        for child in self._children:
            child.kill()
            child.wait()


def _until(look: Callable[[], bool], what: Callable[[], str]) -> None:
    for _ in range(300):
        if look():
            return
        time.sleep(0.1)
    pytest.fail(what())


def test_a_newcomer_comes_from_nothing_to_a_delivered_message(built: Bench) -> None:
    """By the lines at the head of docker-compose.yml, with the image's own check of its health."""
    running = Running(built)
    try:
        _until(running.healthy, lambda: running.log.read_text())
        key = re.findall(r"\b[0-9a-f]{40}\b", running.documented("relay key create"))[0]
        link = running.documented("relay user first-link")
        assert link.startswith(f"http://127.0.0.1:{running.http}/sign-in/link/")
        (body,) = re.findall(r"^#     -d '(.*)'$", COMPOSE, re.MULTILINE)
        asked = urllib.request.Request(
            f"http://127.0.0.1:{running.http}/api/v1/transmissions",
            body.encode(),
            {"Authorization": key, "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(asked, timeout=20) as answer:
            assert json.load(answer)["results"]["total_accepted_recipients"] == 1
        with smtplib.SMTP("127.0.0.1", running.smtp, timeout=20) as client:
            client.starttls()
            client.login("SMTP_Injection", key)
            client.sendmail("you@acme.test", "ann@example.com", "Subject: Hi\r\n\r\nHi\r\n")
        _until(lambda: running.sink_log.read_text().count("127.0.0.11") >= 2, running.sink_log.read_text)
        assert running.stop() == [0, 0]
        if os.getuid() == 0:
            assert (built.folder / "state/store/relay.db").stat().st_uid == NOBODY
        assert (built.folder / "state/store").stat().st_mode & 0o777 == 0o700
    finally:
        running.kill()


def test_a_file_of_settings_that_is_not_there_is_named(built: Bench) -> None:
    done = built.run([*_command("ENTRYPOINT"), *_command("CMD")], f"{built.folder}/app/.venv/bin")
    assert isinstance(done, subprocess.CompletedProcess)
    assert done.returncode == 2
    assert "/etc/relay/relay.toml" in done.stderr
