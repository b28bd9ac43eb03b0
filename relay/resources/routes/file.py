"""Routes in `directory.toml`."""

import re
from typing import Annotated

from pydantic import Field, PlainValidator, ValidationInfo, field_validator

from relay.config.problems import Lacking, Table
from relay.config.values import Endpoint, parse_host_name
from relay.domain.route import MxRoute, Route, SmarthostRoute, TlsPolicy
from relay.frames.tables import write_table

_KEYWORD = re.compile(r"[0-9A-Za-z][-0-9A-Za-z]{0,63}")
"""Of EHLO (RFC 5321 §4.1.1.1)."""


def _parse_pattern(text: object) -> str:
    try:
        if isinstance(text, str):
            domain = text.removeprefix("*.")
            return text if text == "*" else text[: len(text) - len(domain)] + parse_host_name(domain)
    except ValueError:
        pass
    raise ValueError('"example.com", "*.example.com" or "*"')


def _parse_smarthost(text: object) -> Endpoint:
    endpoint = Endpoint.parse(text, such_as='"127.0.0.1:2526"')
    if not endpoint.port:
        raise ValueError('"HOST:PORT", such as "127.0.0.1:2526"')
    return endpoint


def _parse_keyword(text: object) -> str:
    if not isinstance(text, str) or not _KEYWORD.fullmatch(text):
        raise ValueError('an EHLO keyword of letters, digits and hyphens, such as "PIPELINING"')
    return text.upper()


class RouteTable(Table):
    """`[[route]]`."""

    domains: tuple[Annotated[str, PlainValidator(_parse_pattern)], ...]
    smarthost: Annotated[Endpoint | None, PlainValidator(_parse_smarthost)] = None
    mx: Annotated[bool, Field(validate_default=True)] = False
    port: Annotated[int | None, Field(ge=1, le=65535)] = None
    """Of MX hosts; a smarthost has its own."""
    allow_private: bool = False
    """Of MX hosts; a smarthost may be private anyway."""
    tls: TlsPolicy = TlsPolicy.OPPORTUNISTIC
    ehlo_ignore: tuple[Annotated[str, PlainValidator(_parse_keyword)], ...] = ()
    username: str = ""
    password: Annotated[str, Field(validate_default=True)] = ""

    @field_validator("domains")
    @classmethod
    def _for_some(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        if not domains:
            raise ValueError('at least one domain, or "*"')
        return domains

    @field_validator("mx")
    @classmethod
    def _one_way(cls, mx: bool, info: ValidationInfo) -> bool:
        if "smarthost" in info.data and mx is (info.data["smarthost"] is not None):
            either = "either a smarthost or mx = true"
            raise ValueError(either) if mx else Lacking(either, key=False)
        return mx

    @field_validator("port")
    @classmethod
    def _of_mx(cls, port: int | None, info: ValidationInfo) -> int | None:
        if port is not None and info.data.get("smarthost") is not None:
            raise ValueError("the port of a smarthost in smarthost itself")
        return port

    @field_validator("username")
    @classmethod
    def _of_a_smarthost(cls, username: str, info: ValidationInfo) -> str:
        if username and "smarthost" in info.data and info.data["smarthost"] is None:
            raise ValueError("a smarthost to log in to")
        return username

    @field_validator("password")
    @classmethod
    def _both_or_neither(cls, password: str, info: ValidationInfo) -> str:
        if bool(password) != bool(info.data.get("username", password)):
            both = "username and password to be given both or neither"
            raise ValueError(both) if password else Lacking(both)
        return password

    def to_domain(self) -> Route:
        ignored = tuple(dict.fromkeys(self.ehlo_ignore))
        if self.smarthost is None:
            return Route(self.domains, MxRoute(self.tls, self.port or 25, self.allow_private, ignored))
        host, port = self.smarthost.host, self.smarthost.port
        login = self.username, self.password
        return Route(self.domains, SmarthostRoute(host, port, self.tls, *login, ehlo_ignore=ignored))


def write_route(route: Route) -> str:
    target = route.target
    values: dict[str, object] = {"domains": list(route.patterns)}
    if isinstance(target, MxRoute):
        values |= {"mx": True, "port": target.port if target.port != 25 else None}
        values["allow_private"] = target.allow_private
    else:
        host = f"[{target.host}]" if ":" in target.host else target.host
        values["smarthost"] = f"{host}:{target.port}"
        values |= {"username": target.username, "password": target.password}
    values["tls"] = target.tls.value if target.tls is not TlsPolicy.OPPORTUNISTIC else ""
    values["ehlo_ignore"] = list(target.ehlo_ignore)
    return write_table("route", values)
