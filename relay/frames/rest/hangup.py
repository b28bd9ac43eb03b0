"""Work for a client that may be gone before it is done."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

T = TypeVar("T")


class Gone(Exception):
    """The client has hung up: there is nobody to answer."""


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What work gives; it is cancelled when the client hangs up. The body has been read. Raises Gone."""
    results: list[T] = []
    errors: list[Exception] = []

    async def do() -> None:
        try:
            results.append(await work)
        except Exception as error:  # noqa: BLE001 - it is raised again, without a group around it
            errors.append(error)
        finally:
            watcher.cancel()

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        worker.cancel()

    async with asyncio.TaskGroup() as tasks:
        worker = tasks.create_task(do(), name="request")
        watcher = tasks.create_task(watch(), name="client")
    if errors:
        raise errors[0]
    if not results:
        raise Gone
    return results[0]
