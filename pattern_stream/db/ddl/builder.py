"""The words in which tables are declared: thin helpers over SQLAlchemy's schema classes, and what they compile to.

Declared types are kept as the original's text, since they decide affinity: JSON is NUMERIC, so a bare number in a JSON
column turns into INTEGER or REAL. Primary keys of TEXT allow null here because they do there. Source: database 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypedDict

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable, SchemaItem
from sqlalchemy.types import TypeEngine

METADATA: Final = sa.MetaData()
"""The ordinary tables; the full-text tables and triggers are in `fulltext`."""


class Nullable(TypedDict):
    """The one keyword of `NULL`."""

    nullable: bool


NULL: Final = Nullable(nullable=True)


def column(name: str, kind: type[TypeEngine[Any]], default: str | None = None, *, nullable: bool = False) -> Any:
    """A column; `default` is SQL text, an expression in parentheses."""
    server_default = None if default is None else sa.text(default)
    return sa.Column(name, kind(), nullable=nullable, server_default=server_default)


def text(name: str, default: str | None = None, *, nullable: bool = False) -> Any:
    """A TEXT column."""
    return column(name, sa.TEXT, default, nullable=nullable)


def json(name: str, default: str | None = None, *, nullable: bool = False) -> Any:
    """A column declared JSON, which SQLite gives NUMERIC affinity."""
    return column(name, sa.JSON, default, nullable=nullable)


def integer(name: str, default: str | None = None, *, nullable: bool = False) -> Any:
    """An INTEGER column."""
    return column(name, sa.INTEGER, default, nullable=nullable)


def blob(name: str, *, nullable: bool = False) -> Any:
    """A BLOB column."""
    return column(name, sa.BLOB, nullable=nullable)


def key(name: str = "id", kind: type[TypeEngine[Any]] = sa.TEXT) -> Any:
    """The one column of a primary key, without NOT NULL."""
    return sa.Column(name, kind(), primary_key=True, nullable=True, autoincrement=False)


def counter() -> Any:
    """`id INTEGER PRIMARY KEY AUTOINCREMENT`; goes with `sqlite_autoincrement=True` on the table."""
    return sa.Column("id", sa.INTEGER(), primary_key=True, nullable=True)


def keys(*columns: str) -> sa.PrimaryKeyConstraint:
    """A primary key over several columns."""
    return sa.PrimaryKeyConstraint(*columns)


def unique(*columns: str) -> sa.UniqueConstraint:
    """A unique constraint of the table (not a named index)."""
    return sa.UniqueConstraint(*columns)


def refers(name: str, to: str, on_delete: str | None = "CASCADE") -> sa.ForeignKeyConstraint:
    """A foreign key to the `id` of another table; `on_delete` None means no action."""
    return sa.ForeignKeyConstraint([name], [f"{to}.id"], ondelete=on_delete)


def index(name: str, *parts: str, unique: bool = False, where: str | None = None) -> sa.Index:
    """A named index; a part is a column name, which DESC may follow."""
    condition = None if where is None else sa.text(where)
    return sa.Index(name, *(sa.text(part) for part in parts), unique=unique, sqlite_where=condition)


def table(name: str, *items: SchemaItem, **options: Any) -> sa.Table:
    """A table with its columns, keys and indexes, in physical order."""
    made = sa.Table(name, METADATA, *items, **options)
    made.info["indexes"] = [item for item in items if isinstance(item, sa.Index)]
    return made


def statements(metadata: sa.MetaData = METADATA) -> Iterator[str]:
    """DDL text of all tables in order of declaration, each followed by its indexes in theirs.

    The order of indexes is kept because the query planner breaks ties by it.
    """
    dialect = sqlite.dialect()
    for made in metadata.tables.values():
        yield str(CreateTable(made).compile(dialect=dialect)).strip()
        for one in made.info["indexes"]:
            yield str(CreateIndex(one).compile(dialect=dialect)).strip()
