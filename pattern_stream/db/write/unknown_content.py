"""What an archive carries and the database has no place for: gathered whole, then refused or left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from pattern_stream.errors import Finding, Report, UnknownContent, Where


@dataclass(slots=True)
class Unknown:
    """Tables and columns by the number of rows that have them. False while empty."""

    counts: Counter[str] = field(default_factory=Counter)
    _messages: dict[str, tuple[str, Where]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.counts)

    def add_table(self, table: str, rows: int, *, untranslated: bool = False) -> None:
        """Rows of a table. `untranslated`: it may be here, but nobody knows where its ids are, to make new ones."""
        reason = "it is not known where its ids are, to make new ones" if untranslated else "no such table here"
        self._add(table, rows, f"table {table!r}: {reason}", Where(table=table))

    def add_column(self, table: str, column: str, rows: int) -> None:
        """Cells of a column that a table lacks."""
        where = Where(table=table, field=column)
        self._add(f"{table}.{column}", rows, f"column {column!r} of {table}: no such column here", where)

    def refused(self) -> UnknownContent:
        """All of it as one error, a line each."""
        lines = [
            f"found {len(self.counts)} tables or columns that the database has no place for, expected none; "
            "nothing was written",
            *(f"{message} ({_rows(self.counts[name])})" for name, (message, _) in self._messages.items()),
        ]
        return UnknownContent("\n".join(lines))

    def report(self, report: Report) -> None:
        """One warning each: they are left out."""
        for name, (message, where) in self._messages.items():
            report(Finding("warning", "unknown-dropped", f"{message}: {_rows(self.counts[name])} left out", where))

    def _add(self, name: str, rows: int, message: str, where: Where) -> None:
        self.counts[name] += rows
        self._messages.setdefault(name, (message, where))


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"
