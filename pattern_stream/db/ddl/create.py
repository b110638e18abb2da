"""The schema of a constellation database, all of it: making it, and knowing which one a file has.

Source: database 2 and 3. What is declared where: `tables`, `other_tables` (ordinary tables), `fulltext`, `migrations`.
"""

from __future__ import annotations

from collections.abc import Iterator

from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.ddl import builder as ddl
from pattern_stream.db.ddl import core_tables as tables
from pattern_stream.db.ddl import extra_tables as other_tables
from pattern_stream.db.ddl.fulltext import FULL_TEXT
from pattern_stream.db.ddl.migrations import (
    MIGRATIONS,
    SCHEMA_VERSION,
    UNKNOWN_TIME,
    require_writable_schema,
    schema_version,
)

__all__ = ["SCHEMA_VERSION", "create_schema", "require_writable_schema", "schema_statements", "schema_version"]

DECLARED = (tables, other_tables)
"""The modules whose import declares the ordinary tables."""

_INSERT_MIGRATION = "INSERT INTO _sqlx_migrations VALUES (?, ?, ?, 1, ?, ?)"


def schema_statements() -> Iterator[str]:
    """DDL text of everything, in the order in which it can be run."""
    yield from ddl.statements()
    for index in FULL_TEXT:
        yield from index.statements()


async def create_schema(connection: Connection, *, installed_at: str) -> None:
    """Make the full schema, with its migrations noted, inside the transaction that the caller owns.

    `installed_at`: UTC as `YYYY-MM-DD hh:mm:ss`.
    """
    rows = [(m.version, m.description, installed_at, m.checksum, UNKNOWN_TIME) for m in MIGRATIONS]
    for statement in schema_statements():
        await connection.execute(statement)
    await connection.execute_many(_INSERT_MIGRATION, rows)
