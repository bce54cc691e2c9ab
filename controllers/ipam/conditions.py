"""What a pool's conditions say, without times: `status` adds since when."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from controllers.ipam.audit import Finding
from controllers.ipam.capacity import Count, own_addresses
from controllers.ipam.pools import IPPool, Pool, PortPool
from controllers.ipam.ranges import IPV4, IPV6, Addresses, Spans, texts
from controllers.ipam.snapshot import Snapshot

READY: Final = "Ready"
RANGE_CONFLICT: Final = "RangeConflict"
COVERED: Final = "ServiceCIDRCovered"
ENFORCEMENT: Final = "EnforcementActive"
NEAR: Final = "NearExhaustion"
EXHAUSTED: Final = "Exhausted"
DRIFT: Final = "Drift"

# What fits in a static band, at its largest (IP-14): the pools that the placement advice is for.
_SMALL: Final = 256
_HINT: Final = (
    " Hint: addresses in the static band of a ServiceCIDR are what the API server picks last by itself, so a small"
    " exclusive pool is safest there, also while Sliceplane is down"
)


class Verdict(NamedTuple):
    """A condition's state now."""

    type: str
    true: bool | None
    reason: str
    message: str


class Enforcement(NamedTuple):
    """Whether the policies that enforce a pool are written and effective, as the shell has probed; None: not known."""

    active: bool | None = None
    message: str = "The policies have not been probed yet"


def ip_pool_verdicts(
    pool: IPPool, snapshot: Snapshot, counts: Sequence[Count], found: Sequence[Finding], enforcement: Enforcement
) -> list[Verdict]:
    """The conditions of a pool of addresses; `found` are all findings."""
    own = [each for each in found if pool.name in each.pools]
    conflict, covered = _ip_conflict(pool, snapshot), _covered(pool, snapshot)
    return [
        _ready(conflict, covered),
        conflict,
        covered,
        _enforced(pool, enforcement),
        _near(pool, counts),
        _exhausted(counts),
        _drift(own),
    ]


def port_pool_verdicts(
    pool: PortPool, snapshot: Snapshot, count: Count, found: Sequence[Finding], enforcement: Enforcement
) -> list[Verdict]:
    """The conditions of a pool of ports."""
    own = [each for each in found if pool.name in each.port_pools]
    conflict = _port_conflict(pool, snapshot)
    return [
        _ready(conflict),
        conflict,
        _enforced(pool, enforcement),
        _near(pool, [count]),
        _exhausted([count]),
        _drift(own),
    ]


def port_texts(ports: Spans) -> str:
    """For people: `30000-30010, 30080`."""
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in ports.spans)


def _ready(conflict: Verdict, covered: Verdict | None = None) -> Verdict:
    """A pool is ready when all of it can be given out; what of it can be is given out meanwhile, ready or not."""
    if conflict.true:
        return Verdict(READY, False, conflict.reason, conflict.message)
    if covered is not None and not covered.true:
        return Verdict(READY, False, "RangeNotReady", covered.message)
    return Verdict(READY, True, "Ready", "Services can draw from all of the pool")


def _ip_conflict(pool: IPPool, snapshot: Snapshot) -> Verdict:
    """The webhook refuses these; a pool that was made without it shows them here."""
    if pool.broken:
        return Verdict(RANGE_CONFLICT, True, "BrokenRange", f"{'; '.join(pool.broken)}. It is left out: correct it")
    common = [(o, pool.addresses.overlap(o.addresses)) for o in snapshot.ip_pools if o.name != pool.name]
    if said := [_overlaps(other, texts(shared)) for other, shared in common if shared.families]:
        return Verdict(RANGE_CONFLICT, True, "PoolOverlap", _mend(said))
    if said := list(_networks(pool, snapshot)):
        return Verdict(RANGE_CONFLICT, True, "NetworkOverlap", _mend(said))
    return Verdict(RANGE_CONFLICT, False, "NoConflict", "The ranges are in no other pool and no other network")


def _port_conflict(pool: PortPool, snapshot: Snapshot) -> Verdict:
    common = [(o, pool.ports.overlap(o.ports)) for o in snapshot.port_pools if o.name != pool.name]
    if said := [_overlaps(other, port_texts(shared)) for other, shared in common if shared]:
        return Verdict(RANGE_CONFLICT, True, "PoolOverlap", _mend(said))
    if outside := pool.ports.minus(Spans([snapshot.node_ports])):
        first, last = snapshot.node_ports
        message = (
            f"{port_texts(outside)} is outside --service-node-port-range={first}-{last}: the API server refuses it"
        )
        return Verdict(RANGE_CONFLICT, True, "OutsideNodePortRange", message)
    return Verdict(RANGE_CONFLICT, False, "NoConflict", "The ranges are in no other pool")


def _overlaps(other: Pool, shared: str) -> str:
    exclusive = ", which is exclusive," if other.exclusive else ""
    return f"{shared} is also in the pool {other.name}{exclusive}"


def _mend(said: Sequence[str]) -> str:
    return f"{'; '.join(said)}: change a range, or exclude what is in both"


def _networks(pool: IPPool, snapshot: Snapshot) -> Iterator[str]:
    for whose, part in snapshot.networks.shared(pool.addresses):
        yield f"{texts(part)} is also in a network of {whose}"


def _covered(pool: IPPool, snapshot: Snapshot) -> Verdict:
    """Whether the API server would accept every address of the pool (IP-17)."""
    own = own_addresses(pool, snapshot)
    missing = own.minus(snapshot.usable)
    if not missing.families:
        hint = _hint(pool, own, snapshot)
        return Verdict(COVERED, True, "Covered", f"Ready ServiceCIDRs have all of the pool.{hint}")
    if pool.creates_service_cidr:
        told = "a ServiceCIDR is made for each range that is a CIDR, and is not ready yet"
    else:
        told = "make a ServiceCIDR that has it, or set serviceCIDR.mode to Create"
    unready = missing.overlap(snapshot.existing)
    if unready.families:
        told = f"{texts(unready)} is in a ServiceCIDR that is not ready, or is being deleted; otherwise {told}"
    partly = own.overlap(snapshot.usable).families
    message = f"{texts(missing)} is in no ServiceCIDR that is ready, and cannot be given to Services: {told}"
    return Verdict(COVERED, False, "PartlyCovered" if partly else "NotCovered", message)


def _hint(pool: IPPool, own: Addresses, snapshot: Snapshot) -> str:
    """The placement advice, for whom it can help: small exclusive pools where dynamic picks go (IP-15)."""
    size = sum(own.of(family).size for family in (IPV4, IPV6))
    astray = own.minus(snapshot.bands)
    if not pool.exclusive or not astray.families or size > _SMALL:
        return ""
    return f"{_HINT}; {texts(astray)} is not."


def _enforced(pool: Pool, enforcement: Enforcement) -> Verdict:
    if not pool.enforced:
        return Verdict(ENFORCEMENT, False, "Audit", "What is against the pool's rules is reported, not refused")
    if enforcement.active is None:
        return Verdict(ENFORCEMENT, None, "NotProbed", enforcement.message)
    reason = "Effective" if enforcement.active else "NotEffective"
    return Verdict(ENFORCEMENT, enforcement.active, reason, enforcement.message)


def _near(pool: Pool, counts: Sequence[Count]) -> Verdict:
    worst = max(counts, key=lambda each: each.percent, default=Count())
    said = f"{worst.taken} of {worst.total}{f' {worst.family}' if worst.family else ''} are used or reserved"
    if worst.percent >= pool.critical_percent:
        return Verdict(NEAR, True, "Critical", f"{said}: {pool.critical_percent} % or more. Extend the pool now")
    if worst.percent >= pool.warn_percent:
        return Verdict(NEAR, True, "Warning", f"{said}: {pool.warn_percent} % or more. Extend the pool")
    # No figures here: the message would change with every Service.
    return Verdict(NEAR, False, "EnoughLeft", f"Less than {pool.warn_percent} % are used or reserved")


def _exhausted(counts: Sequence[Count]) -> Verdict:
    """A family of which no address can be given at all is not exhausted: ServiceCIDRCovered says what is wrong."""
    full = [each for each in counts if each.reach and not each.assignable]
    if not full:
        return Verdict(EXHAUSTED, False, "SomeFree", "Services can draw from the pool")
    said = "; ".join(
        f"{f'{each.family}: ' if each.family else ''}{each.used} used, {each.reserved} reserved, {each.cooling} cooling"
        f" down of {each.total}"
        for each in full
    )
    return Verdict(EXHAUSTED, True, "NothingFree", f"{said}. Extend the pool, or delete Services or reservations")


def _drift(found: Sequence[Finding]) -> Verdict:
    if not found:
        return Verdict(DRIFT, False, "AsDeclared", "The last audit found nothing")
    kinds = Counter(each.kind.value for each in found)
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda each: (-each[1], each[0])))
    first = found[0]
    where = f"{first.object.namespace}/{first.object.name}".removeprefix("/")
    reason = "".join(part.capitalize() for part in max(sorted(kinds), key=lambda kind: kinds[kind]).split("_"))
    return Verdict(DRIFT, True, reason, f"{counts}. The first: {first.object.kind} {where}: {first.message}")
