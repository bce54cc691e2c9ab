"""Who works on a shard, and that nobody works on everything meanwhile.

A shard has a Lease of its own, for which its replicas run as ever. Who holds that runs for a second one, the Lease of
`sliceplane run` without shards, in the name of all shards of this number: they hold it together, and each renews it.
So a process that has all Namespaces, also one of a version that knows no shards, and shards of another number wait as
for any other leader, and these wait for them. What pauses the one pauses the others.

Why that is safe: each writes nothing later than its renew deadline after *its own* last renewal of either Lease. Who
else wants the common one waits for the lease duration since *anybody's* last renewal, which is no earlier. It is never
given up, for the others still count on it: it ends by itself when the last one has gone.
"""

import asyncio
from contextlib import suppress

from controllers.runtime.errors import ApiError
from controllers.runtime.lease import Elector, Lead


class JointElector(Elector):
    """Takes part in an election under an identity that others have, too: they may all lead at the same time.

    All of them must have the same durations.
    """

    async def _attempt(self) -> bool:
        # What we wrote is seldom what is there now: the others renew it as often, and a write must name what is there.
        with suppress(ApiError):
            await self._ask("GET")
        return await super()._attempt()

    async def _release(self) -> None:
        """Leaves it as it is."""


class ShardElection:
    """Two elections, one within the other; leading is holding both Leases."""

    def __init__(self, own: Elector, joint: JointElector) -> None:
        """`own` is for the shard's Lease, `joint` for that which all shards hold together."""
        self._own, self._joint = own, joint

    def may_write(self) -> bool:
        """Whether no other replica can lead the shard yet, and none that has everything."""
        return self._own.may_write() and self._joint.may_write()

    async def run(self, lead: Lead, stopping: asyncio.Event) -> None:
        """As `Elector.run`; of the two Leases only the shard's is given up in the end."""
        await self._own.run(lambda: self._joint.run(lead, stopping), stopping)
