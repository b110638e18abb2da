"""The process that alone decodes memory documents; run as a script: `python -I worker.py`. Nothing imports it.

A small forged blob aborts Loro, a shaped one makes it run for ever or fill the memory, so it lives here, behind limits.
Standard input: frames of a request. Standard output: frames of progress ("p", the step begun) and of one reply ("r").
A frame is a head (kind, length of the JSON, length of the blobs), the JSON and the blobs, which the JSON divides.
Steps: 0 reads the stored snapshot, 1 to n the updates, n + 1 makes the new snapshot, n + 2 reads what it shows.
Source: loro 1, 3, 5.
"""

from __future__ import annotations

import json
import math
import os
import struct
import sys
import threading
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import loro

try:
    import resource
except ImportError:  # Windows has no limits of this kind
    resource = None  # type: ignore[assignment]

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
STDERR_BYTES: Final = 64 * 1024

Reply = tuple[dict[str, Any], list[bytes]]


@contextmanager
def guarded() -> Iterator[None]:
    """The one adapter to Loro's errors, which are bare BaseException or a panic. Source: loro 1."""
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
    """The encoded version vector sorted by peer; Loro's own order is that of a hash map. Source: loro 1."""
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


# --- what is asked -----------------------------------------------------------------------------------------------


def new_document() -> loro.LoroDoc:
    """A document without anything."""
    return loro.LoroDoc()  # type: ignore[no-untyped-call]


def new_reader(doc: loro.LoroDoc) -> containers.Reader:
    """The document's containers."""
    return containers.Reader(doc, document.is_container_name)


def load(base: bytes, updates: Sequence[bytes], *, step: Any = lambda number: None) -> tuple[loro.LoroDoc, bytes]:
    """A document from its stored snapshot (empty: a new one) and updates, and the version of the snapshot alone."""
    doc = new_document()
    if base:
        _bring_in(doc, base)
    before = canonical_version(doc.oplog_vv)
    for number, update in enumerate(updates, 1):
        step(number)
        _bring_in(doc, update)
    return doc, before


def _bring_in(doc: loro.LoroDoc, data: bytes) -> None:
    """Trap: edits whose predecessors are missing are kept aside without an error. Source: loro 1."""
    pending = doc.import_(data).pending
    if pending is not None and not pending.is_empty:
        ranges = sorted(pending.inner().items())
        named = ", ".join(f"{start} to {end - 1} of peer {peer}" for peer, (start, end) in ranges[:3])
        raise containers.Fault(f"edits {named} build on edits that are missing")


def fold(meta: dict[str, Any], blobs: list[bytes]) -> Reply:
    """The document with its updates in it: version, snapshot where it changed, and what it shows."""
    base, *updates = blobs
    doc, before = load(base, updates, step=progress)
    version = canonical_version(doc.oplog_vv)
    changed = version != before or meta["remake"]
    progress(len(updates) + 1)
    snapshot = doc.export(loro.ExportMode.Snapshot()) if changed or meta["probe"] else b""
    if len(snapshot) > meta["most"]:
        raise containers.Fault(f"document grows to {len(snapshot)} bytes, limit is {meta['most']} bytes")
    progress(len(updates) + 2)
    shown = _shown(meta, doc) if meta["show"] else []
    told = {"changed": changed, "empty": version == b"\0", "shown": sum(map(len, shown)) <= meta["most_shown"]}
    return told, [snapshot if changed else b"", version, *(shown if told["shown"] else [b"", b"null"][: len(shown)])]


def _shown(meta: dict[str, Any], doc: loro.LoroDoc) -> list[bytes]:
    schema, reader = document.parse_schema(meta["metadata"]), new_reader(doc)
    try:
        values, text = document.read_values(schema, reader), document.render(schema, reader)
    except document.RenderedTooLong as error:
        raise containers.Fault(str(error)) from None
    found = json.dumps(containers.jsonable(values), ensure_ascii=False).encode() if meta["values"] else b""
    return [text.encode(), found]


class Life:
    """A document as it comes to be in the original: edited, persisted, undone, loaded anew, consolidated.

    Every load takes another peer, derived from the seed alone, so the same life gives the same bytes.
    """

    def __init__(self, metadata: str | None, seed: int) -> None:
        self.schema, self.seed, self.loads = document.parse_schema(metadata), seed, 0
        self.base = new_document().export(loro.ExportMode.Snapshot())
        self.rows: list[dict[str, Any]] = []
        self.checkpoints: list[dict[str, Any]] = []
        self.last_seq, self.preview, self.frontier = 0, "", b"\0"
        self.reload()

    def active(self) -> list[dict[str, Any]]:
        """The rows that are not undone."""
        return [row for row in self.rows if row["active"]]

    def reload(self) -> None:
        """A new session: the document as stored, under a new peer."""
        self.doc, _ = load(self.base, [row["blob"] for row in self.active()])
        self.loads += 1
        self.doc.peer_id = (self.seed * 0x9E3779B97F4A7C15 + self.loads * 0xBF58476D1CE4E5B9) % (1 << 63) or 1
        self.saved = self.doc.oplog_vv

    def edit(self, kind: str, name: str, *arguments: Any) -> None:
        """One edit of a root container: splice a text, set a key, push, put or drop an item, count."""
        if kind == "splice":
            text, (start, cut, new) = self.doc.get_text(name), arguments
            start = text.len_unicode if start < 0 else start
            text.splice(start, text.len_unicode - start if cut < 0 else cut, new)
        elif kind == "set":
            self.doc.get_map(name).insert(*arguments)
        elif kind == "push":
            self.doc.get_list(name).push(*arguments)
        elif kind == "drop":
            self.doc.get_list(name).delete(arguments[0], 1)
        elif kind == "put":
            self.doc.get_list(name).delete(arguments[0], 1)
            self.doc.get_list(name).insert(*arguments)
        else:
            self.doc.get_counter(name).increment(*arguments)

    def persist(self, at: int) -> None:
        """What was edited since the last time becomes a row, with the version after it. Source: database 7.2."""
        self.doc.commit()
        self.last_seq += 1
        blob, self.saved = self.doc.export(loro.ExportMode.Updates(self.saved)), self.doc.oplog_vv
        version = canonical_version(self.saved)
        self.rows.append({"seq": self.last_seq, "at": at, "active": True, "blob": blob, "version": version})
        self.preview = document.render(self.schema, new_reader(self.doc))

    def undo(self) -> None:
        """The highest active row no longer counts."""
        self.active()[-1]["active"] = False
        self._turned()

    def redo(self) -> None:
        """The lowest undone row above the highest active one counts again."""
        head = max((row["seq"] for row in self.active()), default=0)
        next(row for row in self.rows if row["seq"] > head)["active"] = True
        self._turned()

    def _turned(self) -> None:
        rows = self.active()
        self.frontier = rows[-1]["version"] if rows else b""
        self.reload()

    def consolidate(self, at: int) -> None:
        """Base and rows become one snapshot, of which a checkpoint keeps a copy."""
        self.base, self.frontier = self.doc.export(loro.ExportMode.Snapshot()), canonical_version(self.doc.oplog_vv)
        self.checkpoints.append({"at": at, "consolidated": len(self.rows), "blob": self.base, "version": self.frontier})
        self.rows = []


def author(meta: dict[str, Any], blobs: list[bytes]) -> Reply:
    """Live through the steps of a life and hand over what the original would have stored."""
    life = Life(meta["metadata"], meta["seed"])
    for at, (verb, *arguments) in enumerate(meta["steps"]):
        if verb in ("persist", "consolidate"):
            getattr(life, verb)(at)
        elif verb in ("undo", "redo", "reload"):
            getattr(life, verb)()
        else:
            life.edit(verb, *arguments)
    made = [*life.checkpoints, *life.rows]
    plain = [{key: value for key, value in item.items() if key not in ("blob", "version")} for item in made]
    split = len(life.checkpoints)
    reply = {"checkpoints": plain[:split], "rows": plain[split:], "last_seq": life.last_seq, "preview": life.preview}
    return reply, [life.base, life.frontier, *(part for item in made for part in (item["blob"], item["version"]))]


# --- the loop ----------------------------------------------------------------------------------------------------


def progress(step: int) -> None:
    """Say which step begins, so that whoever survives knows where this process died."""
    os.write(1, HEAD.pack(b"p", 0, step))


def answer(meta: dict[str, Any], blobs: list[bytes]) -> Reply:
    """Do what a request asks within its limits, or say what was wrong with the document."""
    _limit(meta["memory"], meta["seconds"])
    try:
        with guarded():
            return (author if meta["ask"] == "author" else fold)(meta, blobs)
    except containers.Fault as fault:
        _forget_panics()
        return {"fault": str(fault)}, []
    except MemoryError:
        return {"fault": f"needed more than {meta['memory'] >> 20} MiB"}, []
    except Exception as error:  # noqa: BLE001  what a document leads to must not end the worker
        return {"fault": f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARS]}, []


def _limit(memory: int, seconds: float) -> None:
    """Memory and processor time of this request; the latter ends an orphan whose parent was killed."""
    if resource is None:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + seconds)),
    ):
        try:
            resource.setrlimit(what, (most, resource.getrlimit(what)[1]))
        except (OSError, ValueError):
            continue  # not every system keeps every limit; the parent watches as well


def _forget_panics() -> None:
    """What panics printed is not kept, so that there is room for the last words of an abort."""
    try:
        os.ftruncate(2, 0)
    except OSError:
        return


def _settle() -> None:
    """Limits for the whole life: no core file, few files, little room for what panics print; no Ctrl-C of its own."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name, most in (("RLIMIT_CORE", 0), ("RLIMIT_NOFILE", 16), ("RLIMIT_FSIZE", STDERR_BYTES)):
        try:
            resource.setrlimit(getattr(resource, name), (most, most))
        except (AttributeError, OSError, ValueError):
            continue


def _peak_bytes() -> int:
    if resource is None:
        return 0
    try:  # Trap: on Linux ru_maxrss starts from what the parent had when it forked; VmHWM is this process's own
        with open("/proc/self/status", "rb") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(b"VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _serve() -> None:
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    _say(stdout, {"loro": loro.LORO_VERSION}, [])
    while head := stdin.read(HEAD.size):
        _, meta_bytes, _ = HEAD.unpack(head)
        meta = json.loads(stdin.read(meta_bytes))
        reply, blobs = answer(meta, [stdin.read(length) for length in meta["blobs"]])
        _say(stdout, reply, blobs)


def _say(stdout: BinaryIO, reply: dict[str, Any], blobs: list[bytes]) -> None:
    said = json.dumps(reply | {"blobs": [len(blob) for blob in blobs], "peak": _peak_bytes()}).encode()
    stdout.write(HEAD.pack(b"r", len(said), sum(map(len, blobs))) + said)
    stdout.writelines(blobs)
    stdout.flush()


def main() -> None:
    """Serve until standard input ends, on a thread whose stack holds deeply nested values."""
    _settle()
    threading.stack_size(STACK_BYTES)
    server = threading.Thread(target=_serve)
    server.start()
    server.join()


if __name__ == "__main__":
    main()
