"""relay.toml: what it means, and that every mistake in it is told with file, key, value and expectation."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from relay.config.config import Config, load_config
from relay.config.durations import parse_duration
from relay.config.problems import ConfigError
from relay.config.values import Endpoint
from relay.domain.errors import RelayError
from relay.domain.retry import RetryPolicy

SHIPPED = Path(__file__).parents[2] / "config" / "relay.toml"


def load(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Config:
    file = folder / "relay.toml"
    file.write_text(text, encoding="utf-8")
    return load_config(file, environ or {})


def problems_of(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, environ)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, "")
    assert config == Config()
    assert (config.node, config.hostname, config.workers) == ("n1", "relay.localhost", 1)
    assert config.roles == {"smtp", "api", "web", "egress", "feed"}
    assert config.store == "sqlite:///var/relay.db"
    assert config.directory == Path("config/directory.toml")
    assert config.smtp.listen == (Endpoint("127.0.0.1", 2525),)
    assert not config.smtp.auth_without_tls
    assert config.http.listen == Endpoint("127.0.0.1", 8025)
    assert config.retry_policy == RetryPolicy()


@pytest.mark.parametrize("name", ["mail.straße.test", "MAIL.STRAßE.test"])
def test_a_name_beyond_ascii_is_an_endpoint_by_its_a_labels(name: str) -> None:
    assert Endpoint.parse(f"{name}:25") == Endpoint("mail.xn--strae-oqa.test", 25)


def test_a_name_without_a_labels_is_no_endpoint() -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        Endpoint.parse("mail.a\N{ZERO WIDTH SPACE}b..test:25")


def test_the_shipped_file_says_the_defaults_but_for_what_a_lab_is_easier_with() -> None:
    shipped = load_config(SHIPPED, {})
    assert shipped.smtp.auth_without_tls
    assert [str(place) for place in shipped.http.listen_tls] == ["127.0.0.1:8443"]
    http = shipped.http.model_copy(update={"listen_tls": ()})
    assert shipped.model_copy(update={"smtp": Config().smtp, "http": http}) == Config()
    assert shipped.smtp.model_copy(update={"auth_without_tls": False}) == Config().smtp


def test_all_settings_arrive(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """
        node = "n2"
        hostname = "Mail.Example.com"
        store = "sqlite:////srv/relay.db"
        roles = ["smtp", "egress"]
        workers = "auto"
        directory = "/etc/relay/directory.toml"
        [smtp]
        listen = ["[::1]:25", "localhost:0"]
        listen_tls = ["0.0.0.0:465"]
        certificate = "cert.pem"
        key = "key.pem"
        auth_without_tls = true
        max_message_bytes = 1000
        body_budget_bytes = 1000
        max_recipients = 5
        max_connections = 6
        idle_timeout_s = 0.5
        trusted = [
            { network = "10.0.0.0/8", account = 1, subaccount = 7 },
            { network = "2001:db8::1", account = 2, subaccount = 0 },
            { network = "192.0.2.0/24", account = 3 },
        ]
        [http]
        listen = "[::]:80"
        [queue]
        first_retry = "250ms"
        max_retry_gap = "2h"
        expire_after = "1d"
        hold_expire_after = "3d"
        [limits]
        connections = 1
        deliveries_per_connection = 2
        recipients_per_transaction = 3
        connect_timeout_s = 4
        [log]
        format = "json"
        level = "debug"
        """,
    )
    assert (config.node, config.hostname, config.workers) == ("n2", "mail.example.com", "auto")
    assert config.roles == {"smtp", "egress"}
    assert config.smtp.listen == (Endpoint("::1", 25), Endpoint("localhost", 0))
    assert [str(endpoint) for endpoint in config.smtp.listen] == ["[::1]:25", "localhost:0"]
    assert (config.smtp.certificate, config.smtp.key) == (Path("cert.pem"), Path("key.pem"))
    assert [str(one.network) for one in config.smtp.trusted] == [
        "10.0.0.0/8",
        "2001:db8::1/128",
        "192.0.2.0/24",
    ]
    assert [one.account for one in config.smtp.trusted] == [1, 2, 3]
    assert [one.subaccount for one in config.smtp.trusted] == [7, None, None]
    assert config.smtp.idle_timeout_s == 0.5
    assert config.retry_policy == RetryPolicy(
        timedelta(milliseconds=250), timedelta(hours=2), timedelta(days=1), timedelta(days=3)
    )
    assert (config.limits.connections, config.limits.connect_timeout_s) == (1, 4)
    assert (config.log.format, config.log.level) == ("json", "debug")


def test_a_configuration_does_not_change(tmp_path: Path) -> None:
    config = load(tmp_path, "")
    with pytest.raises(ValidationError):
        config.node = "n2"  # type: ignore[misc,assignment] # that is the point


BROKEN = [
    pytest.param('nod = "n1"', "nod", '"n1"', "did you mean node?", id="a misspelt key"),
    pytest.param("zzz = 1", "zzz", "1", "one of the keys directory, hostname", id="a key like no other"),
    pytest.param("[smpt]\nx = 1", "smpt", "a table", "did you mean smtp?", id="a misspelt section"),
    pytest.param("[smtp]\nlisten_tsl = []", "smtp.listen_tsl", "[]", "listen_tls?", id="within a section"),
    pytest.param("node = 1", "node", "1", "letters, digits", id="a number for a name"),
    pytest.param('node = "a b"', "node", '"a b"', "letters, digits", id="a space in a node"),
    pytest.param('hostname = "-a-"', "hostname", '"-a-"', "a domain name", id="no host name"),
    pytest.param('store = "relay.db"', "store", '"relay.db"', "sqlite:///relative/path", id="a bare path"),
    pytest.param('store = "sqlite:///"', "store", '"sqlite:///"', "sqlite:///relative", id="no path"),
    pytest.param('roles = ["smtp", "http"]', "roles[#2]", '"http"', '"api", "web"', id="an unknown role"),
    pytest.param("roles = []", "roles", "[]", "at least one role", id="no role"),
    pytest.param('roles = "smtp"', "roles", '"smtp"', 'a list, such as ["smtp"]', id="text for a list"),
    pytest.param(
        '[smtp]\nlisten = "127.0.0.1:2525, [::1]:2525"',
        "smtp.listen",
        '"127.0.0.1:2525, [::1]:2525"',
        'a list, such as ["127.0.0.1:2525", "[::1]:2525"]',
        id="two in one text",
    ),
    pytest.param(
        '[smtp]\nproxy_protocol = "10.0.0.5"',
        "smtp.proxy_protocol",
        '"10.0.0.5"',
        'a list, such as ["10.0.0.5"]',
        id="text for networks",
    ),
    pytest.param("[smtp]\nlisten_tls = 465", "smtp.listen_tls", "465", "a list", id="a number for a list"),
    pytest.param(
        '[smtp.trusted]\nnetwork = "10.0.0.0/8"',
        "smtp.trusted",
        "a table",
        "tables that begin with [[smtp.trusted]]",
        id="one table for a list of them",
    ),
    pytest.param(
        '[smtp]\ntrusted = ["10.0.0.0/8"]',
        "smtp.trusted[#1]",
        '"10.0.0.0/8"',
        "a table that begins with [[smtp.trusted]]",
        id="text for a table",
    ),
    pytest.param("workers = 0", "workers", "0", 'from 1 to 64, or "auto"', id="no worker"),
    pytest.param("workers = true", "workers", "true", "a whole number", id="a boolean for a number"),
    pytest.param('workers = "2"', "workers", '"2"', "a whole number", id="text for a number"),
    pytest.param('directory = ""', "directory", '""', "the path of a file", id="an empty path"),
    pytest.param("smtp = 1", "smtp", "1", "a table", id="a number for a section"),
    pytest.param('[smtp]\nlisten = ["2525"]', "smtp.listen[#1]", '"2525"', "HOST:PORT", id="a bare port"),
    pytest.param(
        '[smtp]\nlisten = ["a:65536"]', "smtp.listen[#1]", '"a:65536"', "HOST:PORT", id="port 65536"
    ),
    pytest.param(
        '[smtp]\nlisten = ["::1:25"]', "smtp.listen[#1]", '"::1:25"', "[::1]:2525", id="no brackets"
    ),
    pytest.param("[smtp]\nlisten = []", "smtp", "a table", "an address in listen", id="listens nowhere"),
    pytest.param('[smtp]\nkey = "k.pem"', "smtp.key", '"k.pem"', "both or neither", id="a key alone"),
    pytest.param('[http]\ncertificate = "c"', "http.key", "missing", "both or neither", id="no key"),
    pytest.param("[smtp]\nmax_recipients = 0", "smtp.max_recipients", "0", "at least 1", id="zero"),
    pytest.param("[smtp]\nmax_connections = -1", "smtp.max_connections", "-1", "at least 1", id="negative"),
    pytest.param(
        "[smtp]\nmax_connections = 9999999", "smtp.max_connections", "9999999", "at most 100000", id="huge"
    ),
    pytest.param("[smtp]\nmax_recipients = 1.5", "smtp.max_recipients", "1.5", "a whole number", id="half"),
    pytest.param("[smtp]\nidle_timeout_s = 0", "smtp.idle_timeout_s", "0", "a number above 0", id="no time"),
    pytest.param('[smtp]\nidle_timeout_s = "60s"', "smtp.idle_timeout_s", '"60s"', "a number", id="unit"),
    pytest.param(
        "[smtp]\nauth_without_tls = 1", "smtp.auth_without_tls", "1", "true or false", id="1 for true"
    ),
    pytest.param(
        "[smtp]\nbody_budget_bytes = 5", "smtp.body_budget_bytes", "5", "max_message_bytes", id="budget"
    ),
    pytest.param(
        '[smtp]\npostmaster = "me"', "smtp.postmaster", '"me"', "postmaster@example.com", id="no address"
    ),
    pytest.param(
        "[smtp]\nproxy_protocol = true",
        "smtp.proxy_protocol",
        "true",
        '["10.0.0.5/32"]',
        id="PROXY from anybody",
    ),
    pytest.param(
        '[smtp]\nlisten_tls = ["a:465"]\nproxy_protocol = ["10.0.0.5/32"]',
        "smtp.proxy_protocol",
        '["10.0.0.5/32"]',
        "no listen_tls",
        id="PROXY before TLS",
    ),
    pytest.param(
        '[[smtp.trusted]]\nnetwork = "10.0.0.1/8"\naccount = 1',
        "smtp.trusted[#1].network",
        '"10.0.0.1/8"',
        "without bits after the prefix",
        id="host bits in a network",
    ),
    pytest.param(
        '[[smtp.trusted]]\nnetwork = "10.0.0.0/8"',
        "smtp.trusted[#1].account",
        "missing",
        "a value",
        id="trusted for nobody",
    ),
    pytest.param('[http]\nlisten = ["a:1"]', "http.listen", '["a:1"]', "HOST:PORT", id="a list for one"),
    pytest.param('[queue]\nfirst_retry = "20"', "queue.first_retry", '"20"', '"20m"', id="no unit"),
    pytest.param("[queue]\nfirst_retry = 20", "queue.first_retry", "20", '"20m"', id="a bare number"),
    pytest.param('[queue]\nexpire_after = "0h"', "queue.expire_after", '"0h"', '"72h"', id="expires at once"),
    pytest.param('[queue]\nexpire_after = "366d"', "queue.expire_after", '"366d"', '"365d"', id="too long"),
    pytest.param('[queue]\nmax_retry_gap = "x"', "queue.max_retry_gap", '"x"', "a duration", id="no gap"),
    pytest.param("[limits]\nconnections = 0", "limits.connections", "0", "at least 1", id="no connection"),
    *(
        pytest.param(
            f"[sink]\ndomains = [{value}]", "sink.domains[#1]", value, "a domain name", id=f"sink {value}"
        )
        for value in (
            '""',
            '"*.a.example"',
            '".a.example"',
            '"a..example"',
            '"bob@a.example"',
            '"[127.0.0.1]"',
            "1",
        )
    ),
    pytest.param('[sink]\ndomains = "a.example"', "sink.domains", '"a.example"', "a list", id="no list"),
    pytest.param('[log]\nlevel = "loud"', "log.level", '"loud"', '"debug", "info"', id="an unknown level"),
]


@pytest.mark.parametrize(("text", "key", "value", "expectation"), BROKEN)
def test_a_mistake_is_told_with_file_key_value_and_expectation(
    tmp_path: Path, text: str, key: str, value: str, expectation: str
) -> None:
    (problem,) = problems_of(tmp_path, text)
    assert problem.startswith(f"{tmp_path / 'relay.toml'}: {key}: {value}: expected ")
    assert expectation in problem


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = 'node = 1\nworkers = 0\n[smtp]\nlisten = ["x"]\nlisten_tls = ["y"]\n[log]\nlevel = 1\n'
    told = problems_of(tmp_path, text, {"RELAY_NODES": "x", "RELAY_LIMITS__CONNECTIONS": "0"})
    assert len(told) == 7


@pytest.mark.parametrize(
    ("content", "pieces"),
    [
        pytest.param(
            b'node = "n1"\nworkers = \n',
            ("line 2", ': no value: expected text in quotes ("n1")'),
            id="no value",
        ),
        pytest.param(
            b'node = "a"\nnode = "b"\n',
            ("line 2", ": node has a value already: expected each key once: remove one of the two"),
            id="a key twice",
        ),
        pytest.param(
            b'node = "a"\nnode.x = "b"',
            ("node.x has a value already: expected each key once",),
            id="at the end",
        ),
        pytest.param(
            b"[smtp]\n[http]\n[smtp]\n",
            ("line 3", ": [smtp] is there already: expected each table once, with all its keys"),
            id="a table twice",
        ),
        pytest.param(
            b"[[smtp.trusted]]\n[smtp.trusted]", ("[smtp.trusted] is there already",), id="a list's table"
        ),
        pytest.param(
            b"[smtp]\nlisten = []\n[smtp.listen]", ("[smtp.listen] is there already",), id="both ways"
        ),
        pytest.param(
            b"[smtp.a]\n[smtp]\na.b = 1\n", ("smtp.a has all its keys already: expected",), id="dotted"
        ),
        pytest.param(
            b'\xef\xbb\xbfnode = "n1"',
            ("line 1: begins with a byte order mark: expected UTF-8 without one: save it so",),
            id="a byte order mark",
        ),
        pytest.param(b"node", (": a key without a value: expected KEY = VALUE",), id="a key alone"),
        pytest.param(
            b"log = { level = 'info'", (": a table without its end: expected }",), id="an open table"
        ),
        pytest.param(b"roles = ['smtp' 'api']", (": a list without its end: expected ]",), id="no comma"),
        pytest.param(b"[smtp", (": a table without its end: expected [NAME]",), id="an open bracket"),
        pytest.param(b'node = "n1', (": text without its end: expected the same quote",), id="an open text"),
        pytest.param(
            b'node = "a\nb"', (": text without its end: expected the same quote",), id="a line break"
        ),
        pytest.param(b'store = "C:\\q"', (": a backslash: expected \\\\ for each one",), id="a backslash"),
        pytest.param(b"node = n1", ("no value: expected text in quotes",), id="no quotes"),
        pytest.param(b"workers = 1 2", (": more than one value on a line",), id="two values"),
        pytest.param(b"= 1", (": no key: expected KEY = VALUE",), id="no key"),
        pytest.param(b'node = "\xff"\n', ("octet 8", "UTF-8"), id="not UTF-8"),
    ],
)
def test_what_is_no_toml_is_told_with_its_place(
    tmp_path: Path, content: bytes, pieces: tuple[str, ...]
) -> None:
    file = tmp_path / "relay.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(file, {})
    for piece in (str(file), *pieces):
        assert piece in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: No such file or directory: expected a readable file"):
        load_config(tmp_path / "none.toml", {})


def test_a_configuration_error_can_be_caught_as_ours(tmp_path: Path) -> None:
    with pytest.raises(RelayError):
        load(tmp_path, "x = 1")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        pytest.param('pasword = "hunter2"', "hunter2", id="a misspelt key"),
        pytest.param('[smtp]\napi_key = "hunter2"', "hunter2", id="an unknown key"),
        pytest.param('store = "postgres://joe:hunter2@db/x"', "hunter2", id="within a URL"),
    ],
)
def test_no_message_tells_a_secret(tmp_path: Path, text: str, secret: str) -> None:
    (problem,) = problems_of(tmp_path, text)
    assert secret not in problem


# ── the environment ──────────────────────────────────────────────────────────────────────


def test_the_environment_has_the_last_word(tmp_path: Path) -> None:
    environ = {
        "RELAY_SMTP__LISTEN": '["0.0.0.0:2525"]',
        "RELAY_NODE": "n7",
        "RELAY_WORKERS": "3",
        "RELAY_SMTP__PROXY_PROTOCOL": '["10.0.0.5/32"]',
        "RELAY_ROLES": "['smtp']",
        "RELAY_QUEUE__MAX_RETRY_GAP": '"3h"',
        "RELAY_QUEUE__FIRST_RETRY": "5m",
        "PATH": "/bin",
    }
    config = load(tmp_path, 'node = "n1"\n[smtp]\nlisten = ["127.0.0.1:1"]\nmax_recipients = 9', environ)
    assert config.smtp.listen == (Endpoint("0.0.0.0", 2525),)
    assert (config.node, config.workers) == ("n7", 3)
    assert config.roles == {"smtp"}
    assert [str(network) for network in config.smtp.proxy_protocol] == ["10.0.0.5/32"]
    assert config.smtp.max_recipients == 9
    assert (config.queue.max_retry_gap, config.queue.first_retry) == (
        timedelta(hours=3),
        timedelta(minutes=5),
    )


def test_names_of_the_command_line_and_the_tests_are_no_settings(tmp_path: Path) -> None:
    environ = {"RELAY_CONFIG": "elsewhere.toml", "RELAY_TEST_POSTGRES": "x"}
    assert load(tmp_path, "", environ) == Config()


@pytest.mark.parametrize(
    ("name", "value", "pieces"),
    [
        pytest.param("RELAY_SMTP__LISTNE", "1", ("RELAY_SMTP__LISTEN?",), id="a misspelt key"),
        pytest.param("RELAY_NODES", "x", ('"x"', "RELAY_NODE?"), id="a misspelt top key"),
        pytest.param("RELAY_SMTP", "{}", ("a known key",), id="a whole section"),
        pytest.param("RELAY_SMTP__LISTEN__0", "a:1", ("a known key",), id="part of a list"),
        pytest.param("RELAY_WORKERS", "many", ("workers", '"many"', '"auto"'), id="a wrong value"),
        pytest.param("RELAY_SMTP__LISTEN", "127.0.0.1:25", ("smtp.listen", "a list"), id="no list"),
        pytest.param("RELAY_NODE", "null", ("node", "missing", "letters"), id="JSON null"),
        pytest.param("RELAY_NODE", "1\nworkers = 2", ("node", "letters"), id="more than a value"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(
    tmp_path: Path, name: str, value: str, pieces: tuple[str, ...]
) -> None:
    (problem,) = problems_of(tmp_path, "", {name: value})
    assert problem.startswith(f"environment {name}: ")
    for piece in pieces:
        assert piece in problem


def test_a_variable_within_what_is_no_section_leaves_the_file_s_own_problem(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "smtp = 1", {"RELAY_SMTP__MAX_RECIPIENTS": "5"})
    assert "relay.toml: smtp: 1: expected a table" in problem


# ── durations ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        pytest.param("250ms", timedelta(milliseconds=250), id="milliseconds"),
        pytest.param("2s", timedelta(seconds=2), id="seconds"),
        pytest.param("20m", timedelta(minutes=20), id="minutes"),
        pytest.param("72h", timedelta(hours=72), id="hours"),
        pytest.param("14d", timedelta(days=14), id="days"),
    ],
)
def test_durations_have_five_units(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@given(st.one_of(st.text(), st.integers(), st.none(), st.from_regex(r"\d+(ms|s|m|h|d)\n?", fullmatch=True)))
def test_a_duration_is_read_or_refused_and_never_out_of_bounds(text: object) -> None:
    duration = None
    with suppress(ValueError):
        duration = parse_duration(text)
    assert duration is None or timedelta() < duration <= timedelta(days=365)
