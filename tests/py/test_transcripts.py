"""The Markdown transcripts of tests/transcripts: each input gives its log, however it is cut."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from meshcore import ProtocolError
from meshcore.http1 import RequestParser, ResponseParser

TRANSCRIPTS = Path(__file__).resolve().parent.parent / "transcripts"
CASE = re.compile(r"^## (.+?)(?: \[(\w+)\])?\n\n```\n(.*?)```\n```\n(.*?)```\n", re.M | re.S)
ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t", "0": b"\0", "\\": b"\\", '"': b'"'}


class Transcript(NamedTuple):
    file: str
    title: str
    method: str | None
    data: bytes
    log: str


def unescaped(text: str) -> bytes:
    parts = re.split(r"\\(x..|[nrt0\\\"])", text)
    out = bytearray()
    for i, part in enumerate(parts):
        if i % 2 == 0:
            out += part.encode("latin-1")
        elif part[0] == "x":
            out.append(int(part[1:], 16))
        else:
            out += ESCAPES[part]
    return bytes(out)


def input_of(block: str) -> bytes:
    lines = block.split("\n")[:-1]
    return b"".join(
        unescaped(line[:-1]) if line.endswith("\\") else unescaped(line) + b"\r\n" for line in lines
    )


def transcripts() -> Iterator[Transcript]:
    for file in sorted(TRANSCRIPTS.glob("h1-*.md")):
        text = file.read_text("utf-8")
        cases = CASE.findall(text)
        assert len(cases) == text.count("\n## "), f"{file.name} has a case that is not well-formed"
        for title, method, block, log in cases:
            yield Transcript(file.stem, title, method or None, input_of(block), log)


def shown(data: bytes) -> str:
    return repr(data)[2:-1].replace("\\x00", "\\0")


def line_of(event: str, value) -> str:
    match event:
        case "request":
            return "request " + " ".join(shown(part) for part in value)
        case "response":
            return f"response {value[0]} '{shown(value[1])}' {shown(value[2])}"
        case "header" | "trailer":
            return f"{event} {shown(value[0])}: {shown(value[1])}"
        case _:
            return event


class Log:
    """The lines of a transcript; adjacent body pieces are one."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.body = b""

    def add(self, line: str) -> None:
        if self.body:
            self.lines.append("body " + shown(self.body))
            self.body = b""
        self.lines.append(line)

    def take(self, call, *args, prefix: str = "") -> bool:
        """Logs what a call returns; False when it raised."""
        try:
            events, error = call(*args), None
        except ProtocolError as raised:
            events, error = raised.events, raised
        for event, value in events:
            if event == "body":
                self.body += value
            else:
                self.add(prefix + line_of(event, value))
        if error is not None:
            self.add(f"{prefix}error {error.reply_code} {error.details}")
        return error is None


def log_of(transcript: Transcript, pieces: list[bytes]) -> str:
    parser = RequestParser() if "request" in transcript.file else ResponseParser()
    if transcript.method is not None:
        parser.expect(transcript.method)
    log = Log()
    if all(log.take(parser.feed, piece) for piece in pieces):
        log.take(parser.eof, prefix="eof ")
    if parser.trailing:
        log.add("trailing " + shown(parser.trailing))
    return "\n".join(log.lines) + "\n"


@pytest.mark.parametrize("transcript", list(transcripts()), ids=lambda t: f"{t.file}: {t.title}")
def test_transcript(transcript):
    data = transcript.data
    assert log_of(transcript, [data]) == transcript.log
    assert log_of(transcript, [data[i : i + 1] for i in range(len(data))]) == transcript.log
    for cut in range(len(data)):
        assert log_of(transcript, [data[:cut], data[cut:]]) == transcript.log, f"cut at {cut}"
