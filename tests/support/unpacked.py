"""Mail servers of Debian that cannot be installed beside Postfix: unpacked into a folder that is their root.

There they find their own files, the libraries that they are linked with, their users, and
nothing else of this machine but its network. They listen on no port and need no rights of
the package's scripts, which are not run. Whoever is not root is it among users of his own
(user_namespaces(7)), for which /etc/subuid must give him 65,536 numbers.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_APT = Path(__file__).parent.parent.parent / ".ci/apt"
_SHELL = "/bin/sh"
_IS_ROOT = os.geteuid() == 0
_AS_ROOT = () if _IS_ROOT else ("unshare", "--map-root-user", "--map-auto")
USERS = {
    "root": 0,
    "mail": 8,
    "nobody": 65534,
    "Debian-exim": 901,
    "opensmtpd": 902,
    "opensmtpq": 903,
    "alice": 904,
}


def download(package: str, archives: Path) -> list[Path]:
    """The package and what it needs of packages that are not installed, as files in archives.

    What is there is not fetched again. Raises subprocess.CalledProcessError, with what apt said.
    """
    folder = archives / package
    if not [*folder.glob(f"{package}_*.deb")]:
        (folder / "partial").mkdir(parents=True, exist_ok=True)
        words = ("install", "-y", "--download-only", "--no-install-recommends")
        try:
            _apt(*words, "-o", f"Dir::Cache::archives={folder}", package)
        except subprocess.CalledProcessError:  # a list of packages that is old, or missing
            _apt("update")
            _apt(*words, "-o", f"Dir::Cache::archives={folder}", package)
    return [*folder.glob("*.deb")]


@dataclass(frozen=True)
class Jail:
    """A root folder with one unpacked server in it."""

    root: Path

    def command(self, *words: str) -> tuple[str, ...]:
        return (*_AS_ROOT, "chroot", str(self.root), *words)

    def write(self, name: str, text: str, owner: str = "root", mode: int = 0o644) -> None:
        self.make(str(Path(name).parent))
        _as_root("tee", str(self.root / name), text=text)
        self.give(name, owner, owner, mode)

    def make(self, name: str, owner: str = "root", mode: int = 0o755) -> None:
        """A folder."""
        if _as_root("mkdir", "-pv", str(self.root / name)) or owner != "root" or mode != 0o755:
            self.give(name, owner, owner, mode)

    def give(self, name: str, owner: str, group: str, mode: int) -> None:
        path = str(self.root / name)
        _as_root("chown", f"{USERS[owner]}:{USERS[group]}", path)
        _as_root("chmod", f"{mode:o}", path)

    def mail_of_alice(self) -> list[str]:
        """What is in her Maildir."""
        names = _as_root("find", str(self.root / "mail/Maildir"), "-path", "*/new/*").splitlines()
        return [_as_root("cat", name) for name in names]

    def remove(self) -> None:
        _as_root("rm", "-rf", str(self.root))


def unpack(packages: list[Path], root: Path) -> Jail:
    """A new root with the contents of these packages, a shell, and alice, whose mail is kept in a Maildir."""
    jail = Jail(root)
    jail.make(".")
    for package in packages:
        subprocess.run(["dpkg", "-x", package, root], check=True)
    _copy(_SHELL, root)
    for library in _libraries(root):
        _copy(library, root)
    jail.write("etc/passwd", "".join(f"{name}:x:{n}:{n}::/mail:{_SHELL}\n" for name, n in USERS.items()))
    jail.write("etc/group", "".join(f"{name}:x:{n}:\n" for name, n in USERS.items()))
    jail.write("etc/hosts", "127.0.0.1 localhost\n")
    jail.write("etc/nsswitch.conf", "hosts: files\n")
    jail.write("dev/null", "", mode=0o666)
    jail.make("tmp", mode=0o1777)
    jail.make("run")
    jail.make("var/run")
    jail.make("mail", "alice")
    jail.make("mail/Maildir", "alice")
    return jail


def _as_root(*words: str, text: str = "") -> str:
    """What it printed. Raises subprocess.CalledProcessError, with why."""
    done = subprocess.run([*_AS_ROOT, *words], check=True, capture_output=True, text=True, input=text)
    return done.stdout


def _apt(*words: str) -> None:
    environment = {**os.environ, "APT_WAIT_S": "60"}
    # Who installs nothing needs no lock, and might not take it.
    unlocked = () if _IS_ROOT else ("-o", "Debug::NoLocking=1")
    subprocess.run([_APT, *unlocked, *words], check=True, capture_output=True, text=True, env=environment)


def _libraries(root: Path) -> set[str]:
    """Of this machine, which programs in root are linked with."""
    own = {path.parent for path in root.rglob("*.so*")}
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, own))}
    found: set[str] = set()
    for program in (path for path in root.rglob("*") if path.is_file() and os.access(path, os.X_OK)):
        linked = subprocess.run(
            ["ldd", program], capture_output=True, text=True, env=environment, check=False
        )
        found |= {
            path for path in re.findall(r"(/\S+) \(0x", linked.stdout) if not path.startswith(str(root))
        }
    return found


def _copy(path: str, root: Path) -> None:
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)
