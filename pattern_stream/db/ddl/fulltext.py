"""The full-text tables and the triggers that keep them: each declared as (base table, indexed columns).

The index holds no text of its own: it refers to the base table by rowid. Deleting from it therefore needs the old
values, so a row that is changed without its trigger leaves stale terms. Source: database 9.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final


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
        yield (
            f"CREATE VIRTUAL TABLE {self.name} USING fts5("
            f"{', '.join(self.columns)}, content='{self.base}', content_rowid='rowid')"
        )
        forget, add = self._forget(), self._add()
        for trigger, event, body in zip(
            self.triggers, ("INSERT", "DELETE", "UPDATE"), (add, forget, f"{forget} {add}"), strict=True
        ):
            yield f"CREATE TRIGGER {trigger} AFTER {event} ON {self.base} BEGIN {body} END"

    def rebuild(self) -> str:
        """The command that makes the index anew from the base table."""
        return f"INSERT INTO {self.name}({self.name}) VALUES ('rebuild')"

    def index_after(self) -> str:
        """The statement that indexes all rows of the base table with a rowid above its one parameter."""
        listed = ", ".join(self.columns)
        return f"INSERT INTO {self.name}(rowid, {listed}) SELECT rowid, {listed} FROM {self.base} WHERE rowid > ?"

    def _add(self) -> str:
        values = ", ".join(f"new.{column}" for column in self.columns)
        return f"INSERT INTO {self.name}(rowid, {', '.join(self.columns)}) VALUES (new.rowid, {values});"

    def _forget(self) -> str:
        listed = ", ".join(self.columns)
        values = ", ".join(f"old.{column}" for column in self.columns)
        return f"INSERT INTO {self.name}({self.name}, rowid, {listed}) VALUES ('delete', old.rowid, {values});"


FULL_TEXT: Final = (
    FullText("messages_fts", "messages", ("content_preview",), "messages"),
    FullText("archival_fts", "archival_entries", ("content", "metadata"), "archival"),
    FullText("memory_blocks_fts", "memory_blocks", ("label", "description", "content_preview"), "memory_blocks"),
)
"""All full-text indexes of the schema."""
