"""What the scenarios share: programs that the system must have."""

import shutil
from collections.abc import Callable

import pytest

PACKAGES = {"swaks": "swaks", "msmtp": "msmtp", "postfix": "postfix"}


@pytest.fixture
def program() -> Callable[[str], str]:
    """The path of a program that a test needs. Its absence fails the test, with the way to mend it."""

    def find(name: str) -> str:
        path = shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        if path is None:
            pytest.fail(f"{name} is missing: apt-get install --no-install-recommends {PACKAGES[name]}")
        return path

    return find
