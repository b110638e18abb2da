"""What was read of an old archive, on disk: where its sections are, its messages in their new order, its memory blocks.

Sections may come in any order and messages oldest first, where the line wants parents first and newest first; an
archive may also hold one thing in several places. So all is gathered here first. Memory: SQLite's cache.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from pattern_stream.codec.dagcbor import decode, encode_node
from pattern_stream.files.temporary import open_temporary_database, sqlite_error
from pattern_stream.format import BATCH_BYTES, BATCH_ROWS
from pattern_stream.items import Row
from pattern_stream.schema.model.records import Group, Message

_DOING: Final = "using the temporary database of a conversion"
_MESSAGE_ID: Final = Message.index("id")
_CONTENT: Final = Message.index("content_json")
_PREVIEW: Final = Message.index("content_preview")
_METADATA: Final = Message.index("source_metadata")
_COLUMNS: Final = ", ".join(Message.columns)
_INSERT_MESSAGE: Final = f"INSERT OR IGNORE INTO message VALUES ({', '.join('?' * len(Message.columns))})"

_TABLES: Final = f"""
    CREATE TABLE section (cid BLOB PRIMARY KEY, offset INTEGER, size INTEGER, used INTEGER DEFAULT 0) WITHOUT ROWID;
    CREATE TABLE agent (number INTEGER PRIMARY KEY, id TEXT UNIQUE, record BLOB);
    CREATE TABLE message ({_COLUMNS}, UNIQUE (id));
    CREATE INDEX message_order ON message (agent_id, position DESC, id);
    CREATE TABLE memory (number INTEGER PRIMARY KEY, agent_id TEXT, id TEXT, type TEXT, label TEXT, at TEXT, pair BLOB,
        UNIQUE (id, agent_id));
    CREATE INDEX memory_order ON memory (agent_id, label, id);
    CREATE TABLE thing (number INTEGER PRIMARY KEY, kind TEXT, id TEXT, name TEXT, record BLOB, UNIQUE (kind, id));
    CREATE TABLE member (owner_id TEXT, agent_id TEXT, record BLOB, PRIMARY KEY (owner_id, agent_id));
    BEGIN;
"""


class StoredSection(NamedTuple):
    """Where the data of a section is in the archive."""

    cid: bytes
    offset: int
    size: int


class StoredMemory(NamedTuple):
    """A memory block as one agent has it: the pair of block and relation. `agents`: how many agents have the block."""

    pair: list[Any]
    owner_id: str
    agents: int


class Store:
    """The temporary database of one conversion. Use as a context manager; leaving deletes everything.

    Raises:  StorageFull, TransportError.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        with _translated():
            self._database, _ = open_temporary_database(folders, "temporary database of a conversion")
            self._database.executescript(_TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def _run(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> sqlite3.Cursor:
        with _translated():
            return self._database.execute(sql, values)

    # --- sections ---------------------------------------------------------------------------------------------------

    def add_section(self, cid: bytes, offset: int, size: int) -> bool:
        """Keep the place of a section. False where the block is known already."""
        added = self._run("INSERT OR IGNORE INTO section (cid, offset, size) VALUES (?, ?, ?)", (cid, offset, size))
        return added.rowcount > 0

    def section(self, cid: bytes) -> StoredSection | None:
        """The place of a block, which counts as used from now on."""
        self._run("UPDATE section SET used = 1 WHERE cid = ?", (cid,))
        found = self._run("SELECT cid, offset, size FROM section WHERE cid = ?", (cid,)).fetchone()
        return StoredSection(*found) if found else None

    def unused_sections(self) -> Iterator[StoredSection]:
        """The sections that nothing led to, in the archive's order."""
        last = -1
        while True:
            sql = "SELECT cid, offset, size FROM section WHERE used = 0 AND offset > ? ORDER BY offset LIMIT 1"
            found = self._run(sql, (last,)).fetchone()
            if found is None:
                return
            last = found[1]
            yield StoredSection(*found)

    # --- agents, groups, members ------------------------------------------------------------------------------------

    def add_agent(self, agent_id: str, record: dict[str, Any]) -> bool:
        """Keep an agent's record; False where one of that id is there already."""
        sql = "INSERT OR IGNORE INTO agent (id, record) VALUES (?, ?)"
        return self._run(sql, (agent_id, encode_node(record))).rowcount > 0

    def agents(self) -> Iterator[dict[str, Any]]:
        """All agents' records, in the order in which their ids sort as map keys on the wire."""
        for (data,) in self._run("SELECT record FROM agent ORDER BY length(CAST(id AS BLOB)), id"):
            yield decode(data)

    def agent(self, agent_id: str) -> dict[str, Any] | None:
        """One agent's record."""
        found = self._run("SELECT record FROM agent WHERE id = ?", (agent_id,)).fetchone()
        return decode(found[0]) if found else None

    def add_thing(self, kind: str, thing_id: str, record: dict[str, Any]) -> bool:
        """Keep a group or constellation; False where one of that id is there already."""
        sql = "INSERT OR IGNORE INTO thing (kind, id, name, record) VALUES (?, ?, ?, ?)"
        return self._run(sql, (kind, thing_id, str(record.get("name")), encode_node(record))).rowcount > 0

    def things(self, kind: str) -> Iterator[dict[str, Any]]:
        """All records of a kind, by name and id."""
        for (data,) in self._run("SELECT record FROM thing WHERE kind = ? ORDER BY name, id", (kind,)):
            yield decode(data)

    def add_member(self, owner_id: str, agent_id: str, membership: dict[str, Any]) -> bool:
        """Keep an agent's membership in a group or constellation; False where it is there already."""
        sql = "INSERT OR IGNORE INTO member VALUES (?, ?, ?)"
        return self._run(sql, (owner_id, agent_id, encode_node(membership))).rowcount > 0

    def members(self, owner_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The agents of a group or constellation with their memberships, by agent."""
        sql = "SELECT agent_id, record FROM member WHERE owner_id = ? ORDER BY agent_id"
        for agent_id, data in self._run(sql, (owner_id,)):
            yield agent_id, decode(data)

    def is_grouped(self, agent_id: str) -> bool:
        """Whether an agent is a member of a group."""
        sql = "SELECT 1 FROM member m, thing t WHERE m.agent_id = ? AND t.id = m.owner_id AND t.kind = ?"
        return self._run(sql, (agent_id, Group.table)).fetchone() is not None

    def memberships(self, agent_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """What an agent is a member of, with the membership."""
        for owner_id, data in self._run("SELECT owner_id, record FROM member WHERE agent_id = ?", (agent_id,)):
            yield owner_id, decode(data)

    # --- messages ---------------------------------------------------------------------------------------------------

    def add_messages(self, rows: Sequence[Row]) -> bool:
        """Keep messages, all or none: False where one of their ids is there already, or twice among them."""
        before = self._database.total_changes
        with _translated():
            self._database.execute("SAVEPOINT batch")
            self._database.executemany(_INSERT_MESSAGE, rows)
            whole = self._database.total_changes - before == len(rows)
            self._database.execute("RELEASE batch" if whole else "ROLLBACK TO batch")
        return whole

    def add_message(self, row: Row) -> Row | None:
        """Keep a message. Where one of that id is there already, that one's row is given, and nothing is kept."""
        if self._run(_INSERT_MESSAGE, row).rowcount > 0:
            return None
        found = self._run(f"SELECT {_COLUMNS} FROM message WHERE id = ?", (row[_MESSAGE_ID],)).fetchone()
        return tuple(found)

    def messages(self, agent_id: str) -> Iterator[list[Row]]:
        """An agent's messages, newest first, in batches."""
        sql = f"SELECT {_COLUMNS} FROM message WHERE agent_id = ? ORDER BY position DESC, id"
        batch: list[Row] = []
        size = 0
        for row in self._run(sql, (agent_id,)):
            batch.append(row)
            size += len(row[_CONTENT]) + len(row[_PREVIEW] or "") + len(row[_METADATA] or "")
            if len(batch) >= BATCH_ROWS or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def message_count(self, agent_id: str | None = None) -> int:
        """How many messages an agent has, or all together."""
        sql = "SELECT count(*) FROM message" + (" WHERE agent_id = ?" if agent_id is not None else "")
        return int(self._run(sql, () if agent_id is None else (agent_id,)).fetchone()[0])

    # --- memory blocks ----------------------------------------------------------------------------------------------

    def add_memory(self, agent_id: str, pair: list[Any], at: str) -> list[Any] | None:
        """Keep a memory block as one agent has it. Where it is there already, that pair is given, and nothing is kept.

        `at`: a text that sorts as the time of the block does.
        """
        block = pair[0]
        values = (agent_id, block["id"], block.get("memory_type", "core"), block["label"], at, encode_node(pair))
        sql = "INSERT OR IGNORE INTO memory (agent_id, id, type, label, at, pair) VALUES (?, ?, ?, ?, ?, ?)"
        if self._run(sql, values).rowcount > 0:
            return None
        sql = "SELECT pair FROM memory WHERE id = ? AND agent_id = ?"
        return list(decode(self._run(sql, (block["id"], agent_id)).fetchone()[0]))

    def memories(self, agent_id: str) -> Iterator[StoredMemory]:
        """An agent's memory blocks, those it shares too, by label and id; with the first agent that had each."""
        sql = """SELECT m.pair, (SELECT o.agent_id FROM memory o WHERE o.id = m.id ORDER BY o.number LIMIT 1),
                   (SELECT count(*) FROM memory o WHERE o.id = m.id)
                 FROM memory m WHERE m.agent_id = ? ORDER BY m.label, m.id"""
        for pair, owner_id, agents in self._run(sql, (agent_id,)):
            yield StoredMemory(decode(pair), owner_id, agents)

    def newest_entries(self, agent_id: str) -> Iterator[StoredMemory]:
        """An agent's archival memory, newest first."""
        sql = """SELECT pair, agent_id, (SELECT count(*) FROM memory o WHERE o.id = m.id)
                 FROM memory m WHERE agent_id = ? AND type = 'archival' ORDER BY at DESC, id"""
        for pair, owner_id, agents in self._run(sql, (agent_id,)):
            yield StoredMemory(decode(pair), owner_id, agents)

    def attached(self, group_id: str | None) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Memory blocks of several agents: block, agent, relation, for each agent but the first; by block and agent.

        `group_id`: only of agents that are members of the group.
        """
        sql = f"""SELECT m.id, m.agent_id, m.pair FROM memory m WHERE {_NOT_FIRST}
                  AND (:group IS NULL OR {_MEMBER.format("m.agent_id")}) ORDER BY m.id, m.agent_id"""
        for block_id, agent_id, pair in self._run(sql, {"group": group_id}):
            yield block_id, agent_id, decode(pair)[1]

    def shared_into(self, group_id: str) -> list[str]:
        """The memory blocks of agents outside a group that a member of it has too, by id."""
        sql = f"""SELECT DISTINCT m.id FROM memory m WHERE {_NOT_FIRST} AND {_MEMBER.format("m.agent_id")} AND NOT
                  {_MEMBER.format("(SELECT o.agent_id FROM memory o WHERE o.id = m.id ORDER BY o.number LIMIT 1)")}
                  ORDER BY m.id"""
        return [block_id for (block_id,) in self._run(sql, {"group": group_id})]


_NOT_FIRST: Final = "m.number > (SELECT min(o.number) FROM memory o WHERE o.id = m.id)"
_MEMBER: Final = "EXISTS (SELECT 1 FROM member WHERE owner_id = :group AND agent_id = {})"


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise sqlite_error(error, _DOING) from error
