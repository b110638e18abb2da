"""An empty constellation database, as the original program makes one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pattern_stream.db.connection.new_database import clear_leftovers, is_vacant, open_aside
from pattern_stream.db.ddl.create import create_schema
from pattern_stream.errors import TargetExists


async def create_database(path: Path) -> Path:
    """Make an empty database with the full schema that the original program opens.

    Built aside as `NAME.partial` and renamed, mode 0600. Raises TargetExists where there is a file already.
    """
    if path.exists() or not is_vacant(path):
        clear_leftovers(path)
        raise TargetExists(f"found a file at {path}, expected none", hint="choose another place with --db")
    async with open_aside(path) as aside:
        await aside.connection.execute("BEGIN")
        await create_schema(aside.connection, installed_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"))
        await aside.connection.execute("COMMIT")
        aside.keep = True
    return path
