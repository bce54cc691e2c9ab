"""Names, asked of a real DNS server; and CoreDNS as a process, built from the pinned module in coredns/."""

import time
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rdatatype

from e2e.cluster.build import build_module
from e2e.cluster.local import ControlPlane, StartError
from e2e.cluster.process import Process, free_port

DOMAIN = "cluster.local"

_MODULE = Path(__file__).parent / "coredns"
_READY_TIMEOUT = 30.0
_ASK_TIMEOUT = 5.0
_POLL = 0.1

# No cache, here or at a client: an answer is what the slices say now.
_COREFILE = """\
.:{port} {{
    bind 127.0.0.1
    errors
    kubernetes {domain} {{
        kubeconfig {kubeconfig} local
        ttl 0
    }}
}}
"""


def ask(port: int, name: str, record: str, *, tcp: bool = False) -> list[str]:
    """The addresses that a server on 127.0.0.1 has for a name, sorted; `record` is "A" or "AAAA".

    A name that does not exist has none. Raises LookupError when the server fails or does not answer.
    """
    query = dns.message.make_query(name, record)
    try:
        if tcp:
            answer = dns.query.tcp(query, "127.0.0.1", timeout=_ASK_TIMEOUT, port=port)
        else:
            answer, _ = dns.query.udp_with_fallback(query, "127.0.0.1", timeout=_ASK_TIMEOUT, port=port)
    except (dns.exception.DNSException, OSError) as error:
        raise LookupError(f"{record} {name}: {error}") from error
    code = answer.rcode()
    if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise LookupError(f"{record} {name}: {dns.rcode.to_text(code)}")
    kind = dns.rdatatype.from_text(record)
    return sorted(each.to_text() for records in answer.answer if records.rdtype == kind for each in records)


def start_coredns(plane: ControlPlane) -> tuple[Process, int]:
    """Start CoreDNS with its `kubernetes` plugin alone, and return when it answers; with the port of its UDP and TCP.

    Raises StartError, build.BuildError.
    """
    program = build_module("coredns", _MODULE)
    port = free_port()
    corefile = plane.folder / f"Corefile-{port}"
    kubeconfig = plane.kubeconfig("coredns", ("system:masters",))
    corefile.write_text(_COREFILE.format(port=port, domain=DOMAIN, kubeconfig=kubeconfig))
    process = plane.spawn(plane.fresh_name("coredns"), [str(program), "-conf", str(corefile)])
    until = time.monotonic() + _READY_TIMEOUT
    while time.monotonic() < until:
        if (code := process.poll()) is not None:
            raise StartError(f"{process.name} ended with exit code {code}:\n{process.tail()}")
        try:
            # The API server's own Service: there in every cluster.
            if ask(port, f"kubernetes.default.svc.{DOMAIN}", "A"):
                return process, port
        except LookupError:
            pass
        time.sleep(_POLL)
    raise StartError(f"{process.name} does not answer after {_READY_TIMEOUT:.0f} s:\n{process.tail()}")
