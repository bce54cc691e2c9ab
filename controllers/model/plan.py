"""What a reconcile decides: objects to write, in stages, and what people should be told. A plan holds no I/O and no
clock.
"""

from typing import Generic, TypeVar

from msgspec import Struct

R = TypeVar("R")


class Writes(Struct, Generic[R], frozen=True, gc=False):
    """All creates, then all updates, then all deletes; the order inside a stage is free (ES-72, D-4).

    An update carries the resourceVersion that it was planned from, a delete that of the object found: whoever wrote in
    between makes it fail, and it is planned anew.
    """

    create: tuple[R, ...] = ()
    update: tuple[R, ...] = ()
    delete: tuple[R, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.create or self.update or self.delete)


class Notice(Struct, frozen=True, gc=False):
    """An Event to record on the object that was reconciled; `type` is "Normal" or "Warning"."""

    type: str
    reason: str
    message: str
