"""A DNS server of its own: answers from a table over UDP and TCP, and remembers the questions.

    with DnsServer({("a.test", "A"): [("10.0.0.1", 30)]}) as server:
        ...
        server.answers[("a.test", "A")] = [("10.0.0.2", 30)]

A name that is not in the table does not exist. The answer ``None`` stays silent, ``"fail"`` is
SERVFAIL, ``"big"`` is cut off over UDP, and a string of another kind is an alias.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
from types import TracebackType
from typing import Any, Self

KINDS = {1: "A", 28: "AAAA", 5: "CNAME"}
NUMBERS = {name: number for number, name in KINDS.items()}


def _labels(name: str) -> bytes:
    parts = [part.encode() for part in name.split(".")]
    return b"".join(bytes((len(part),)) + part for part in parts) + b"\0"


def _one_port() -> tuple[socket.socket, socket.socket]:
    """A UDP and a listening TCP socket on the same port, which others may be taking too."""
    while True:
        tcp = socket.create_server(("127.0.0.1", 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind(tcp.getsockname())
        except OSError:
            udp.close()
            tcp.close()
        else:
            return udp, tcp


class DnsServer:
    def __init__(self, answers: dict[tuple[str, str], Any]) -> None:
        self.answers = answers
        self.questions: list[tuple[str, str, str]] = []  # name, kind, transport
        self._udp, self._tcp = _one_port()
        self.port: int = self._udp.getsockname()[1]
        self._threads = [
            threading.Thread(target=self._serve_udp, daemon=True),
            threading.Thread(target=self._serve_tcp, daemon=True),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stop:
            stop.sendto(b"", ("127.0.0.1", self.port))
        self._tcp.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._udp.close()
        self._tcp.close()

    def _serve_udp(self) -> None:
        while True:
            question, peer = self._udp.recvfrom(4096)
            if not question:
                return
            answer = self._answer(question, "udp")
            if answer:
                self._udp.sendto(answer, peer)

    def _serve_tcp(self) -> None:
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            with connection:
                size = int.from_bytes(connection.recv(2), "big")
                answer = self._answer(connection.recv(size), "tcp")
                if answer:
                    connection.sendall(len(answer).to_bytes(2, "big") + answer)

    def _answer(self, question: bytes, transport: str) -> bytes | None:
        identity = question[:2]
        at, labels = 12, []
        while question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]].decode())
            at += 1 + question[at]
        kind = KINDS[struct.unpack_from("!H", question, at + 1)[0]]
        name = ".".join(labels)
        self.questions.append((name, kind, transport))
        echo = question[12 : at + 5]
        found = self.answers.get((name, kind), "missing")
        if found is None:
            return None
        if found == "fail":
            return identity + struct.pack("!5H", 0x8182, 1, 0, 0, 0) + echo
        if found == "missing":
            known = any(known == name for known, _ in self.answers)
            return identity + struct.pack("!5H", 0x8180 if known else 0x8183, 1, 0, 0, 0) + echo
        if found == "big":
            if transport == "udp":
                return identity + struct.pack("!5H", 0x8380, 1, 0, 0, 0) + echo
            found = [("10.9.9.9", 60)]
        records = list(self._records(name, kind, found))
        head = identity + struct.pack("!5H", 0x8180, 1, len(records), 0, 0)
        return head + echo + b"".join(records)

    def _records(self, name: str, kind: str, found: Any) -> Any:
        if isinstance(found, str):
            alias = _labels(found)
            yield _labels(name) + struct.pack("!2HIH", 5, 1, 7, len(alias)) + alias
            name, found = found, self.answers[(found, kind)]
            owner = _labels(name)
        else:
            owner = b"\xc0\x0c"  # the question's name
        for address, ttl in found:
            data = ipaddress.ip_address(address).packed
            yield owner + struct.pack("!2HIH", NUMBERS[kind], 1, ttl, len(data)) + data
