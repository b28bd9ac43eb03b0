"""`relay check`: what is wrong with both files and the store, and what probably is."""

from typing import Annotated

import typer

from relay.cli.printing import plain, print_json, print_rows, say, warn
from relay.cli.session import ConfigOption, JsonOption, config_at
from relay.domain.directory import SendingIp
from relay.domain.route import SmarthostRoute, TlsPolicy
from relay.judgments import judge
from relay.judgments.hosts import is_here
from relay.preparation import standing_of
from relay.schema.directory import load_directory
from relay.schema.problems import ConfigError

StrictOption = Annotated[bool, typer.Option("--strict", help="End with 1 when there is a warning.")]


def check(strict: StrictOption = False, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Check both files and the store, and look for the sending IPs.

    What a start would refuse ends with 2. What would run, and is probably wrong, is a line that
    begins with "warning:"; with --strict it ends with 1. Nothing is started or connected to, and
    nothing stays bound.

    Example: relay check --config /etc/relay/relay.toml
    """
    settings, file = config_at(config)
    listed = load_directory(settings.directory)
    standing = standing_of(settings, file, listed)
    findings = list(judge(standing.case))
    warnings = [str(finding) for finding in findings if not finding.refuses]
    refusals = [str(finding) for finding in findings if finding.refuses]
    if standing.refused and not refusals:
        refusals.append(f"{standing.case.source('store')}: store: {standing.refused}")
    if standing.difference:
        warnings.append(standing.difference)
    if refusals:
        _tell(warnings)
        raise ConfigError(tuple(refusals))
    ips = [entry for entry in listed.entries if isinstance(entry, SendingIp)]
    rows = [
        {"address": ip.address, "bind": ip.bind, "node": ip.node, "state": _state(ip, settings.node)}
        for ip in ips
    ]
    if json:
        places = {"config": str(file), "directory": str(settings.directory)}
        print_json({**places, "sending_ips": rows, "warnings": warnings})
    else:
        say(f"{file}: ok")
        say(f"{settings.directory}: ok")
        print_rows(rows, False, "no sending IPs")
    for route in listed.routes:
        target = route.target
        if isinstance(target, SmarthostRoute) and target.username and target.tls is not TlsPolicy.OFF:
            domains = ", ".join(route.patterns)
            warn(f"the route of {domains} logs in: TLS is required, and mail waits without it")
    _tell(warnings)
    if strict and warnings:
        raise typer.Exit(1)


def _tell(warnings: list[str]) -> None:
    for warning in warnings:
        warn(f"warning: {plain(warning)}")


def _state(ip: SendingIp, node: str) -> str:
    """Whether the address can be a source here: `ok`, `missing`, or whose business it is."""
    if ip.node and ip.node != node:
        return "on another node"
    return "ok" if is_here(ip.bind) else "missing"
