"""docs/operations.md: installation, backup, restore and upgrade are carried out as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from relay.testing.process import free_port
from tests.support.installed import ROOT, clean_environment

TEXT = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
VARIABLES = ("APP", "ETC", "STATE", "BACKUP", "UNITS")
pytestmark = pytest.mark.timeout(300)


def _block(heading: str) -> str:
    """The first shell block below a heading."""
    (part,) = re.findall(rf"^#+ {heading}\n(.*?)(?=^#|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    return str(re.findall(r"```sh\n(.*?)```", part, re.DOTALL)[0])


class Machine:
    """A machine below folder: its paths, and stand-ins for what would change the real one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder, folder / "bin"
        self.paths = {name: folder / name.lower() for name in VARIABLES}
        self.bin.mkdir()
        for name in ("useradd", "chown"):
            self._program(name, f'echo "{name} $*" >>{folder}/asked')
        site = next(path for path in sys.path if path.endswith("site-packages"))
        self._program(
            "python3",
            f'{sys.executable} -m venv --without-pip "$3"\n'
            f'for to in "$3"/lib/python3*/site-packages; do {self._packages(site)}; done',
        )
        self._program(
            "runuser", f'echo "runuser $*" >>{folder}/asked\n[ "$1 $3" = "-u --" ]\nshift 3\nexec "$@"'
        )
        run = f"{self.paths['APP']}/.venv/bin/relay run --config {self.paths['ETC']}/relay.toml"
        self._program(
            "systemctl",
            f"echo $1 >>{folder}/asked\n"
            f'case "$1" in\nstop) kill $(cat {folder}/pid); '
            f"while kill -0 $(cat {folder}/pid) 2>/dev/null; do sleep 0.1; done;;\n"
            f"start|enable) {run} >>{folder}/log 2>&1 </dev/null & echo $! >{folder}/pid;;\nesac",
        )
        smtp, http = free_port(), free_port()
        self.environment = {
            **clean_environment(),
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "RELAY_SMTP__LISTEN": f'["127.0.0.1:{smtp}"]',
            "RELAY_HTTP__LISTEN": f"127.0.0.1:{http}",
            "READY": f"http://127.0.0.1:{http}/readyz",
        }

    def _packages(self, site: str) -> str:
        """The suite's own packages are in reach, so that pip finds what the lock names."""
        also = [
            line for path in Path(site).glob("zz.pth") for line in path.read_text().split() if "site" in line
        ]
        return " ".join(f'echo "{path}" >>"$to/suite.pth";' for path in [site, *also]).rstrip(";")

    def _program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(f"#!/bin/bash\nset -e\n{text}\n")
        (self.bin / name).chmod(0o755)

    def type(self, *blocks: str) -> str:
        """Blocks of the document, typed in the repository's folder after that with the paths."""
        paths = _block("Installing")
        for name, path in self.paths.items():
            paths, count = re.subn(rf"^{name}=\S+", f"{name}={path}", paths, flags=re.MULTILINE)
            assert count == 1, name
        script = "\n".join(["set -eu", paths, *blocks])
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def relay(self, words: str) -> str:
        return self.type(f'"$APP/.venv/bin/relay" {words} --config "$ETC/relay.toml"')

    def wait(self) -> None:
        look = "import os, urllib.request as u; u.urlopen(os.environ['READY'], timeout=5)"
        self.type(
            f'for _ in $(seq 100); do {sys.executable} -c "{look}" 2>/dev/null && exit 0; sleep 0.2; done',
            f"cat {self.folder}/log >&2; exit 1",
        )

    def end(self) -> None:
        """No relay of ours stays."""
        if (self.folder / "pid").exists():
            subprocess.run([self.bin / "systemctl", "stop"], env=self.environment, check=False, timeout=60)


def test_a_relay_is_installed_saved_restored_and_upgraded(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    try:
        machine.type(_block("Steps"))
        machine.wait()
        assert "useradd --system" in (tmp_path / "asked").read_text()
        assert (machine.paths["UNITS"] / "relay.service").exists()
        stray = ROOT / "var/relay.db"
        before = stray.exists() and stray.stat().st_mtime_ns
        machine.type(_block("First key"))
        assert (tmp_path / "asked").read_text().count("runuser -u relay -- ") == 2
        assert "first" in machine.relay("key list")
        assert (stray.exists() and stray.stat().st_mtime_ns) == before
        machine.relay("key create --account 1 --label kept")
        for _ in ("the first day", "the second"):
            assert machine.type(_block("Backup")).endswith("ok\n")
        saved = machine.paths["BACKUP"] / "relay.db"
        assert saved.stat().st_mode & 0o777 == 0o600
        assert (machine.paths["BACKUP"] / "directory.toml").stat().st_mode & 0o777 == 0o600
        machine.relay("key create --account 1 --label later")

        machine.type(_block("Restore"))
        machine.wait()
        listed = machine.relay("key list")
        assert "kept" in listed
        assert "later" not in listed

        machine.type(_block("Upgrade"))
        machine.wait()
        assert "kept" in machine.relay("key list")
    finally:
        machine.end()
