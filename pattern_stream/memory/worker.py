"""The process that alone decodes memory documents; run as a script: `python -I worker.py`, never imported.

A small forged blob aborts Loro, a shaped one makes it run for ever or fill the memory, so it lives here, behind limits.
Standard input: frames of a request. Standard output: frames of progress ("p", the step begun) and of one reply ("r").
A frame is a head (kind, length of the JSON, length of the blobs), the JSON and the blobs, which the JSON divides.
Steps: 0 reads the stored snapshot, 1 to n the updates, n + 1 makes the new snapshot, n + 2 reads what it shows.
Source: docs/memory.md#the-python-binding, #folding, #hostile-documents.
"""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import struct
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.machinery import SourceFileLoader
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import loro

if TYPE_CHECKING:
    from pattern_stream.memory import containers, document
else:  # by their paths: importing the package would cost more than all the rest of the start

    def _beside(name: str) -> types.ModuleType:
        module = types.ModuleType(name)
        SourceFileLoader(name, os.path.join(os.path.dirname(__file__), f"{name}.py")).exec_module(module)
        return module

    containers, document = _beside("containers"), _beside("document")

HEAD: Final = struct.Struct(">cIQ")
STACK_BYTES: Final = 64 * 1024 * 1024
MAX_ERROR_CHARS: Final = 200

_GIVEN_MEMORY: Final = resource.getrlimit(resource.RLIMIT_AS)[0]
"""What whoever started the program allows it: no request gets more."""

Reply = tuple[dict[str, Any], list[bytes]]
Pending = list[tuple[int, int, int]]
Act = Callable[[dict[str, Any], list[bytes]], Reply]


@contextmanager
def guarded() -> Iterator[None]:
    """The one adapter to Loro's errors, which are bare BaseException or a panic.
    Source: docs/memory.md#the-python-binding."""
    try:
        yield
    except MemoryError:
        raise
    except BaseException as error:
        if type(error) is BaseException or type(error).__name__ == "PanicException":
            raise containers.Fault(" ".join(str(error).split())[:MAX_ERROR_CHARS] or "unreadable") from None
        raise


# --- versions ----------------------------------------------------------------------------------------------------


def canonical_version(version: loro.VersionVector) -> bytes:
    """The encoded version vector sorted by peer; Loro's own order is that of a hash map.
    Source: docs/memory.md#frontier."""
    numbers = list(_varints(version.encode()))
    pairs = sorted(zip(numbers[1::2], numbers[2::2], strict=True))
    return b"".join(map(_varint, [len(pairs), *(number for pair in pairs for number in pair)]))


def _varints(data: bytes) -> Iterator[int]:
    value = shift = 0
    for byte in data:
        value, shift = value | (byte & 0x7F) << shift, shift + 7
        if byte < 0x80:
            yield value
            value = shift = 0


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


# --- documents -----------------------------------------------------------------------------------------------------


def new_document() -> loro.LoroDoc:
    """A document without anything."""
    return loro.LoroDoc()  # type: ignore[no-untyped-call]


def new_reader(doc: loro.LoroDoc) -> containers.ContainerReader:
    """The document's containers."""
    return containers.ContainerReader(doc, document.is_container_name)


def load(base: bytes, updates: Sequence[bytes], *, step: Any = lambda number: None) -> tuple[loro.LoroDoc, bytes]:
    """A document from its stored snapshot (empty: a new one) and updates, and the version of the snapshot alone.

    # Trap: Loro sets edits aside, without an error, until the edits that they build on have come. Updates may be stored
    in any order, so whether something is missing is only known at the end.
    """
    doc = new_document()
    if base and (pending := _bring_in(doc, base)):
        raise _missing(pending)
    before = canonical_version(doc.oplog_vv)
    waiting: dict[int, Pending] = {}
    for number, update in enumerate(updates, 1):
        step(number)
        if pending := _bring_in(doc, update):
            waiting[number] = pending
    version = doc.oplog_vv
    left = {number: pending for number, pending in waiting.items() if not _has_come(version, pending)}
    if left:
        step(min(left))
        raise _missing(left[min(left)], list(left))
    return doc, before


def _bring_in(doc: loro.LoroDoc, data: bytes) -> Pending:
    """Import edits; those that wait for others, as (peer, first counter, counter after the last)."""
    pending = doc.import_(data).pending
    if pending is None or pending.is_empty:
        return []
    return sorted((peer, start, end) for peer, (start, end) in pending.inner().items())


def _has_come(version: loro.VersionVector, pending: Pending) -> bool:
    return all(version.includes_id(loro.ID(peer, end - 1)) for peer, _, end in pending)


def _missing(pending: Pending, steps: Sequence[int] = ()) -> containers.Fault:
    named = ", ".join(f"{start} to {end - 1} of peer {peer}" for peer, start, end in pending[:3])
    return containers.Fault(f"edits {named} build on edits that are missing", steps)


def fold(meta: dict[str, Any], blobs: list[bytes]) -> Reply:
    """The document with its updates in it: version, snapshot where it changed, and what it shows."""
    base, *updates = blobs
    doc, before = load(base, updates, step=progress)
    return _described(meta, doc, changed=canonical_version(doc.oplog_vv) != before or meta["remake"], step=len(updates))


def write(meta: dict[str, Any], blobs: list[bytes]) -> Reply:
    """A new document with the given values, written by the given peer, so that equal requests give equal bytes."""
    doc = new_document()
    doc.peer_id = meta["peer"]
    for kind, name, values in json.loads(blobs[0]):
        if kind == "text":
            doc.get_text(name).insert(0, values)
        elif kind == "map":
            for key, value in values.items():
                doc.get_map(name).insert(key, value)
        elif kind == "list":
            for value in values:
                doc.get_list(name).push(value)
        else:
            doc.get_counter(name).increment(values)
    doc.commit()
    return _described(meta, doc, changed=True, step=0)


def _described(meta: dict[str, Any], doc: loro.LoroDoc, *, changed: bool, step: int) -> Reply:
    version = canonical_version(doc.oplog_vv)
    progress(step + 1)
    snapshot = doc.export(loro.ExportMode.Snapshot()) if changed or meta["probe"] else b""
    if len(snapshot) > meta["most"]:
        raise containers.Grown(f"document grows to {len(snapshot)} bytes, limit is {meta['most']} bytes")
    progress(step + 2)
    shown = _shown(meta, doc) if meta["show"] else []
    fits = sum(map(len, shown)) <= meta["most_shown"]
    described = {"changed": changed, "empty": version == b"\0", "shown": fits}
    if meta["find_deleted"]:
        described["deleted_text"] = _has_deleted_text(doc)
    return described, [snapshot if changed else b"", version, *(shown if fits else [b"", b"null"][: len(shown)])]


def respond(meta: dict[str, Any], blobs: list[bytes]) -> Reply:
    """Fold, or write where the request names a peer."""
    return fold(meta, blobs) if meta["peer"] is None else write(meta, blobs)


def _has_deleted_text(doc: loro.LoroDoc) -> bool:
    """Whether the history holds values that were deleted or written over, which a snapshot carries all the same.

    A history that cannot be looked through counts as one that does: the answer is for who gives a document away.
    """
    written: set[tuple[str, str]] = set()
    try:
        with guarded():
            history = json.loads(doc.export_json_updates(doc.shallow_since_vv, doc.oplog_vv))
        for content, container in ((op["content"], op["container"]) for c in history["changes"] for op in c["ops"]):
            place = (container, content.get("key", ""))
            if content["type"] in ("delete", "set") or ("key" in content and place in written):
                return True
            written.add(place)
    except (containers.Fault, MemoryError, ValueError, LookupError):
        return True
    return False


def _shown(meta: dict[str, Any], doc: loro.LoroDoc) -> list[bytes]:
    schema, reader = document.parse_schema(meta["metadata"]), new_reader(doc)
    try:
        values, text = document.read_values(schema, reader), document.render(schema, reader)
    except document.RenderedTooLong as error:
        raise containers.Fault(str(error)) from None
    found = json.dumps(containers.jsonable(values), ensure_ascii=False).encode() if meta["values"] else b""
    return [text.encode(), found]


# --- the loop ----------------------------------------------------------------------------------------------------


def progress(step: int) -> None:
    """Say which step begins, so that whoever survives knows where this process died."""
    os.write(1, HEAD.pack(b"p", 0, step))


def answer(act: Act, meta: dict[str, Any], blobs: list[bytes]) -> Reply:
    """Serve a request within its limits, or say what was wrong with the document."""
    _limit(meta["memory"], meta["seconds"])
    try:
        with guarded():
            return act(meta, blobs)
    except containers.Fault as fault:
        return {"fault": str(fault), "steps": fault.steps, "grown": isinstance(fault, containers.Grown)}, []
    except MemoryError:
        return {"fault": f"needed more than {meta['memory'] >> 20} MiB"}, []
    except Exception as error:  # noqa: BLE001  what a document leads to must not end the worker
        return {"fault": f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARS]}, []


def _limit(memory: int, seconds: float) -> None:
    """Memory and processor time of this request; the latter ends an orphan whose parent was killed."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    most_seconds = math.ceil(used.ru_utime + used.ru_stime + seconds)
    if _GIVEN_MEMORY != resource.RLIM_INFINITY:
        memory = min(memory, _GIVEN_MEMORY)
    for what, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, most_seconds)):
        with suppress(OSError, ValueError):  # not every system keeps every limit; the parent watches as well
            resource.setrlimit(what, (most, resource.getrlimit(what)[1]))


def _peak_bytes() -> int:
    try:  # Trap: on Linux ru_maxrss starts from what the parent had when it forked; VmHWM is this process's own
        with open("/proc/self/status", "rb") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(b"VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _serve(act: Act) -> None:
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    _send(stdout, {"loro": loro.LORO_VERSION}, [])
    while head := stdin.read(HEAD.size):
        _, meta_bytes, _ = HEAD.unpack(head)
        meta = json.loads(stdin.read(meta_bytes))
        reply, blobs = answer(act, meta, [stdin.read(length) for length in meta["blobs"]])
        _send(stdout, reply, blobs)


def _send(stdout: BinaryIO, reply: dict[str, Any], blobs: list[bytes]) -> None:
    described = json.dumps(reply | {"blobs": [len(blob) for blob in blobs], "peak": _peak_bytes()}).encode()
    stdout.write(HEAD.pack(b"r", len(described), sum(map(len, blobs))) + described)
    stdout.writelines(blobs)
    stdout.flush()


def main(act: Act = respond) -> None:
    """Serve until standard input ends, on a thread whose stack has room for deeply nested values."""
    # no Ctrl-C of its own, no core file, few descriptors, nothing written to any file
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name, most in (("RLIMIT_CORE", 0), ("RLIMIT_NOFILE", 16), ("RLIMIT_FSIZE", 0)):
        with suppress(AttributeError, OSError, ValueError):
            resource.setrlimit(getattr(resource, name), (most, most))
    threading.stack_size(STACK_BYTES)
    server = threading.Thread(target=_serve, args=(act,))
    server.start()
    server.join()


if __name__ == "__main__":
    main()
