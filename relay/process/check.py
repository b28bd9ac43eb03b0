"""`relay check`: what is wrong with both files and the store, and what probably is."""

from typing import Annotated

import typer

from relay.config.problems import ConfigError
from relay.domain.directory import SendingIp
from relay.domain.route import SmarthostRoute, TlsPolicy
from relay.frames.commands.printing import make_plain, print_json, print_line, print_rows, warn
from relay.frames.commands.session import ConfigOption, JsonOption, config_at
from relay.process.judgments import judge_case
from relay.process.judgments.case import Case
from relay.process.judgments.hosts import is_here
from relay.process.preparation import standing_of

StrictOption = Annotated[bool, typer.Option("--strict", help="End with 1 when there is a warning.")]


def check(strict: StrictOption = False, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Check both files and the store, and look for the sending IPs.

    A mistake in a file, and what a start would refuse, ends with 2. What would run, and is probably
    wrong, is a line that begins with "warning:"; with --strict it ends with 1. Nothing is started or
    connected to, and nothing stays bound.

    Example: relay check --config /etc/relay/relay.toml
    """
    settings, file = config_at(config)
    standing = standing_of(settings, file)
    listed = standing.case.file
    if listed is None:
        raise ConfigError(standing.problems)
    findings = list(judge_case(standing.case))
    warnings = [str(finding) for finding in findings if not finding.refuses]
    refusals = standing.refusals(findings, or_passing=True)
    if standing.comparison.difference and not standing.refused:
        warnings.append(standing.comparison.difference)
    if refusals:
        _tell(warnings)
        raise ConfigError(refusals)
    rows = _rows(standing.case)
    if json:
        places = {"config": str(file), "directory": str(settings.directory)}
        print_json({**places, "sending_ips": rows, "warnings": warnings})
    else:
        print_line(f"{file}: ok")
        print_line(f"{settings.directory}: ok")
        print_rows(rows, False, "no sending IPs")
    for route in listed.routes:
        target = route.target
        if isinstance(target, SmarthostRoute) and target.username and target.tls is not TlsPolicy.OFF:
            domains = ", ".join(route.patterns)
            warn(f"the route of {domains} logs in: TLS is required, and mail waits without it")
    _tell(warnings)
    if strict and warnings:
        raise typer.Exit(1)


def _rows(case: Case) -> list[dict[str, object]]:
    """The sending IPs of the file, and those that are in force and not in it."""
    places: dict[tuple[str, str, str], list[str]] = {}
    for book, place in ((case.file, "file"), (case.stored, "store")):
        for ip in () if book is None else book.of(SendingIp):
            if not ip.is_retired:
                places.setdefault((ip.address, ip.bind, ip.node), []).append(place)
    return [
        {
            "address": address,
            "bind": bind,
            "node": node,
            "place": " and ".join(found),
            "state": _state(bind, node, case.config.node),
        }
        for (address, bind, node), found in places.items()
    ]


def _tell(warnings: list[str]) -> None:
    for warning in warnings:
        warn(f"warning: {make_plain(warning)}")


def _state(bind: str, node: str, this_node: str) -> str:
    """Whether the address can be a source here: `ok`, `missing`, or whose business it is."""
    if node and node != this_node:
        return "on another node"
    return "ok" if is_here(bind) else "missing"
