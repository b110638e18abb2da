"""Memory documents read in a process of their own, by a script that shares nothing with the package.

A document is given as base and updates; what comes back is what it says. The process gets all documents in one file,
since starting it costs more than reading them.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

from tests.acceptance.oracle import Stored

SCRIPT = r"""
import base64, json, sys
from loro import ExportMode, LoroDoc

def plain(value):
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return {"float": value.hex()}
    return {"bytes": value.hex()} if isinstance(value, bytes) else value

for line in sys.stdin:
    parts = [base64.b64decode(part) for part in json.loads(line)]
    document, pending, before = LoroDoc(), False, b""
    for index, part in enumerate(parts):
        if part:
            pending = document.import_(part).pending is not None or pending
        if index == 0:
            before = document.oplog_vv
    folded = document.oplog_vv
    print(json.dumps({
        "deep": plain(document.get_deep_value()), "vv": base64.b64encode(folded.encode()).decode(), "pending": pending,
        "changed": not folded == before, "again": base64.b64encode(document.export(ExportMode.Snapshot())).decode(),
    }))
"""


def read_documents(documents: Iterable[Stored]) -> list[dict[str, Any]]:
    """For each document: `deep`, `vv` (pairs of peer and counter, sorted), `pending`, `changed` (the updates say
    something that the base does not) and `again` (what this Loro would write)."""
    lines = [json.dumps([base64.b64encode(part).decode() for part in (d.base, *d.updates)]) for d in documents]
    command = [sys.executable, "-I", "-c", SCRIPT]
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, timeout=60, check=True)
    return [_answer(json.loads(line)) for line in done.stdout.splitlines()]


MAKER = r"""
import base64, json, sys
from loro import ExportMode, LoroDoc

for line in sys.stdin:
    base, *texts = json.loads(line)
    document = LoroDoc()
    document.peer_id = 7
    content = document.get_text("content")
    content.insert(0, base)
    document.commit()
    made = [document.export(ExportMode.Snapshot())]
    for text in texts:
        before = document.oplog_vv
        content.insert(0, text)
        document.commit()
        made.append(document.export(ExportMode.Updates(before)))
    print(json.dumps([base64.b64encode(part).decode() for part in made]))
"""


def make_documents(texts: Iterable[list[str]]) -> list[Stored]:
    """Documents of schema Text: the first text is in the base, each later one is an update that inserts it in front."""
    command = [sys.executable, "-I", "-c", MAKER]
    lines = "\n".join(map(json.dumps, texts))
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60, check=True)
    made = [[base64.b64decode(part) for part in json.loads(line)] for line in done.stdout.splitlines()]
    return [Stored(base, updates) for base, *updates in made]


def _answer(found: dict[str, Any]) -> dict[str, Any]:
    vv, again = base64.b64decode(found["vv"]), base64.b64decode(found["again"])
    return {**found, "deep": _floats(found["deep"]), "vv": vector_pairs(vv), "again": again}


def _floats(value: Any) -> Any:
    if isinstance(value, list):
        return [_floats(item) for item in value]
    if isinstance(value, dict):
        if set(value) == {"float"} and isinstance(value["float"], str):
            return float.fromhex(value["float"])
        return {key: _floats(item) for key, item in value.items()}
    return value


def _varints(data: bytes) -> list[int]:
    numbers, value, shift = [], 0, 0
    for byte in data:
        value, shift = value | (byte & 127) << shift, shift + 7
        if byte < 128:
            numbers.append(value)
            value = shift = 0
    assert shift == 0, "a vector ends inside a number"
    return numbers


def vector_pairs(data: bytes) -> list[tuple[int, int]]:
    """An encoded version vector as sorted (peer, end counter) pairs. Source: docs/memory.md#frontier."""
    count, *numbers = _varints(data)
    assert len(numbers) == 2 * count, f"{count} entries announced, {len(numbers)} numbers found"
    return sorted((peer, zz >> 1 ^ -(zz & 1)) for peer, zz in zip(numbers[::2], numbers[1::2], strict=True))


def vector_bytes(pairs: list[tuple[int, int]]) -> bytes:
    """The canonical encoding: entries sorted by peer. Source: docs/memory.md#frontier."""
    numbers = [len(pairs)]
    for peer, counter in sorted(pairs):
        numbers += [peer, counter << 1 if counter >= 0 else -counter * 2 - 1]
    return b"".join(map(_varint, numbers))


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    return bytes([*made, number])
