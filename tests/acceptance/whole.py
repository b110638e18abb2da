"""Two databases cell by cell, by plain sqlite3: what "nothing is lost" means. Knows nothing of the package.

JSON columns of the tables that version 3 carries are compared as values (integers and floats apart), their timestamps
as instants to the nanosecond; everything else by storage class and bytes.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

Cell = tuple[str, Any]
"""Storage class, and the value or bytes."""

VERSION_3 = {
    "agents", "agent_groups", "group_members", "memory_blocks", "shared_block_agents", "archival_entries", "messages",
    "archive_summaries",
}  # fmt: skip
INSTANTS = {"created_at", "updated_at", "joined_at", "attached_at"}
NOT_COMPARED = re.compile(r"sqlite_|_sqlx_migrations|(messages|memory_blocks|archival)_fts|embeddings")


def tables_of(path: Path) -> list[str]:
    """The ordinary tables that hold what somebody wrote."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
    return [name for name, sql in found if not NOT_COMPARED.match(name) and "VIRTUAL" not in sql]


def columns_of(connection: sqlite3.Connection, table: str) -> dict[str, tuple[str, int]]:
    """Declared type and place in the primary key, by column."""
    rows = connection.execute(f"PRAGMA table_info('{table}')").fetchall()
    return {name: (kind, key) for _, name, kind, _, _, key in rows}


def content(path: Path, table: str, columns: list[str]) -> dict[tuple[Cell, ...], list[Cell]]:
    """All rows of a table, by primary key (by the whole row where there is none)."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        connection.text_factory = bytes
        keys = [name for name, (_, key) in columns_of_text(path, table).items() if key] or columns
        picked = ", ".join(f'typeof("{name}"), "{name}"' for name in (*keys, *columns))
        found = {}
        for row in connection.execute(f'SELECT {picked} FROM "{table}"'):
            cells = [(row[at].decode(), row[at + 1]) for at in range(0, len(row), 2)]
            found[tuple(cells[: len(keys)])] = cells[len(keys) :]
        return found


def columns_of_text(path: Path, table: str) -> dict[str, tuple[str, int]]:
    """`columns_of` on a connection of its own, whose text is text."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        return columns_of(connection, table)


def kept(table: str, column: str, cell: Cell) -> Cell:
    """A cell stands in the copy as it was."""
    return cell


def differences(
    source: Path,
    copy: Path,
    expected: Callable[[str, str, Cell], Cell] = kept,
) -> Iterator[str]:
    """What of a database is not in its copy, or is otherwise there; and rows that the copy has beside it.

    `expected`: how a cell of the source is to stand in the copy.
    """
    for table in tables_of(source):
        columns = columns_of_text(source, table)
        names = list(columns)
        before, after = content(source, table, names), content(copy, table, names)
        keys = [name for name, (_, key) in columns.items() if key] or names
        moved = {
            tuple(expected(table, name, cell) for name, cell in zip(keys, key, strict=True)): row
            for key, row in before.items()
        }
        for key in moved.keys() ^ after.keys():
            yield f"{table} {_short(key)}: {'lost' if key in moved else 'came from nowhere'}"
        for key in moved.keys() & after.keys():
            for name, cell, found in zip(names, moved[key], after[key], strict=True):
                wanted = expected(table, name, cell)
                if not same(table, name, columns[name][0], wanted, found):
                    yield f"{table} {_short(key)} {name}: was {_short(wanted)}, is {_short(found)}"


def same(table: str, column: str, declared: str, wanted: Cell, found: Cell) -> bool:
    """Whether two cells of a column say the same."""
    if wanted == found:
        return True
    if table not in VERSION_3 or wanted[0] != "text" or found[0] != "text":
        return False
    if declared == "JSON":
        return bool(_tagged(_json(wanted[1])) == _tagged(_json(found[1])))
    return column in INSTANTS and bool(instant(wanted[1]) == instant(found[1]))


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return ("no JSON", text)


def _tagged(value: Any) -> Any:
    """A value in which 1, 1.0 and true are three things, and -0.0 a fourth."""
    if isinstance(value, dict):
        return {key: _tagged(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_tagged(inner) for inner in value]
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
        value = float(value)  # the format's own reading
    return type(value).__name__, repr(value)


_INSTANT = re.compile(
    rb"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?\s*(Z|z|[+-]\d\d:?\d\d)?", re.ASCII
)


def instant(text: bytes) -> Any:
    """Seconds and nanoseconds since 1970; the text itself where it has no usual form."""
    match = _INSTANT.fullmatch(text)
    if match is None or int(match[6] or 0) > 59:
        return text
    year, month, day, hour, minute = (int(part) for part in match.groups()[:5])
    moment = datetime(year, month, day, hour, minute, int(match[6] or 0), tzinfo=UTC)
    zone = match[8] or b"Z"
    if zone not in (b"Z", b"z"):
        sign = -1 if zone.startswith(b"-") else 1
        digits = zone[1:].replace(b":", b"")
        moment_seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
        moment_seconds -= sign * (int(digits[:2]) * 3600 + int(digits[2:]) * 60)
        return moment_seconds, (match[7] or b"").ljust(9, b"0")[:9]
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1), (match[7] or b"").ljust(9, b"0")[:9]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "..."


def sound(path: Path) -> Iterator[str]:
    """What SQLite itself finds wrong with a database, its full-text indexes among it."""
    with closing(sqlite3.connect(path)) as connection:
        yield from (str(row) for row in connection.execute("PRAGMA integrity_check").fetchall() if row != ("ok",))
        yield from (str(row) for row in connection.execute("PRAGMA foreign_key_check").fetchall())
        for index in ("messages_fts", "memory_blocks_fts", "archival_fts"):
            try:
                connection.execute(f"INSERT INTO {index}({index}, rank) VALUES ('integrity-check', 1)")
            except sqlite3.DatabaseError as error:
                yield f"{index}: {error}"
