"""The words in which tables are declared: thin helpers over SQLAlchemy's schema classes, and the DDL of the tables.

Declared types are kept as the original's text, since they decide affinity: JSON is NUMERIC, so a bare number in a JSON
column turns into INTEGER or REAL. Primary keys of TEXT allow null here because they do there.
Source: docs/database.md#schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable, SchemaItem
from sqlalchemy.types import TypeEngine

_METADATA: Final = sa.MetaData()


def column(name: str, default: str | None = None, *, kind: type[TypeEngine[Any]], null: bool = False) -> sa.Column[Any]:
    """A column; `default` is SQL text, an expression in parentheses."""
    return sa.Column(name, kind(), nullable=null, server_default=None if default is None else sa.text(default))


text = partial(column, kind=sa.TEXT)
json = partial(column, kind=sa.JSON)  # SQLite gives it NUMERIC affinity
integer = partial(column, kind=sa.INTEGER)
blob = partial(column, kind=sa.BLOB)


def key(name: str = "id", kind: type[TypeEngine[Any]] = sa.TEXT) -> sa.Column[Any]:
    """The one column of a primary key, without NOT NULL."""
    return sa.Column(name, kind(), primary_key=True, nullable=True, autoincrement=False)


def counter() -> sa.Column[Any]:
    """`id INTEGER PRIMARY KEY AUTOINCREMENT`, in a table with `sqlite_autoincrement=True`."""
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
    indexes = [item for item in items if isinstance(item, sa.Index)]
    return sa.Table(name, _METADATA, *items, info={"indexes": indexes}, **options)


def statements(tables: Iterable[sa.Table]) -> Iterator[str]:
    """DDL text of tables, each followed by its indexes.

    The order of indexes is kept because the query planner breaks ties by it.
    """
    dialect = sqlite.dialect()
    for made in tables:
        lines = str(CreateTable(made).compile(dialect=dialect)).strip().expandtabs(4).splitlines()
        yield "\n".join(line.rstrip() for line in lines)
        for one in made.info["indexes"]:
            yield str(CreateIndex(one).compile(dialect=dialect)).strip()
