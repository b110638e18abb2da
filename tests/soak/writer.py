"""A program that lives in a database while others read it: `python -m tests.soak.writer DB RATE`.

Transaction k touches several tables, so that each committed state is told by k alone (`states.py` says how). It commits
`RATE` transactions a second, as near as it can, until its input ends; then it says how many it made.
"""

from __future__ import annotations

import json
import select
import sqlite3
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from typing import Final

from loro import ExportMode, LoroDoc

AGENTS: Final = 5
BLOCKS: Final = 3
KEPT_MESSAGES: Final = 400
KEPT_ENTRIES: Final = 60
KEPT_MARKS: Final = 40
"""Marks in a memory document: each edit sets one at the end, and takes the oldest away."""

FOLDED_EVERY: Final = 150
"""After so many edits a document's snapshot is made anew and its edits go, all in one transaction."""

PREFIX: Final = "soak"
TIME: Final = "2026-01-02T03:04:05+00:00"
POSITION: Final = 31_358_194_177_998_848
PATIENCE_SECONDS: Final = 20


class Document:
    """A memory document as this program has it open."""

    def __init__(self, index: int) -> None:
        self.id = f"{PREFIX}-block-{index}"
        self.document = LoroDoc()  # type: ignore[no-untyped-call]
        self.document.peer_id = 100 + index
        self.marks: deque[int] = deque()
        self.seq = self.stored = 0

    def edit(self, number: int) -> bytes:
        """One edit, as bytes for the table of edits."""
        before = self.document.oplog_vv
        text = self.document.get_text("content")
        if len(self.marks) == KEPT_MARKS:
            text.delete(0, len(f"{self.marks.popleft()};"))
        text.insert(len(text.to_string()), f"{number};")
        self.marks.append(number)
        self.document.commit()
        self.seq += 1
        return bytes(self.document.export(ExportMode.Updates(before)))


class Writer:
    """The transactions, on one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.documents = [Document(index) for index in range(BLOCKS)]
        self.number = 0

    def move_in(self) -> None:
        """Agents, a group and memory blocks of its own, and transaction 0: nothing done yet."""
        with self.connection as do:
            for index in range(AGENTS):
                do.execute(
                    "INSERT INTO agents (id, name, model_provider, model_name, system_prompt, config, enabled_tools,"
                    " created_at, updated_at) VALUES (:id, :id, 'p', 'm', 's', :config, '[]', :at, :at)",
                    {"id": f"{PREFIX}-agent-{index}", "config": config(0, 0), "at": TIME},
                )
            do.execute(
                "INSERT INTO agent_groups (id, name, pattern_type, pattern_config, created_at, updated_at)"
                " VALUES (:id, :id, 'dynamic', '{\"tick\":0}', :at, :at)",
                {"id": f"{PREFIX}-group", "at": TIME},
            )
            for index, document in enumerate(self.documents):
                do.execute(
                    "INSERT INTO memory_blocks (id, agent_id, label, description, block_type, loro_snapshot, metadata,"
                    " created_at, updated_at) VALUES (:id, :owner, :id, 'd', 'core', x'', :metadata, :at, :at)",
                    {
                        "id": document.id,
                        "owner": f"{PREFIX}-agent-{index}",
                        "metadata": '{"schema":{"Text":{}}}',
                        "at": TIME,
                    },
                )

    def commit_next(self) -> None:
        """The next transaction. All of it, or none."""
        self.number += 1
        k, do = self.number, self.connection.execute
        do("BEGIN IMMEDIATE")
        for index, balance in ((k % AGENTS, 1), ((k + 2) % AGENTS, -1)):
            do(
                "UPDATE agents SET config = json_set(config, '$.balance', json_extract(config, '$.balance') + ?)"
                " WHERE id = ?",
                (balance, f"{PREFIX}-agent-{index}"),
            )
        for index in (0, AGENTS - 1):
            do("UPDATE agents SET config = json_set(config, '$.done', ?) WHERE id = ?", (k, f"{PREFIX}-agent-{index}"))
        do("UPDATE agent_groups SET pattern_config = ? WHERE id = ?", (json.dumps({"tick": k}), f"{PREFIX}-group"))
        self._add_rows(k, do)
        self._edit_document(self.documents[k % BLOCKS], do)
        do("COMMIT")

    def _add_rows(self, k: int, do: Callable[..., object]) -> None:
        agent = f"{PREFIX}-agent-{k % AGENTS}"
        do(
            "INSERT INTO messages (id, agent_id, position, role, content_json, created_at) VALUES (?,?,?,'user',?,?)",
            (f"{PREFIX}-message-{k}", agent, str(POSITION + k), json.dumps({"Text": f"said {k}"}), TIME),
        )
        do(
            "INSERT INTO archival_entries (id, agent_id, content, created_at) VALUES (?,?,?,?)",
            (f"{PREFIX}-entry-{k}", f"{PREFIX}-agent-{(k + 1) % AGENTS}", f"kept {k}", TIME),
        )
        do("DELETE FROM messages WHERE id = ?", (f"{PREFIX}-message-{k - KEPT_MESSAGES}",))
        do("DELETE FROM archival_entries WHERE id = ?", (f"{PREFIX}-entry-{k - KEPT_ENTRIES}",))

    def _edit_document(self, one: Document, do: Callable[..., object]) -> None:
        blob = one.edit(self.number)
        do(
            "INSERT INTO memory_block_updates (block_id, seq, update_blob, byte_size, created_at) VALUES (?,?,?,?,?)",
            (one.id, one.seq, blob, len(blob), TIME),
        )
        do("UPDATE memory_blocks SET last_seq = ?, content_preview = ? WHERE id = ?",
           (one.seq, one.document.get_text("content").to_string(), one.id))  # fmt: skip
        if one.seq - one.stored == FOLDED_EVERY:
            one.stored, snapshot = one.seq, bytes(one.document.export(ExportMode.Snapshot()))
            do("UPDATE memory_blocks SET loro_snapshot = ? WHERE id = ?", (snapshot, one.id))
            do("DELETE FROM memory_block_updates WHERE block_id = ?", (one.id,))


def config(balance: int, done: int) -> str:
    """The config of an agent of ours."""
    return json.dumps({"balance": balance, "done": done})


def tell(line: str) -> None:
    """One line to whoever started this."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def live(path: str, rate: float) -> tuple[int, float]:
    """Commit until the input ends: how many, in how many seconds."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=PATIENCE_SECONDS)) as connection:
        connection.execute("PRAGMA synchronous = NORMAL")
        writer = Writer(connection)
        connection.execute("BEGIN IMMEDIATE")
        writer.move_in()
        tell("ready")
        started = time.monotonic()
        while not select.select([sys.stdin], [], [], 0)[0]:
            writer.commit_next()
            ahead = started + writer.number / rate - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
        return writer.number, time.monotonic() - started


if __name__ == "__main__":
    number, seconds = live(sys.argv[1], float(sys.argv[2]))
    tell(json.dumps({"transactions": number, "seconds": seconds}))
