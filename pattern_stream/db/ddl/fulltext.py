"""The full-text tables and the triggers that keep them: each declared as (base table, indexed columns).

The index holds no text of its own: it refers to the base table by rowid. Deleting from it therefore needs the old
values, so a row that is changed without its trigger leaves stale terms. Source: docs/database.md#full-text-search.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pattern_stream.quick_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class FullText:
    """One full-text index: `name` of the FTS5 table, `base` table, `columns` of both, `prefix` of its triggers."""

    name: str
    base: str
    columns: tuple[str, ...]
    prefix: str

    @property
    def triggers(self) -> tuple[str, str, str]:
        """Names of the triggers after insert, delete and update."""
        return f"{self.prefix}_ai", f"{self.prefix}_ad", f"{self.prefix}_au"

    def statements(self) -> Iterator[str]:
        """DDL text of the table and its three triggers."""
        name, base, listed = self.name, self.base, ", ".join(self.columns)
        new, old = (", ".join(f"{row}.{column}" for column in self.columns) for row in ("new", "old"))
        add = f"INSERT INTO {name}(rowid, {listed}) VALUES (new.rowid, {new});"
        remove = f"INSERT INTO {name}({name}, rowid, {listed}) VALUES ('delete', old.rowid, {old});"
        yield f"CREATE VIRTUAL TABLE {name} USING fts5({listed}, content='{base}', content_rowid='rowid')"
        after_insert, after_delete, after_update = self.triggers
        yield f"CREATE TRIGGER {after_insert} AFTER INSERT ON {base} BEGIN {add} END"
        yield f"CREATE TRIGGER {after_delete} AFTER DELETE ON {base} BEGIN {remove} END"
        yield f"CREATE TRIGGER {after_update} AFTER UPDATE ON {base} BEGIN {remove} {add} END"

    def index_after(self) -> str:
        """The statement that indexes all rows of the base table with a rowid above its one parameter."""
        listed = ", ".join(self.columns)
        return f"INSERT INTO {self.name}(rowid, {listed}) SELECT rowid, {listed} FROM {self.base} WHERE rowid > ?"


FULL_TEXT: Final = (
    FullText("messages_fts", "messages", ("content_preview",), "messages"),
    FullText("archival_fts", "archival_entries", ("content", "metadata"), "archival"),
    FullText("memory_blocks_fts", "memory_blocks", ("label", "description", "content_preview"), "memory_blocks"),
)
"""All full-text indexes of the schema."""

FULL_TEXT_TRIGGERS: Final = frozenset(name for index in FULL_TEXT for name in index.triggers)
"""Names of their triggers: all others in a database are its owner's."""
