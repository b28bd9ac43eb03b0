"""What a process finds done before it listens: the store's first directory, and a certificate."""

import asyncio
import logging
from pathlib import Path

from relay.ambient import SystemClock
from relay.net.tls import ensure_self_signed
from relay.ports import Clock
from relay.schema.config import Config
from relay.schema.directory import load_directory
from relay.service.directory import changes_to
from relay.store import Store, open_store

log = logging.getLogger("relay")


async def prepare(config: Config) -> int:
    """What several workers should find done: the store, its first directory, the certificate. 0."""
    async with await open_store(config.store) as store:
        await first_directory(store, config, SystemClock())
    if "smtp" in config.roles:
        await asyncio.to_thread(certificate_of, config)
    return 0


async def first_directory(store: Store, config: Config, clock: Clock) -> None:
    """A store without a directory takes that of the file (I §3)."""
    if await store.directory.revision() > 0:
        return
    if not config.directory.exists():
        log.warning(
            "%s is not there: the store begins without accounts, and nobody may send", config.directory
        )
        return
    wanted = load_directory(config.directory)
    snapshot = await store.directory.snapshot()
    plan = changes_to(snapshot, wanted.entries, wanted.routes, prune=False)
    await store.directory.apply(plan.changes, snapshot.revision, "start", clock.now())
    log.info("applied %s to the empty store", config.directory)


def certificate_of(config: Config) -> tuple[Path, Path]:
    """The configured PEM files, or the self-signed pair beside the store, made when missing."""
    if config.smtp.certificate is not None and config.smtp.key is not None:
        return config.smtp.certificate, config.smtp.key
    beside = Path(config.store.removeprefix("sqlite:///")).parent
    return ensure_self_signed(beside, config.hostname)
