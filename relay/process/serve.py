"""`relay run`: a relay process from its start to its signal, with what it tells the person who started it."""

import asyncio
import ctypes
import gc
import logging
import mmap
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TextIO

import uvloop

from relay.config.config import Config
from relay.domain.errors import OverCapacity, RelayError, StoreUnavailable
from relay.domain.shares import Shares, memory_for
from relay.process.announce import tell_ready, tell_stopped, warn_of
from relay.process.judgments.storage import told_of_wide
from relay.process.preparation import Preparedness, prepare
from relay.process.reception import Reception
from relay.process.renewal import Terminal, hold_hang_ups, keep_renewed
from relay.process.runtime import Relay, smtp_shares
from relay.process.supervise import BEAT_EVERY_S, COULD_NOT_START, Beat, share_of, supervise
from relay.process.systemd import ALIVE, READY, STOPPING, notify, watchdog_every_s
from relay.process.telemetry import configure_logging
from relay.process.welcome import sink_address, welcome
from relay.store import wide_folders

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGE_BYTES = 4 << 20
_LOOSE_BYTES = 16 << 20
"""What may lie unused at the end of a heap."""
_ARENAS = 2
"""Heaps of a process: each thread's own would keep what that one worked on last."""
_LINK_AGAIN_S = 5
_COLLECTIONS = 10_000, 3, 8
"""Objects more than before, after which the collector looks at the young ones; at how many such looks it
looks at those that outlived one, and at how many of these at all. Each look stops all threads: they are
short ones, and the longest, at a quarter of a million objects more, is rare."""

log = logging.getLogger("relay")


def serve(
    config: Config, standing: Preparedness, *, with_sink: bool = False, shows_link: bool = False
) -> int:
    """Run until SIGTERM or SIGINT; 0 after a clean stop.

    standing: as it was found, and is told. shows_link: print the first operator's link even where no
    terminal shows it. Raises RelayError or OSError when it cannot start.
    """
    configure_logging(config.log.format, config.log.level)
    hold_hang_ups()
    _warn_of_others(config)
    warn_of(standing)
    _allow_open_files()
    _give_memory_back()
    count = (os.cpu_count() or 1) if config.workers == "auto" else config.workers
    if count == 1:
        status = _in_a_loop(
            _serve(config, with_sink, shows_link, ready=partial(tell_ready, standing=standing, workers=1))
        )
        tell_stopped()
        return status
    # Once, and not by all of them at the same time.
    _in_a_loop(prepare(config))
    share = share_of(config, count)
    # HTTP is small beside mail: one process answers it all.
    others = share.model_copy(update={"roles": share.roles - {"api", "web"}})
    memory = memoryview(mmap.mmap(-1, memory_for(count)))

    def work(number: int, beat: Beat) -> int:
        shares = smtp_shares(config, memory, number)
        is_first = number == 0
        mine = share if is_first else others
        ready = partial(tell_ready, standing=standing, workers=count) if is_first else None
        return _work(_serve(mine, with_sink and is_first, shows_link, beat, count, shares, ready))

    status = supervise(count, work, Terminal().is_gone)
    tell_stopped()
    return status


def _work(run: Coroutine[None, None, int]) -> int:
    """One of several processes."""
    try:
        return _in_a_loop(run)
    except (RelayError, OSError) as error:
        log.error("cannot start: %s", error)
        return COULD_NOT_START
    except Exception:
        log.exception("worker ends for a reason of our own")
        return 1


def _in_a_loop(run: Coroutine[None, None, int]) -> int:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run)


async def _serve(
    config: Config,
    with_sink: bool,
    shows_link: bool,
    beat: Beat | None = None,
    workers: int = 1,
    shares: Shares | None = None,
    ready: Callable[[Relay], None] | None = None,
) -> int:
    """beat: tells the parent that this one of several workers lives; None for one that stands alone.

    shares: of the connections, counted over all workers; None for one that stands alone.
    ready: tells the log that mail is taken.
    """
    is_one_of_several = workers > 1
    stopping, renewing, terminal = asyncio.Event(), asyncio.Event(), Terminal()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)

    def hang_up() -> None:
        """Of several, the parent sees to it that they end."""
        is_left = not is_one_of_several and terminal.is_gone()
        (stopping if is_left else renewing).set()

    loop.add_signal_handler(signal.SIGHUP, hang_up)
    if beat is not None:
        # A start writes to the store too, and may hang there with the lock in its hands.
        _keep_up(beat, BEAT_EVERY_S)
    async with AsyncExitStack() as stack:
        if with_sink:
            await _start_sink(stack, config)
        relay = await stack.enter_async_context(Relay(config, workers=workers, shares=shares))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        renewals = tasks.create_task(keep_renewed(relay.pairs, renewing), name="certificates")
        stack.callback(renewals.cancel)
        link: str | None = None
        shown_by = sys.stdout if shows_link else _terminal()
        if "web" in config.roles:
            try:
                link = await _first_link(relay.http, shown_by)
            except (StoreUnavailable, OverCapacity):
                later = tasks.create_task(_tell_link_later(relay.http, shown_by), name="first link")
                stack.callback(later.cancel)
        if with_sink and relay.smtp_addresses:
            in_it = link if shown_by is sys.stdout else None
            _tell(welcome(config, relay, in_it))
            link = None if in_it else link
        if link is not None:
            _tell_link(link, shown_by)
        _settle_garbage()
        if ready is not None:
            ready(relay)
        notify(READY)
        if beat is None and (every_s := watchdog_every_s()) is not None:
            _keep_up(partial(notify, ALIVE), every_s)
        if {"api", "web"} & config.roles:
            await asyncio.to_thread(relay.http.warm_up)
            # What it made would be looked at again and again: a tenth of a second for all who are served.
            gc.freeze()
        await stopping.wait()
        if not is_one_of_several:
            notify(STOPPING)
    return 0


def _terminal() -> TextIO | None:
    """Which of our outputs a person reads, and nobody keeps."""
    # None: the process was started with it closed.
    outputs = (sys.stdout, sys.stderr)
    return next((output for output in outputs if output is not None and output.isatty()), None)


async def _first_link(http: Reception, shown_by: TextIO | None) -> str | None:
    """A link for the first operator, if there is to be one; without an output for it, the log says how.

    Whoever reads a log that keeps links could become operator. Raises StoreUnavailable, OverCapacity.
    """
    if shown_by is not None:
        return await http.first_link()
    if await http.sign_ins.lacks_first():
        log.warning("nobody has signed in to the console yet: `relay user first-link` prints a link to do so")
    return None


def _tell_link(link: str, shown_by: TextIO | None) -> None:
    _tell(f"Nobody can sign in to the console yet. This link lets the first operator in:\n  {link}", shown_by)


async def _tell_link_later(http: Reception, shown_by: TextIO | None) -> None:
    """As soon as the store can be written."""
    log.warning("no link for the first operator yet: the store takes no writes for now")
    while True:
        await asyncio.sleep(_LINK_AGAIN_S)
        with suppress(StoreUnavailable, OverCapacity):
            if (link := await _first_link(http, shown_by)) is not None:
                _tell_link(link, shown_by)
            return


def _keep_up(beat: Beat, every_s: float) -> None:
    """Beat for as long as the loop of this process goes round."""
    beat()
    asyncio.get_running_loop().call_later(every_s, _keep_up, beat, every_s)


def _warn_of_others(config: Config) -> None:
    """Say who else can reach what this process can, and what to do about it."""
    if os.geteuid() == 0:
        log.warning(
            "running as root, which the relay does not need: start it as a user of its own, with"
            " CAP_NET_BIND_SERVICE for ports below 1024, as docs/relay.service does"
        )
    for folder, mode in wide_folders(config.store):
        log.warning("%s", told_of_wide(folder, mode))


def _allow_open_files() -> None:
    """As many as the system lets us: each connection, in and out, is one, and 1024 is soon reached."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _give_memory_back() -> None:
    """Large bodies live in mappings of their own, which end with them.

    glibc would raise that limit to 32 MB by and by, and keep the holes that large mail leaves.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # not so in musl
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _LOOSE_BYTES)
        libc.mallopt(_M_ARENA_MAX, _ARENAS)


def _settle_garbage() -> None:
    """What was made so far stays: the collector need not look at it again, nor at the rest so often.

    Mail makes few cycles; with the usual thresholds the search for them takes 5 % of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTIONS)


async def _start_sink(stack: AsyncExitStack, config: Config) -> None:
    """The sink outlives the relay: mail that is under way still finds it."""
    from relay.sink.program import run_sink

    over = asyncio.Event()
    tasks = await stack.enter_async_context(asyncio.TaskGroup())
    other = f"give the route of {config.directory} another smarthost"
    tasks.create_task(run_sink(sink_address(config), None, over, _tell, other), name="sink")
    stack.callback(over.set)


def _tell(text: str, output: TextIO | None = None) -> None:
    """output: standard output when None."""
    output = output or sys.stdout
    output.write(text + "\n")
    output.flush()
