"""What tests do with a work queue."""

from controllers.runtime.queue import WorkQueue


async def take(made: WorkQueue) -> str:
    """The next key, processed at once."""
    taken = await made.get()
    assert taken is not None
    made.done(taken[0])
    return taken[0]
