"""Any database of the schema: rows for every table, drawn by what SQLite itself says of columns, keys and references.

Odd cells are among them: text that is no UTF-8, infinities, BLOBs where text belongs, numbers and the text `null` where
JSON stands, NULL wherever a column takes it. Memory documents and active edits are real ones.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from tests.acceptance.whole import VERSION_3

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
documents = values.map(lambda value: json.dumps(value, ensure_ascii=False))
instants = st.builds(
    lambda moment, rest: f"{moment:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + rest,
    st.datetimes(),
    st.sampled_from(["+00:00", ".120+00:00", ".123456789+00:00", "Z", "+02:00"]),
) | st.sampled_from(["2026-01-02 03:04:05", "1969-12-31T23:59:59.999999999+00:00"])
odd_texts = st.sampled_from([b"\xff\xfe", b"caf\xe9", b"\xed\xa0\x80"])

CHOICES = {
    ("agents", "status"): ["active", "hibernated", "archived"],
    ("agent_groups", "pattern_type"): ["round_robin", "dynamic", "sleeptime"],
    ("memory_blocks", "block_type"): ["core", "working", "archival", "log"],
    ("memory_blocks", "permission"): ["read_only", "append", "admin"],
    ("shared_block_agents", "permission"): ["read_only", "read_write"],
    ("messages", "role"): ["user", "assistant", "system", "tool"],
    ("messages", "batch_type"): ["user_request", "continuation"],
}
SHAPES = {
    ("group_members", "role"): st.sampled_from(['{"type":"regular"}', '{"type":"specialist","domain":"tea","x":1}']),
    ("group_members", "capabilities"): st.lists(texts, max_size=2).map(json.dumps),
    ("agents", "enabled_tools"): st.lists(texts, max_size=2).map(json.dumps),
    ("messages", "is_deleted"): st.sampled_from([0, 0, 0, 1]),
    ("messages", "is_archived"): st.sampled_from([0, 1, 2]),
    ("memory_blocks", "is_active"): st.sampled_from([0, 1, 1, 1]),
    ("memory_blocks", "pinned"): st.sampled_from([0, 1, 7]),
    ("memory_blocks", "metadata"): st.sampled_from([None, "null", '{"a":1.0}', "{}"]),
}
OWNERS = ["_constellation_", "gone", "cli-user"]


@dataclass(frozen=True)
class Life:
    """A real memory document, with the active edits that belong on it: (seq, bytes)."""

    snapshot: bytes
    updates: tuple[tuple[int, bytes], ...]


@dataclass
class Column:
    """What SQLite says of a column."""

    name: str
    kind: str
    required: bool
    key: bool
    refers: str | None = None
    unique: bool = False


@dataclass
class Filling:
    """A database that is being filled by draws."""

    connection: sqlite3.Connection
    draw: Any
    lives: list[Life]
    ids: dict[str, list[Any]] = field(default_factory=dict)
    count: int = 0

    def fill(self) -> None:
        """Some rows for each table, those that others refer to first."""
        for table in self.ordered():
            for _ in range(self.draw(st.integers(0, 3), label=table)):
                self.add(table)

    def ordered(self) -> Iterator[str]:
        """All ordinary tables, a table behind those that it refers to."""
        rows = self.connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
        ).fetchall()
        waiting = [name for (name,) in rows if not name.startswith(("sqlite_", "_sqlx")) and "_fts" not in name]
        while waiting:
            ready = [table for table in waiting if not self.parents(table) & (set(waiting) - {table})]
            yield from ready
            waiting = [table for table in waiting if table not in ready]

    def parents(self, table: str) -> set[str]:
        """The tables that rows of a table refer to."""
        return {row[2] for row in self.connection.execute(f"PRAGMA foreign_key_list('{table}')")}

    def columns(self, table: str) -> list[Column]:
        """The columns of a table."""
        refers = {row[3]: row[2] for row in self.connection.execute(f"PRAGMA foreign_key_list('{table}')")}
        unique = set()
        for index in self.connection.execute(f"PRAGMA index_list('{table}')").fetchall():
            if index[2]:
                unique |= {row[2] for row in self.connection.execute(f"PRAGMA index_info('{index[1]}')")}
        return [
            Column(name, kind, bool(required), bool(key), refers.get(name), name in unique)
            for _, name, kind, required, _, key in self.connection.execute(f"PRAGMA table_info('{table}')")
        ]

    def add(self, table: str) -> None:
        """One row, unless what it must refer to is not there."""
        cells: dict[str, Any] = {}
        for column in self.columns(table):
            if column.refers is not None and column.refers != table and not self.ids.get(column.refers):
                if column.required or column.key:
                    return
                cells[column.name] = None
            else:
                cells[column.name] = self.cell(table, column)
        if table == "memory_blocks":
            self.live(cells)
        elif table == "memory_block_updates":
            cells["is_active"], cells["seq"] = 0, self.fresh()
        elif table == "memory_block_checkpoints":
            cells["created_at"] = "2026-01-02T03:04:05+00:00"
            cells["snapshot"] = self.lives[-1].snapshot  # an empty document starts from its newest checkpoint
        self.insert(table, cells)

    def live(self, cells: dict[str, Any]) -> None:
        """A real document, with its edits pending; some have none."""
        life = self.draw(st.sampled_from(self.lives))
        cells["loro_snapshot"] = life.snapshot
        for seq, update in life.updates:
            row = {
                "block_id": cells["id"], "seq": seq, "update_blob": update, "byte_size": len(update),
                "created_at": "2026-01-02T03:04:05.5+00:00", "is_active": 1,
            }  # fmt: skip
            self.insert("memory_block_updates", row)

    def insert(self, table: str, cells: dict[str, Any]) -> None:
        """Bytes that are marked as text go in as text, whatever they are."""
        marks = ", ".join("CAST(? AS TEXT)" if isinstance(cell, OddText) else "?" for cell in cells.values())
        names = ", ".join(f'"{name}"' for name in cells)
        plain = [bytes(cell) if isinstance(cell, OddText) else cell for cell in cells.values()]
        done = self.connection.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", plain)
        if "id" in cells and done.rowcount == 1:
            self.ids.setdefault(table, []).append(cells["id"])

    def cell(self, table: str, column: Column) -> Any:
        """A cell: a reference, a key, something usual, or now and then something odd."""
        if column.refers is not None:
            known = self.ids.get(column.refers, [])
            return self.draw(st.sampled_from([*known, *([] if column.required or column.key else [None])] or [None]))
        if column.key or column.unique:
            return self.key(table, column)
        if (table, column.name) in (("memory_blocks", "agent_id"), ("archival_entries", "agent_id")):
            return self.draw(st.sampled_from([*OWNERS, *self.ids.get("agents", []), *self.ids.get("agent_groups", [])]))
        if not column.required and self.draw(st.booleans()):
            return None
        if self.draw(st.integers(0, 11)) == 0:
            return self.odd(table, column)
        return self.usual(table, column)

    def key(self, table: str, column: Column) -> Any:
        if (table, column.name) == ("memory_blocks", "agent_id"):
            return self.draw(st.sampled_from([*OWNERS, *self.ids.get("agents", []), *self.ids.get("agent_groups", [])]))
        if column.kind == "INTEGER":
            return self.fresh()
        return f"{self.draw(texts)}{self.fresh()}"

    def fresh(self) -> int:
        """A number that was not there before."""
        self.count += 1
        return self.count + 1000

    def usual(self, table: str, column: Column) -> Any:
        place = table, column.name
        if place in SHAPES:
            return self.draw(SHAPES[place])
        if place in CHOICES:
            return self.draw(st.sampled_from(CHOICES[place]))
        if column.kind == "JSON":
            return self.draw(documents)
        if column.kind == "INTEGER":
            return self.draw(numbers)
        if column.kind == "BLOB":
            return self.draw(st.binary(max_size=30))
        return self.draw(instants if column.name.endswith("_at") else texts)

    def odd(self, table: str, column: Column) -> Any:
        if column.name in ("position", "loro_snapshot", "update_blob", "snapshot"):
            return self.usual(table, column)
        odd = [st.binary(max_size=10), odd_texts.map(OddText), floats, numbers, st.just("null"), st.just("no JSON {")]
        if column.kind == "INTEGER" and table not in VERSION_3:
            odd.append(texts)
        return self.draw(st.one_of(odd))


class OddText(bytes):
    """Bytes to be stored as text."""
