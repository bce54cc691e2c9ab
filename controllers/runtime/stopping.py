"""How a process ends: what it does is waited for, but not for long, and a part of it that dies is an error."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable


async def until_stopped(
    work: Awaitable[None],
    background: Iterable[asyncio.Task[None]],
    stopping: asyncio.Event,
    told: Callable[[], float],
) -> None:
    """Waits for `stopping`, and then for the work to end; the background tasks are cancelled at last.

    `told` is called when the stop has been asked for, and says how many seconds the work may take. Raises what ended
    the work or a background task.
    """
    tasks = list(background)
    working = asyncio.ensure_future(work)
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({working, stop, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        if stopping.is_set():
            await asyncio.wait({working}, timeout=told())
        for task in (working, *tasks):
            if task.done():
                task.result()
    finally:
        stop.cancel()
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
