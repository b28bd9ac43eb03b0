"""Which ports this process may listen on, known without trying."""

import subprocess
import sys
from pathlib import Path

import pytest

from relay.net.listening import is_allowed
from relay.testing.lab import lab_directory, write_files

NOTHING, ALL = "0" * 16, "000001ffffffffff"
BIND, OTHERS = "0000000000000400", "000001fffffffbff"

_WITHOUT_THE_CAPABILITY = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(24, 10, 0, 0, 0)  # PR_CAPBSET_DROP: a program that is started has it no more
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1], *sys.argv[2:]])
"""
_TRY_AND_CHECK = """
import errno, socket, sys
from relay.process.main import main
try:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 1))
    print("taken")
except OSError as error:
    print(errno.errorcode[error.errno])
sys.stdout.flush()
sys.exit(main(["check", "--config", sys.argv[1]]))
"""


@pytest.mark.parametrize(
    ("port", "first", "capabilities", "allowed"),
    [
        pytest.param(25, 1024, NOTHING, False, id="below"),
        pytest.param(1023, 1024, NOTHING, False, id="the last one"),
        pytest.param(1024, 1024, NOTHING, True, id="the first that is everybody's"),
        pytest.param(0, 1024, NOTHING, True, id="any free one"),
        pytest.param(25, 1024, BIND, True, id="the capability"),
        pytest.param(25, 1024, OTHERS, False, id="all others"),
        pytest.param(25, 1024, ALL, True, id="root"),
        pytest.param(25, 0, NOTHING, True, id="all ports are everybody's"),
        pytest.param(25, 26, NOTHING, False, id="fewer are not"),
        pytest.param(26, 26, NOTHING, True, id="fewer are not, and it is none of them"),
    ],
)
def test_a_low_port_needs_its_capability(port: int, first: int, capabilities: str, allowed: bool) -> None:
    status = f"Name:\tpython\nCapPrm:\t{ALL}\nCapEff:\t{capabilities}\nCapBnd:\t{ALL}\n"
    assert is_allowed(port, first, status) is allowed


def test_who_does_not_know_says_nothing() -> None:
    assert is_allowed(25, 1024, "Name:\tpython\n")


def test_check_warns_of_a_port_that_cannot_be_bound_in_the_words_of_a_start(tmp_path: Path) -> None:
    settings = {"smtp": {"listen": ["127.0.0.1:1"]}}
    config = write_files(tmp_path, lab_directory(), "127.0.0.1:2526", "127.0.0.1:0", settings)
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_THE_CAPABILITY, _TRY_AND_CHECK, str(config)],
        capture_output=True,
        text=True,
        check=True,
    )
    (found,) = done.stdout.splitlines()[:1]
    told = (
        "smtp.listen: cannot listen on 127.0.0.1:1: ports below 1024 are not everybody's: give the relay"
        " CAP_NET_BIND_SERVICE (docs/relay.service does), or choose another (smtp.listen), such as"
        """ RELAY_SMTP__LISTEN='["127.0.0.1:1001"]' before the command"""
    )
    assert (told in done.stdout + done.stderr) is (found == "EACCES"), done
