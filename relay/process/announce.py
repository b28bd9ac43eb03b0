"""What a start and a stop tell the log, one line each."""

import logging
from collections.abc import Iterable

from relay import __version__
from relay.config.problems import without_password
from relay.config.values import Endpoint
from relay.process.judgments.directory import join_names
from relay.process.preparation import Preparedness
from relay.process.runtime import Relay

log = logging.getLogger("relay")


def warn_of(standing: Preparedness) -> None:
    """What will keep mail from leaving, or is not as the files say."""
    if standing.comparison.difference:
        log.warning("%s", standing.comparison.difference)
    if missing := standing.missing:
        node = standing.case.config.node
        log.warning("not on this machine (%s): %s; their mail waits", node, join_names(missing))


def tell_ready(relay: Relay, standing: Preparedness, workers: int) -> None:
    """Mail is taken: where, with which store and addresses."""
    config, missing, differences = standing.case.config, standing.missing, standing.comparison.number
    clear = len(config.smtp.listen)
    facts: dict[str, object] = {
        "version": __version__,
        "node": config.node,
        "workers": workers,
        "smtp": _endpoints(relay.smtp_addresses[:clear]),
        "smtp_tls": _endpoints(relay.smtp_addresses[clear:]),
        "http": relay.http_url or "",
        "store": without_password(config.store),
        "ips": len(standing.ips),
        "missing": join_names(missing).replace(", ", ","),
        "differences": "unknown" if differences is None else differences,
    }
    told = " ".join(f"{key}={value}" for key, value in facts.items() if value != "")
    log.info("ready %s", told, extra={"facts": {"event": "ready", **facts}})


def tell_stopped() -> None:
    log.info("stopped", extra={"facts": {"event": "stopped"}})


def _endpoints(addresses: Iterable[tuple[str, int]]) -> str:
    return ",".join(str(Endpoint(host, port)) for host, port in addresses)
