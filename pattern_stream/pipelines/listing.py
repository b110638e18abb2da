"""What a database holds, by the names that an export takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pattern_stream.db.catalog.scope import list_agents, list_blocks, list_groups, list_tables
from pattern_stream.db.connection.opening import open_reader
from pattern_stream.quick_dataclass import dataclass

Kind = Literal["agents", "groups", "blocks", "tables"]


@dataclass(frozen=True, slots=True)
class ListResult:
    """Agents, groups, memory blocks and tables of a database; None for a kind that was not asked for."""

    db: str
    agents: list[dict[str, Any]] | None
    groups: list[dict[str, Any]] | None
    blocks: list[dict[str, Any]] | None
    tables: list[dict[str, Any]] | None = None

    def as_dict(self) -> dict[str, Any]:
        """As the command line prints it."""
        kinds = {"agents": self.agents, "groups": self.groups, "blocks": self.blocks, "tables": self.tables}
        return {"db": self.db} | {kind: rows for kind, rows in kinds.items() if rows is not None}


async def list_database(path: Path, what: Kind | None = None) -> ListResult:
    """List agents and groups, or one kind. Raises DatabaseError as opening does."""
    async with open_reader(path) as connection:
        agents = await list_agents(connection) if what in (None, "agents") else None
        groups = await list_groups(connection) if what in (None, "groups") else None
        blocks = await list_blocks(connection) if what == "blocks" else None
        tables = await list_tables(connection) if what == "tables" else None
    return ListResult(str(path), agents, groups, blocks, tables)
