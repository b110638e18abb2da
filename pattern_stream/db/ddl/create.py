"""Makes the schema of a constellation database. Source: docs/database.md#migrations, #schema."""

from __future__ import annotations

from collections.abc import Iterator

from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.sql_text import insert_into
from pattern_stream.db.ddl.fulltext import FULL_TEXT
from pattern_stream.db.ddl.migrations import MIGRATIONS
from pattern_stream.db.ddl.rendered import STATEMENTS

_UNKNOWN_TIME = -1
"""`execution_time` in nanoseconds where nobody measured it."""


def schema_statements() -> Iterator[str]:
    """DDL text of everything, in the order in which it can be run."""
    yield from STATEMENTS
    for index in FULL_TEXT:
        yield from index.statements()


async def create_schema(connection: Connection, *, installed_at: str) -> None:
    """Make the full schema, with its migrations noted, inside the transaction that the caller owns.

    `installed_at`: UTC as `YYYY-MM-DD hh:mm:ss`.
    """
    for statement in schema_statements():
        await connection.execute(statement)
    columns = ("version", "description", "installed_on", "success", "checksum", "execution_time")
    rows = [(m.version, m.description, installed_at, 1, m.checksum, _UNKNOWN_TIME) for m in MIGRATIONS]
    await connection.execute_many(insert_into("_sqlx_migrations", columns), rows)
