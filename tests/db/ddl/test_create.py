"""The schema made here is the original's, in everything that SQLite can tell."""

from __future__ import annotations

import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pattern_stream.db.connection.new_database import open_new
from pattern_stream.db.connection.opening import open_reader, open_writer
from pattern_stream.db.ddl.create import create_schema
from pattern_stream.db.ddl.fulltext import FULL_TEXT
from pattern_stream.db.ddl.migrations import MIGRATIONS, SCHEMA_VERSION, require_writable_schema, schema_version
from pattern_stream.errors import ExitCode, UnsupportedSchema
from tests.db.ddl import rendering
from tests.db.worlds import AT, build, schema_facts

pytestmark = pytest.mark.anyio

GOLDEN = Path(__file__).resolve().parents[2] / "vectors/schema-13.json"
CURRENT = ("edges", "family", "many", "numbers", "oversize", "quiet")
OLDER = (("schema-3", 3), ("schema-6", 6), ("schema-10", 10))


def unpack(shared: Path, name: str, folder: Path) -> Path:
    """A database of the real program, as a copy."""
    path = folder / f"{name}.db"
    path.write_bytes(gzip.decompress((shared / "fixtures" / name / "constellation.db.gz").read_bytes()))
    return path


async def made(folder: Path) -> Path:
    """A database that `create_schema` made."""
    path = folder / "made.db"
    async with open_new(path) as connection:
        await connection.execute("BEGIN")
        await create_schema(connection, installed_at="2026-01-02 03:04:05")
        await connection.execute("COMMIT")
    return path


async def test_the_rendered_text_is_that_of_the_declared_tables() -> None:
    """Otherwise `python -m tests.db.ddl.rendering` was forgotten."""
    assert rendering.text() == rendering.PLACE.read_text()


async def test_equals_the_golden_facts(tmp_path: Path) -> None:
    """Tables, columns, keys, indexes, triggers, full-text tables and migrations are those noted from the real one."""
    golden = json.loads(GOLDEN.read_text())

    with closing(sqlite3.connect(await made(tmp_path))) as connection:
        found = json.loads(json.dumps(schema_facts(connection)))

    assert golden == found


@pytest.mark.parametrize("name", CURRENT)
async def test_equals_the_real_program(shared: Path, tmp_path: Path, name: str) -> None:
    """The same against a database that the real program made."""
    with closing(sqlite3.connect(unpack(shared, name, tmp_path))) as connection:
        real = schema_facts(connection)
    with closing(sqlite3.connect(await made(tmp_path))) as connection:
        ours = schema_facts(connection)

    assert real == ours


async def test_migration_rows_have_the_types_of_the_original(tmp_path: Path) -> None:
    """`installed_on` is the text that was given, and the time of execution is unknown."""
    with closing(sqlite3.connect(await made(tmp_path))) as connection:
        rows = connection.execute(
            "SELECT DISTINCT installed_on, typeof(checksum), length(checksum), execution_time FROM _sqlx_migrations"
        ).fetchall()

    assert [("2026-01-02 03:04:05", "blob", 48, -1)] == rows


async def test_nothing_is_made_without_a_commit(tmp_path: Path) -> None:
    """`create_schema` stays inside the caller's transaction."""
    path = tmp_path / "made.db"

    async with open_new(path) as connection:
        await connection.execute("BEGIN")
        await create_schema(connection, installed_at="2026-01-02 03:04:05")
        await connection.execute("ROLLBACK")

    with closing(sqlite3.connect(path)) as plain:
        assert [] == plain.execute("SELECT name FROM sqlite_schema").fetchall()


def test_full_text_follows_inserts_updates_and_deletes(tmp_path: Path) -> None:
    """After any change of a row the index finds the new words and no old ones, and passes its own check."""

    def hits(word: str) -> int:
        return int(
            connection.execute("SELECT count(*) FROM messages_fts WHERE messages_fts MATCH ?", (word,)).fetchone()[0]
        )

    with closing(sqlite3.connect(build(tmp_path / "a.db", messages=[("m1", "1"), ("m2", "2")]))) as connection:
        connection.execute("UPDATE messages SET content_preview = 'apple pear' WHERE id = 'm1'")
        connection.execute("UPDATE messages SET content_preview = 'apple' WHERE id = 'm2'")
        before = hits("apple"), hits("pear")
        connection.execute("UPDATE messages SET content_preview = 'plum' WHERE id = 'm1'")
        connection.execute("DELETE FROM messages WHERE id = 'm2'")
        after = hits("apple"), hits("pear"), hits("plum")
        for index in FULL_TEXT:
            connection.execute(f"INSERT INTO {index.name}({index.name}, rank) VALUES ('integrity-check', 1)")

        assert (before, after) == ((2, 1), (0, 0, 1))


def test_index_after_indexes_what_the_triggers_did_not(tmp_path: Path) -> None:
    """Rows that came in without triggers are found after the one statement, each once."""
    with closing(sqlite3.connect(build(tmp_path / "a.db", messages=[("m1", "1")]))) as connection:
        for index in FULL_TEXT:
            for trigger in index.triggers:
                connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute(
            "INSERT INTO messages (id, agent_id, position, role, content_json, content_preview, created_at) "
            f"VALUES ('m2', 'a', '2', 'user', '2', 'quince', '{AT}')"
        )
        for index in FULL_TEXT:
            connection.execute(index.index_after(), (1,))
            connection.execute(f"INSERT INTO {index.name}({index.name}, rank) VALUES ('integrity-check', 1)")
        found = connection.execute("SELECT rowid FROM messages_fts WHERE messages_fts MATCH 'quince'").fetchall()
        connection.execute("INSERT INTO messages_fts(messages_fts) VALUES ('rebuild')")
        rebuilt = connection.execute("SELECT rowid FROM messages_fts WHERE messages_fts MATCH 'quince'").fetchall()

        assert [(2,)] == found == rebuilt


def test_migrations_are_the_known_twelve() -> None:
    """There is no version 8, and every checksum is a SHA-384."""
    assert [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13] == [m.version for m in MIGRATIONS]
    assert {48} == {len(m.checksum) for m in MIGRATIONS}
    assert 13 == SCHEMA_VERSION


async def test_a_database_of_ours_may_be_written(tmp_path: Path) -> None:
    """The check for writing passes, and the version is the highest."""
    async with open_writer(build(tmp_path / "a.db")) as connection:
        await require_writable_schema(connection)

        assert 13 == await schema_version(connection)


@pytest.mark.parametrize(("name", "version"), OLDER)
async def test_older_schemas_are_read_and_not_written(shared: Path, tmp_path: Path, name: str, version: int) -> None:
    """A database of an older release opens for reading; writing is refused with the way out."""
    path = unpack(shared, name, tmp_path)
    async with open_reader(path) as connection:
        assert version == await schema_version(connection)
    async with open_writer(path) as connection:
        with pytest.raises(UnsupportedSchema, match=r"without migration .*13, expected all up to 13") as caught:
            await require_writable_schema(connection)

    assert ExitCode.UNSUPPORTED == caught.value.exit_code
    assert "open it once with Pattern" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "INSERT INTO _sqlx_migrations VALUES (14, 'later', '', 1, x'00', -1)",
            "found migration 14, which is not known",
        ),
        ("DELETE FROM _sqlx_migrations WHERE version = 7", "without migration 7, expected"),
        ("DROP TABLE _sqlx_migrations", "without migration 1, 2,"),
        ("UPDATE _sqlx_migrations SET success = 0 WHERE version = 5", "migration 5 is marked as failed"),
        ("UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 1", "migration 1 has another checksum"),
        ("INSERT INTO _sqlx_migrations VALUES ('odd', 'later', '', 1, x'00', -1)", "found migration odd"),
    ],
)
async def test_a_strange_schema_is_not_written(tmp_path: Path, change: str, message: str) -> None:
    """Missing, unknown, failed and altered migrations are refused, each by name; reading still works."""
    path = build(tmp_path / "a.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as plain:
        plain.execute(change)

    async with open_writer(path) as connection:
        with pytest.raises(UnsupportedSchema, match=message):
            await require_writable_schema(connection)
    async with open_reader(path) as connection:
        assert await schema_version(connection) in (0, 13, 14)
