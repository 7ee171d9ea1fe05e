"""Names to addresses with their TTL: a stub resolver on the control loop, or the system's.

The stub resolver reads /etc/hosts and /etc/resolv.conf, or asks the servers that a configuration
names: over UDP, over TCP when an answer was cut off.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from meshcore._addresses import is_ip
from meshcore.discovery.wire import AAAA, NXDOMAIN, A, Answer, DnsFormatError, decode, encode

__all__ = [
    "Addresses",
    "Resolver",
    "StubResolver",
    "SystemResolver",
    "look_up",
    "read_resolver",
    "reason_of",
]

Found = list[tuple[str, int | None]]  # address, TTL in seconds; None: unknown
Server = tuple[str, int]
CARES = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
GETADDRINFO = (
    "type.googleapis.com/"
    "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig"
)
KINDS = {socket.AF_INET: A, socket.AF_INET6: AAAA}


LOOPBACK = {4: "127.0.0.1", 6: "::1"}

# Why a name has no address, as c-ares says it.
NOT_FOUND = "Domain name not found"
NO_DATA = "DNS server returned answer with no data"
BAD_NAME = "Misformatted domain name"
REFUSALS = {
    1: "DNS server claims query was misformatted",
    2: "DNS server returned general failure",
    4: "DNS server does not implement requested operation",
    5: "DNS server refused query",
}


class Addresses(Found):
    """What a name has; of an empty list `why`."""

    why: str = NOT_FOUND


class ResolveError(OSError):
    """No answer; `why` in the words of c-ares."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(text)
        self.why = why


def reason_of(error: Exception) -> str:
    if isinstance(error, ValueError):
        return BAD_NAME
    return getattr(error, "why", "Could not contact DNS servers")


def _is_localhost(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost")


async def look_up(
    resolver: Resolver, families: Sequence[int], first_only: bool, name: str
) -> Addresses:
    """One family after the other. It failed when there is no address and no family had an answer,
    be it that there is none; where all families are wanted, when one had none."""
    if is_ip(name):
        if ":" in name and socket.AF_INET6 not in families:
            raise ResolveError(f"{name} is of no family that is asked for", BAD_NAME)
        return Addresses([(name, 0)])
    if not name:
        return Addresses()  # the root of all names has none
    found = Addresses()
    failure: Exception | None = None
    answered = False
    if not first_only and _is_localhost(name.lower()):
        families = sorted(families, reverse=True)  # of this name IPv6 comes first
    for family in families:
        try:
            more = await resolver(name, family)
        except (OSError, ValueError) as error:
            failure = error
            continue
        answered = True
        seen = {address for address, _ in found}
        found += [each for each in more if each[0] not in seen]
        found.why = getattr(more, "why", NOT_FOUND)
        if found and first_only:
            break
    if failure is not None and not found and not (answered and first_only):
        raise failure
    return found


class Resolver(Protocol):
    async def __call__(self, name: str, family: int) -> Found:
        """Addresses of one family; an empty list: the name has none. OSError: no answer."""
        ...


class SystemResolver:
    """``getaddrinfo`` in a thread pool, so that nsswitch holds; it tells no TTL."""

    async def __call__(self, name: str, family: int) -> Found:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(name, 0, family=family, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            if error.errno in (
                socket.EAI_NONAME,
                getattr(socket, "EAI_NODATA", -5),
                getattr(socket, "EAI_ADDRFAMILY", -9),
            ):
                return []
            raise
        return [(address, None) for address in dict.fromkeys(str(item[4][0]) for item in found)]


@dataclass(frozen=True, slots=True)
class Options:
    servers: tuple[Server, ...] = ()  # empty: those of resolv.conf
    tcp: bool = False
    search: bool = True
    timeout_s: float = 5.0
    tries: int = 4


@dataclass(slots=True)
class SystemFiles:
    """What resolv.conf and hosts say."""

    servers: list[Server] = field(default_factory=list)
    search: list[str] = field(default_factory=list)
    ndots: int = 1
    hosts: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(
        cls, resolv: Path = Path("/etc/resolv.conf"), hosts: Path = Path("/etc/hosts")
    ) -> SystemFiles:
        out = cls()
        for words in _lines(resolv, "#;"):
            if words[0] == "nameserver" and len(words) > 1 and is_ip(words[1]):
                out.servers.append((words[1], 53))
            elif words[0] in ("search", "domain"):
                out.search = words[1:]
            elif words[0] == "options":
                for word in words[1:]:
                    if word.startswith("ndots:") and word[6:].isdigit():
                        out.ndots = min(int(word[6:]), 15)
        for words in _lines(hosts, "#"):
            if is_ip(words[0]):
                for name in words[1:]:
                    out.hosts.setdefault(name.lower(), []).append(words[0])
        out.servers = out.servers[:3] or [("127.0.0.1", 53)]
        return out


def _lines(path: Path, comments: str) -> list[list[str]]:
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return []
    lines = []
    for line in text.splitlines():
        for mark in comments:
            line = line.split(mark, 1)[0]
        if words := line.split():
            lines.append(words)
    return lines


class StubResolver:
    """Asks DNS servers itself."""

    def __init__(
        self, options: Options = Options(), files: Callable[[], SystemFiles] = SystemFiles.read
    ) -> None:
        self._options = options
        self._files = files

    async def __call__(self, name: str, family: int) -> Found:
        files = self._files()
        version = 4 if family == socket.AF_INET else 6
        key = name.lower()  # one with a final dot is no name of a file's
        local = [
            (address, None)
            for address in dict.fromkeys(files.hosts.get(key, ()))
            if ipaddress.ip_address(address).version == version
        ]
        if not local and _is_localhost(key):
            return [(LOOPBACK[version], None)]  # RFC 6761, section 6.3
        if local or key in files.hosts:
            return list(local)
        servers = self._options.servers or tuple(files.servers)
        found = Addresses()
        for candidate in self._candidates(name, files):
            answer = await self._ask(servers, candidate, KINDS[socket.AddressFamily(family)])
            found.why = NOT_FOUND if answer.code == NXDOMAIN else NO_DATA
            if answer.addresses:
                found += answer.addresses
                break
        return found

    def _candidates(self, name: str, files: SystemFiles) -> list[str]:
        if name.endswith(".") or not self._options.search:
            return [name]
        searched = [f"{name}.{domain}" for domain in files.search]
        return [name, *searched] if name.count(".") >= files.ndots else [*searched, name]

    async def _ask(self, servers: Sequence[Server], name: str, kind: int) -> Answer:
        """The first useful answer: every server in turn, as often as allowed."""
        error: Exception = OSError(f"no answer for {name}")
        why = ""
        for _ in range(self._options.tries):
            for server in servers:
                try:
                    answer = await asyncio.wait_for(
                        self._exchange(server, name, kind), self._options.timeout_s
                    )
                except (OSError, EOFError, TimeoutError) as failure:
                    error = failure
                    late = isinstance(failure, TimeoutError)
                    why = (
                        "Timeout while contacting" if late else "Could not contact"
                    ) + " DNS servers"
                    continue
                if answer.code in (0, NXDOMAIN):
                    return answer
                error = OSError(f"{server[0]} refuses {name}: code {answer.code}")
                why = REFUSALS.get(answer.code, REFUSALS[2])
        raise ResolveError(str(error) or f"no answer for {name} in time", why) from error

    async def _exchange(self, server: Server, name: str, kind: int) -> Answer:
        if not self._options.tcp:
            answer = await _over_udp(server, name, kind)
            if not answer.truncated:
                return answer
        return await _over_tcp(server, name, kind)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, accept: Callable[[bytes], Answer]) -> None:
        self._accept = accept
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, _: Any) -> None:
        if self.answer.done():
            return
        try:
            self.answer.set_result(self._accept(data))
        except DnsFormatError:
            return  # not for us: someone guesses, or it is late

    def error_received(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


async def _over_udp(server: Server, name: str, kind: int) -> Answer:
    loop = asyncio.get_running_loop()
    identity = secrets.randbits(16)
    # A socket for each question: its port is part of what a forger must guess (RFC 5452).
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: _Datagrams(lambda data: decode(data, identity, name, kind)), remote_addr=server
    )
    try:
        transport.sendto(encode(identity, name, kind))
        return await protocol.answer
    finally:
        transport.close()


async def _over_tcp(server: Server, name: str, kind: int) -> Answer:
    identity = secrets.randbits(16)
    question = encode(identity, name, kind)
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(len(question).to_bytes(2, "big") + question)
        size = int.from_bytes(await reader.readexactly(2), "big")
        data = await reader.readexactly(size)
    finally:
        writer.close()
    try:
        return decode(data, identity, name, kind)
    except DnsFormatError as error:
        raise OSError(f"{server[0]}: {error}") from error


def _servers(configs: Sequence[Mapping[str, Any]]) -> tuple[Server, ...]:
    found = [config.get("socket_address", {}) for config in configs]
    return tuple((str(a.get("address", "")), int(a.get("port_value", 0)) or 53) for a in found)


def read_resolver(cluster: Mapping[str, Any]) -> Resolver:
    """The resolver that a cluster's fields ask for, the newest spelling first."""
    typed = cluster.get("typed_dns_resolver_config", {}).get("typed_config", {})
    if typed.get("@type") == GETADDRINFO:
        return SystemResolver()
    if typed.get("@type") == CARES:
        return StubResolver(_cares(typed))
    older = cluster.get("dns_resolution_config", {})
    if older:
        return StubResolver(_cares(older))
    return StubResolver(
        Options(
            servers=_servers(cluster.get("dns_resolvers", ())),
            tcp=bool(cluster.get("use_tcp_for_dns_lookups")),
        )
    )


def _cares(config: Mapping[str, Any]) -> Options:
    options = config.get("dns_resolver_options", {})
    defaults = Options()
    servers = _servers(config.get("resolvers", ()))
    if config.get("use_resolvers_as_fallback"):
        own = SystemFiles.read().servers
        servers = tuple(own) if own and os.path.exists("/etc/resolv.conf") else servers
    return Options(
        servers=servers,
        tcp=bool(options.get("use_tcp_for_dns_lookups")),
        search=not options.get("no_default_search_domain"),
        timeout_s=float(config.get("query_timeout_seconds") or defaults.timeout_s),
        tries=int(config.get("query_tries") or defaults.tries),
    )
