"""`relay run`: a relay process from its start to its signal, with what it tells the person who started it."""

import asyncio
import logging
import os
import signal
import sys
import tomllib
from collections.abc import Coroutine
from contextlib import AsyncExitStack

import uvloop

from relay.domain.errors import RelayError
from relay.runtime import Relay, prepare
from relay.schema.config import Config
from relay.supervise import COULD_NOT_START, share_of, supervise
from relay.telemetry import configure_logging

SINK = "127.0.0.1:2526"
"""Where the lab's next hop listens."""

log = logging.getLogger("relay")


def serve(config: Config, *, with_sink: bool = False) -> int:
    """Run until SIGTERM or SIGINT; 0 after a clean stop.

    Raises RelayError or OSError when it cannot start.
    """
    configure_logging(config.log.format, config.log.level)
    count = (os.cpu_count() or 1) if config.workers == "auto" else config.workers
    if count == 1:
        return _in_a_loop(_serve(config, with_sink))
    # Once, and not by all of them at the same time.
    _in_a_loop(prepare(config))
    share = share_of(config, count)
    return supervise(count, lambda number: _work(share, with_sink and number == 0))


def _work(config: Config, with_sink: bool) -> int:
    """One of several processes."""
    try:
        return _in_a_loop(_serve(config, with_sink, reuse_port=True))
    except (RelayError, OSError) as error:
        log.error("cannot start: %s", error)
        return COULD_NOT_START


def _in_a_loop(run: Coroutine[None, None, int]) -> int:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run)


async def _serve(config: Config, with_sink: bool, *, reuse_port: bool = False) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        if with_sink:
            await _start_sink(stack)
        relay = await stack.enter_async_context(Relay(config, reuse_port=reuse_port))
        if with_sink:
            _tell(_welcome(config, relay.smtp_address))
        await stopping.wait()
    return 0


async def _start_sink(stack: AsyncExitStack) -> None:
    """The sink outlives the relay: mail that is under way still finds it."""
    from relay.testing.sink import run_sink

    over = asyncio.Event()
    tasks = await stack.enter_async_context(asyncio.TaskGroup())
    tasks.create_task(run_sink(SINK, None, over, _tell), name="sink")
    stack.callback(over.set)


def _welcome(config: Config, address: tuple[str, int]) -> str:
    """Where to send, and two lines to copy that send a message through a pool."""
    host, port = address
    key, pool = _lab(config)
    header = f'X-MSYS-API: {{"options": {{"ip_pool": "{pool}"}}}}'
    return f"""
The relay is running. Nothing leaves this machine: the sink on {SINK} takes all mail.

  SMTP      {host}:{port}   user SMTP_Injection   password {key}
  next hop  {SINK}, which prints one line for each message it receives

Send a message through the pool {pool!r}:

  swaks --server {host}:{port} --auth PLAIN --auth-user SMTP_Injection --auth-password {key} \\
        --from you@example.com --to someone@example.org --header '{header}'

  python3 - <<'END'
  import smtplib
  message = 'From: you@example.com\\r\\nSubject: hello\\r\\n{header}\\r\\n\\r\\nHello.\\r\\n'
  with smtplib.SMTP('{host}', {port}) as relay:
      relay.login('SMTP_Injection', '{key}')
      relay.sendmail('you@example.com', ['someone@example.org'], message)
  END

Ctrl-C stops it.
"""


def _lab(config: Config) -> tuple[str, str]:
    """A key in clear text and a filled pool, of the first account in the directory file that has both."""
    tables = tomllib.loads(config.directory.read_text(encoding="utf-8")) if config.directory.exists() else {}
    filled = {(ip.get("account"), ip["pool"]) for ip in tables.get("sending_ip", ()) if ip.get("pool")}
    for account in tables.get("account", ()):
        keys = [
            key["key"] for key in account.get("api_key", ()) if "key" in key and not key.get("subaccount")
        ]
        pools = sorted(pool for owner, pool in filled if owner == account.get("id") and pool != "default")
        if keys and pools:
            return keys[0], pools[0]
    return "YOUR-KEY", "YOUR-POOL"


def _tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
