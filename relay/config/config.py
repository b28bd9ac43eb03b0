"""`relay.toml`: how this process runs. Read once, at start; the environment has the last word."""

import json
import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, ValidationInfo, field_validator

from relay.config.durations import parse_duration
from relay.config.problems import (
    ConfigError,
    Location,
    Table,
    known_key,
    line,
    parse_table,
    show_value,
    write_dotted,
)
from relay.config.toml import read_toml
from relay.config.values import (
    Endpoint,
    Network,
    none_for_empty,
    parse_host_name,
    parse_network,
    parse_node,
    parse_optional_mailbox,
    parse_optional_path,
    parse_path,
    parse_public_url,
    parse_store,
    parse_workers,
)
from relay.domain.address import Mailbox
from relay.domain.ids import AccountId, NodeName, SubaccountId
from relay.domain.retry import RetryPolicy

_PREFIX = "RELAY_"
_NOT_SETTINGS = re.compile(r"RELAY_CONFIG|RELAY_TEST_.*")
"""Names that belong to the command line and to the tests."""
_GIBIBYTE = 1 << 30

Role = Literal["smtp", "api", "web", "egress", "feed"]


def _parse_optional_duration(text: object) -> timedelta | None:
    return None if text in ("", None) else parse_duration(text)


Duration = Annotated[timedelta, PlainValidator(parse_duration)]
FilePath = Annotated[Path, PlainValidator(parse_path)]
OptionalPath = Annotated[Path | None, PlainValidator(parse_optional_path)]
HostPort = Annotated[Endpoint, PlainValidator(Endpoint.parse)]
_QueueBytes = Annotated[int, Field(ge=1, le=1 << 60)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
_SinkDomain = Annotated[str, PlainValidator(parse_host_name)]
_Cap = Annotated[int, Field(ge=1, le=1_000_000)]


class TrustedNetwork(Table):
    """Clients whose mail is taken without AUTH, and for whom."""

    network: Annotated[Network, PlainValidator(parse_network)]
    account: Annotated[AccountId, Field(ge=1)]
    subaccount: Annotated[SubaccountId | None, Field(ge=0)] = None
    """None: the account itself, which a file may also write as 0."""

    @field_validator("subaccount")
    @classmethod
    def _none_for_zero(cls, number: SubaccountId | None) -> SubaccountId | None:
        return number or None


class _TlsFiles(Table):
    certificate: OptionalPath = None
    """PEM. Both empty: a self-signed pair is made once beside the store."""
    key: Annotated[OptionalPath, Field(validate_default=True)] = None

    @field_validator("key")
    @classmethod
    def _as_the_certificate(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if "certificate" in info.data and (key is None) != (info.data["certificate"] is None):
            raise ValueError("certificate and key to be given both or neither")
        return key


def _proxies(value: object) -> object:
    """`proxy_protocol` as written: false for none. Raises ValueError for true."""
    if value is False:
        return ()
    if value is True:
        raise ValueError(
            'the networks of the proxies, like ["10.0.0.5/32"]: '
            "with true, whoever reaches the port names its address"
        )
    return tuple(value) if isinstance(value, list) else value


class SmtpSettings(_TlsFiles):
    """`[smtp]`: where mail comes in, and its limits."""

    listen: tuple[HostPort, ...] = (Endpoint("127.0.0.1", 2525),)
    """STARTTLS is offered."""
    listen_tls: tuple[HostPort, ...] = ()
    """Implicit TLS (RFC 8314)."""
    auth_without_tls: bool = False
    max_message_bytes: Annotated[int, Field(ge=1, le=_GIBIBYTE)] = 20_971_520
    body_budget_bytes: Annotated[int, Field(ge=1, validate_default=True)] = _GIBIBYTE
    """All bodies in memory together; over it 452 4.3.1."""
    max_recipients: Annotated[int, Field(ge=1, le=100_000)] = 1000
    max_connections: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Nine tenths of them for clients that are neither authenticated nor trusted."""
    max_connections_per_client: Annotated[int, Field(ge=1, le=100_000)] = 50
    """By address, or /64 of IPv6, over all workers; trusted networks and proxies are exempt."""
    idle_timeout_s: Seconds = 60
    """From the last octet, in DATA too; DATA as a whole has 600 s."""
    proxy_protocol: Annotated[
        tuple[Annotated[Network, PlainValidator(parse_network)], ...], BeforeValidator(_proxies)
    ] = ()
    """Whose connections begin with a PROXY header; from all others it is refused."""
    postmaster: Annotated[Mailbox | None, PlainValidator(parse_optional_mailbox)] = None
    """Who gets mail for `<postmaster>` without a domain; None: postmaster at `hostname`."""
    trusted: tuple[TrustedNetwork, ...] = ()
    """Accepted without AUTH."""

    @field_validator("body_budget_bytes")
    @classmethod
    def _holds_a_message(cls, budget: int, info: ValidationInfo) -> int:
        if budget < info.data.get("max_message_bytes", 0):
            raise ValueError(f"at least max_message_bytes, {info.data['max_message_bytes']}")
        return budget

    @field_validator("proxy_protocol")
    @classmethod
    def _comes_before_tls(cls, proxies: tuple[Network, ...], info: ValidationInfo) -> tuple[Network, ...]:
        if proxies and info.data.get("listen_tls"):
            raise ValueError("[], or no listen_tls: the PROXY header comes in clear, before TLS")
        return proxies


class HttpSettings(_TlsFiles):
    """`[http]`: REST, console, metrics and health."""

    listen: HostPort = Endpoint("127.0.0.1", 8025)
    listen_tls: tuple[HostPort, ...] = ()
    """Speak TLS beside it, with the certificate, else with the self-signed pair."""
    max_connections_per_client: Annotated[int, Field(ge=1, le=100_000)] = 50
    requests_per_second: Annotated[float, Field(gt=0, le=1_000_000)] = 100
    """Of one key on average, in bursts ten times as many; transmissions are not counted."""
    public_url: Annotated[str, PlainValidator(parse_public_url)] = ""
    """Where people reach the console, when a proxy stands before it: `https://relay.example.com`."""
    trusted_proxies: tuple[Annotated[Network, PlainValidator(parse_network)], ...] = ()
    """Whose X-Forwarded-For counts when wrong passwords are counted."""


class QueueSettings(Table):
    """`[queue]`: how long and how often mail is tried (RFC 5321 §4.5.4.1)."""

    first_retry: Duration = timedelta(minutes=20)
    max_retry_gap: Annotated[timedelta | None, PlainValidator(_parse_optional_duration)] = None
    """None: uncapped."""
    expire_after: Duration = timedelta(hours=72)
    """From acceptance, whatever the reason for waiting."""
    hold_expire_after: Duration = timedelta(days=14)


class LimitSettings(Table):
    """`[limits]`: defaults of every path (sending IP × site), and what one account may have."""

    connections: Annotated[int, Field(ge=1, le=1000)] = 10
    deliveries_per_connection: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    recipients_per_transaction: Annotated[int, Field(ge=1, le=10_000)] = 100
    connect_timeout_s: Seconds = 60
    account_keys: _Cap = 2000
    account_pools: _Cap = 500
    account_subaccounts: _Cap = 2000
    account_domains: _Cap = 1000
    account_users: _Cap = 500
    """What one account may make; what is there already stays, and operators are not bound."""
    account_queue_bytes: Annotated[_QueueBytes | None, BeforeValidator(none_for_empty)] = None
    """Unsent mail of one account; None: a tenth of the store's volume, at most 10 GB."""


class TrackingSettings(Table):
    """Opens and clicks are not tracked by this relay."""

    when_off: Literal["ignore", "refuse"] = "ignore"
    """Mail that asks for it is taken and sent unchanged, or refused."""


class SinkSettings(Table):
    """`[sink]`: where mail of tests goes."""

    domains: Annotated[tuple[_SinkDomain, ...], Field(max_length=100)] = ("sink.sparkpostmail.com",)
    """Mail to these and to all below them counts as delivered, and nothing leaves."""


class LogSettings(Table):
    """`[log]`."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(Table):
    """One process of the relay."""

    node: Annotated[NodeName, PlainValidator(parse_node)] = NodeName("n1")
    """This machine; a sending IP with a `node` is bound only there."""
    hostname: Annotated[str, PlainValidator(parse_host_name)] = "relay.localhost"
    """Banner and Received."""
    store: Annotated[str, PlainValidator(parse_store)] = "sqlite:///var/relay.db"
    roles: frozenset[Role] = frozenset(("smtp", "api", "web", "egress", "feed"))
    workers: Annotated[int | Literal["auto"], PlainValidator(parse_workers)] = 1
    """Processes; "auto" is one per core."""
    directory: FilePath = Path("config/directory.toml")
    """Applied when the store is empty; afterwards only by `relay directory apply`."""
    smtp: SmtpSettings = SmtpSettings()
    http: HttpSettings = HttpSettings()
    queue: QueueSettings = QueueSettings()
    limits: LimitSettings = LimitSettings()
    tracking: TrackingSettings = TrackingSettings()
    sink: SinkSettings = SinkSettings()
    log: LogSettings = LogSettings()

    @property
    def store_file(self) -> Path:
        return Path(self.store.removeprefix("sqlite:///"))

    @field_validator("roles")
    @classmethod
    def _has_some(cls, roles: frozenset[Role]) -> frozenset[Role]:
        if not roles:
            raise ValueError("at least one role")
        return roles

    @field_validator("smtp")
    @classmethod
    def _listens(cls, smtp: SmtpSettings, info: ValidationInfo) -> SmtpSettings:
        if "smtp" in info.data.get("roles", ()) and not (smtp.listen or smtp.listen_tls):
            raise ValueError('an address in listen or listen_tls, or no role "smtp"')
        return smtp

    @property
    def retry_policy(self) -> RetryPolicy:
        queue = self.queue
        return RetryPolicy(
            queue.first_retry, queue.max_retry_gap, queue.expire_after, queue.hold_expire_after
        )


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """The file, overridden by `RELAY_<KEY>` and `RELAY_<SECTION>__<KEY>` of environ.

    An environment value is read as JSON, else as TOML, else taken as text. Raises ConfigError
    with all that is wrong.
    """
    tree = read_toml(path)
    from_environment: dict[Location, str] = {}
    problems = []
    for name in sorted(environ):
        if not name.startswith(_PREFIX) or _NOT_SETTINGS.fullmatch(name):
            continue
        source, location = f"environment {name}", tuple(name.removeprefix(_PREFIX).lower().split("__"))
        value = _value(environ[name])
        if write_dotted(location) not in _KEYS:
            problems.append(line(source, "", show_value(value, location), _known_name(name)))
        elif _put(tree, location, value):
            from_environment[location] = source
    try:
        config = parse_table(Config, tree, lambda location: _source(location, from_environment, path))
    except ConfigError as error:
        raise ConfigError((*error.problems, *problems)) from error
    if problems:
        raise ConfigError(tuple(problems))
    return config


def source_of(key: str, environ: Mapping[str, str], path: Path) -> str:
    """Where a setting, `smtp.listen`, comes from: the file at path, or a variable of the environment."""
    wanted = _PREFIX + key.upper().replace(".", "__")
    return next((f"environment {name}" for name in environ if name.upper() == wanted), str(path))


def _keys() -> frozenset[str]:
    found = set()
    for name, field in Config.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Table):
            found |= {f"{name}.{key}" for key in kind.model_fields}
        else:
            found.add(name)
    return frozenset(found)


_KEYS = _keys()
"""All settings, as `node` and `smtp.listen`."""


def _known_name(name: str) -> str:
    names = [_PREFIX + key.upper().replace(".", "__") for key in _KEYS]
    return known_key(name, names)


def _value(text: str) -> Any:
    """What the text of an environment variable says."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        tables = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return tables["value"] if len(tables) == 1 else text


def _put(tree: dict[str, Any], location: tuple[str, ...], value: object) -> bool:
    """Set a value; not where the file has something else than the section: that is a problem of its own."""
    *sections, key = location
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            return False
    tree[key] = value
    return True


def _source(location: Location, from_environment: Mapping[Location, str], path: Path) -> str:
    """Where the value came from: the file, or a variable of the environment."""
    starts = (location[:length] for length in range(len(location), 0, -1))
    return next((from_environment[start] for start in starts if start in from_environment), str(path))
