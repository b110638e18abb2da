"""Small databases for the tests of this room, and what a schema is made of as far as SQLite can tell."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from pattern_stream.db.ddl.create import schema_statements
from pattern_stream.db.ddl.migrations import MIGRATIONS

AT = "2026-01-02T03:04:05+00:00"


def build(path: Path, *, messages: Iterable[tuple[str, object]] = (), journal: str = "WAL") -> Path:
    """A constellation with one agent `a` and messages of (id, content)."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute("BEGIN")
        for statement in schema_statements():
            connection.execute(statement)
        rows = [(m.version, m.description, "2026-01-02 03:04:05", m.checksum) for m in MIGRATIONS]
        connection.executemany("INSERT INTO _sqlx_migrations VALUES (?, ?, ?, 1, ?, -1)", rows)
        add_agent(connection, "a")
        connection.executemany(
            "INSERT INTO messages (id, agent_id, position, role, content_json, created_at) "
            f"VALUES (:id, 'a', :id, 'user', :content, '{AT}')",
            ({"id": name, "content": content} for name, content in messages),
        )
        connection.execute("COMMIT")
    return path


def add_agent(connection: sqlite3.Connection, name: str) -> None:
    """One agents row whose id is its name."""
    connection.execute(
        "INSERT INTO agents (id, name, model_provider, model_name, system_prompt, config, enabled_tools, created_at, "
        "updated_at) VALUES (:name, :name, 'p', 'm', '', '{}', '[]', :at, :at)",
        {"name": name, "at": AT},
    )


def schema_facts(connection: sqlite3.Connection) -> dict[str, Any]:
    """Everything a schema is made of, without the wording: SQL text enters only as a digest without white space."""
    kinds = {row[1]: row for row in connection.execute("PRAGMA table_list") if row[0] == "main"}
    objects = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()
    tables = [(name, sql) for kind, name, sql in objects if kind == "table" and kinds[name][2] == "table"]
    return {
        "tables": {name: _table_facts(connection, name, sql, kinds[name]) for name, sql in tables},
        "shadow": sorted(name for name, kind in kinds.items() if kind[2] == "shadow"),
        "virtual": {name: _digest(sql) for _, name, sql in objects if name in kinds and kinds[name][2] == "virtual"},
        "triggers": {name: _digest(sql) for kind, name, sql in objects if kind == "trigger"},
        "migrations": [
            list(row)
            for row in connection.execute(
                "SELECT version, typeof(version), description, success, typeof(success), lower(hex(checksum)) "
                "FROM _sqlx_migrations ORDER BY version"
            )
        ],
    }


def _table_facts(connection: sqlite3.Connection, name: str, sql: str, kind: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "columns": [list(row) for row in connection.execute(f"PRAGMA table_xinfo('{name}')")],
        "without_rowid_strict": list(kind[4:6]),
        "autoincrement": "AUTOINCREMENT" in (sql or ""),
        "foreign_keys": [list(row) for row in connection.execute(f"PRAGMA foreign_key_list('{name}')")],
        "indexes": [_index_facts(connection, row) for row in connection.execute(f"PRAGMA index_list('{name}')")],
    }


def _index_facts(connection: sqlite3.Connection, row: tuple[Any, ...]) -> dict[str, Any]:
    _, name, unique, origin, partial = row
    (sql,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (name,)).fetchone() or (None,)
    columns = [list(part[2:5]) for part in connection.execute(f"PRAGMA index_xinfo('{name}')") if part[5]]
    where = " ".join(sql.partition("WHERE")[2].split()) if sql else ""
    return {"name": name, "unique": unique, "origin": origin, "partial": partial, "columns": columns, "where": where}


def _digest(sql: str) -> str:
    return hashlib.sha256("".join(sql.split()).encode()).hexdigest()
