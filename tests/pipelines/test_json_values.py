"""JSON columns come back with the same numbers and members from a whole backup; other archives say what they change."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pattern_stream.errors import ExitCode
from pattern_stream.pipelines.exporting import ExportOptions, export_archive
from pattern_stream.pipelines.importing import import_archive
from pattern_stream.pipelines.verifying import verify_archive
from pattern_stream.schema.model.scopes import Scope
from tests.db.worlds import build

pytestmark = pytest.mark.anyio

CELLS = [
    ("messages", "content_json", '{"Text":"t","at":1234567890123456789012}'),
    ("messages", "source_metadata", '{"x":[{"k":1,"k":2}]}'),
    ("agents", "tool_rules", "[0.12345678901234567890123]"),
    ("agents", "config", '{"a": 1, "a": 1}'),
]


def change(path: Path, table: str, column: str, text: str) -> None:
    """Give all rows of a table this cell."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"UPDATE {table} SET {column} = ?", (text,))
        connection.commit()


@pytest.mark.parametrize(("table", "column", "text"), CELLS)
async def test_a_whole_backup_brings_it_back(tmp_path: Path, table: str, column: str, text: str) -> None:
    """The very text; and a database with the nearest value differs from the archive."""
    path = build(tmp_path / "a.db", messages=[("m1", "{}"), ("m2", "{}")])
    change(path, table, column, text)
    archive, back = tmp_path / "a.car", tmp_path / "b.db"
    exported = await export_archive(path, archive)
    await import_archive(archive, back)
    with closing(sqlite3.connect(back)) as connection:
        cells = {cell for (cell,) in connection.execute(f"SELECT {column} FROM {table}")}
    same = [(await verify_archive(archive, against=db, both_ways=True)).exit_code for db in (path, back)]
    change(back, table, column, '{"Text":"t","at":1}')
    other = await verify_archive(archive, against=back)

    assert {text} == cells
    assert [] == exported.findings
    assert [ExitCode.DONE, ExitCode.DONE] == same
    assert ExitCode.DIFFERS is other.exit_code


@pytest.mark.parametrize(("table", "column", "text"), CELLS)
@pytest.mark.parametrize(
    ("scope", "options"), [(Scope("agent", "a"), ExportOptions()), (Scope(), ExportOptions(portable=True))]
)
async def test_other_archives_say_it(
    tmp_path: Path, scope: Scope, options: ExportOptions, table: str, column: str, text: str
) -> None:
    """With the number of cells, and the first of them; a comparison finds as many."""
    path = build(tmp_path / "a.db", messages=[("m1", "{}"), ("m2", "{}")])
    change(path, table, column, text)
    exported = await export_archive(path, tmp_path / "a.car", scope=scope, options=options)
    found = await verify_archive(tmp_path / "a.car", against=path)
    count = 2 if table == "messages" else 1

    assert [("json-changed", table, column)] == [
        (one.code, one.where.table, one.where.field) for one in exported.findings
    ]
    assert exported.findings[0].message.startswith(f"{count} cell")
    assert found.against is not None
    assert count == found.against.count


@pytest.mark.parametrize("text", ['{"Text":"t","Text":"t"}', '{"Text":1.00000000000000000001}'])
async def test_a_database_that_says_more_differs(tmp_path: Path, text: str) -> None:
    """An archive with the value alone is compared with a database whose text has more."""
    path = build(tmp_path / "a.db", messages=[("m1", "{}")])
    change(path, "messages", "content_json", '{"Text":"t"}' if "t" in text[9:] else '{"Text":1.0}')
    await export_archive(path, tmp_path / "a.car")
    change(path, "messages", "content_json", text)
    found = await verify_archive(tmp_path / "a.car", against=path)

    assert found.against is not None
    assert [("messages", "content_json")] == [
        (one.where.table, one.where.field) for one in found.against.log.findings()
    ]
