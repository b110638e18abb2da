"""The process that makes memory documents for the demonstration; run as a script: `python -I author_worker.py`.

It is the document worker, loaded by its path, with another answer to its requests.
"""

from __future__ import annotations

import os
from importlib.util import module_from_spec, spec_from_file_location
from typing import TYPE_CHECKING, Any

import loro

if TYPE_CHECKING:
    from pattern_stream.memory import document, worker
else:
    _spec = spec_from_file_location("worker", os.path.join(os.path.dirname(__file__), "..", "memory", "worker.py"))
    worker = module_from_spec(_spec)
    _spec.loader.exec_module(worker)
    document = worker.document


class Life:
    """A document as it comes to be in the original: edited, persisted, undone, loaded anew, consolidated.

    Every load takes another peer, derived from the seed alone, so the same life gives the same bytes.
    """

    def __init__(self, metadata: str | None, seed: int) -> None:
        self.schema, self.seed, self.loads = document.parse_schema(metadata), seed, 0
        self.base = worker.new_document().export(loro.ExportMode.Snapshot())
        self.rows: list[dict[str, Any]] = []
        self.checkpoints: list[dict[str, Any]] = []
        self.last_seq, self.preview, self.frontier = 0, "", b"\0"
        self.reload()

    def active(self) -> list[dict[str, Any]]:
        """The rows that are not undone."""
        return [row for row in self.rows if row["active"]]

    def reload(self) -> None:
        """A new session: the document as stored, under a new peer."""
        self.doc, _ = worker.load(self.base, [row["blob"] for row in self.active()])
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
        """What was edited since the last time becomes a row, with the version after it.
        Source: docs/memory.md#undo-and-redo."""
        self.doc.commit()
        self.last_seq += 1
        blob, self.saved = self.doc.export(loro.ExportMode.Updates(self.saved)), self.doc.oplog_vv
        version = worker.canonical_version(self.saved)
        self.rows.append({"seq": self.last_seq, "at": at, "active": True, "blob": blob, "version": version})
        self.preview = document.render(self.schema, worker.new_reader(self.doc))

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
        self.base, self.frontier = (
            self.doc.export(loro.ExportMode.Snapshot()),
            worker.canonical_version(self.doc.oplog_vv),
        )
        self.checkpoints.append({"at": at, "consolidated": len(self.rows), "blob": self.base, "version": self.frontier})
        self.rows = []


def author(meta: dict[str, Any], blobs: list[bytes]) -> worker.Reply:
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


if __name__ == "__main__":
    worker.main(author)
