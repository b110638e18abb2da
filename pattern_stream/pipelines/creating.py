"""An empty constellation database, as the original program makes one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pattern_stream.db.connection.new_database import clear_leftovers, is_vacant, open_new
from pattern_stream.db.ddl.create import create_schema
from pattern_stream.errors import TargetExists


async def create_database(path: Path) -> Path:
    """Make an empty database with the full schema that the original program opens.

    Built aside and renamed, mode 0600. Raises TargetExists where there is a file already.
    """
    if path.exists() or not is_vacant(path):
        clear_leftovers(path)
        raise TargetExists(f"found a file at {path}, expected none", hint="choose another place with --db")
    async with open_new(path) as connection:
        await connection.execute("BEGIN")
        await create_schema(connection, installed_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"))
        await connection.execute("COMMIT")
    return path
