"""What the scenarios share: programs that the system must have."""

import os
import shutil
from collections.abc import Callable

import pytest

PACKAGES = {
    "swaks": "swaks",
    "msmtp": "msmtp",
    "s-nail": "s-nail",
    "mutt": "mutt",
    "perl": "perl",
    "php": "php-cli",
    "git": "git git-email",
    "postfix": "postfix",
    "curl": "curl",
    "node": "nodejs",
    "npm": "npm",
    "fail2ban-regex": "fail2ban",
}
PLACES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """The path of a program that a test needs. Its absence fails the test, with the way to mend it."""

    def find(name: str) -> str:
        path = shutil.which(name, path=f"{PLACES}:{os.environ.get('PATH', '')}")
        if path is None:
            pytest.fail(f"{name} is missing: apt-get install --no-install-recommends {PACKAGES[name]}")
        return path

    return find
