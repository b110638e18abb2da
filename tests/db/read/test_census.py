"""What is counted before an export is what the export then reads; of a whole constellation nothing stays behind."""

from __future__ import annotations

import gzip
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from pattern_stream.db.catalog.scope import list_tables
from pattern_stream.db.connection.opening import open_reader
from pattern_stream.db.connection.sql_text import quoted
from pattern_stream.db.read.census import Census, has_rows, take_census
from pattern_stream.demo.database import make_demo
from pattern_stream.schema.model.records import Group, MemoryBlock, MemoryUpdate, Message, SharedAttachment
from pattern_stream.schema.model.scopes import ResolvedScope, Selection
from tests.db.read.test_extension import FIXTURES, of_version_3, run
from tests.db.walking import EVERYTHING, WHOLE, Walked, stored_rows, walk
from tests.db.worlds import AT, add_agent, build

pytestmark = pytest.mark.anyio


@pytest.fixture
async def demo(tmp_path: Path) -> Path:
    path = tmp_path / "demo.db"
    await make_demo(path, messages=300, seed=5)
    return path


async def census(path: Path, selection: Selection = EVERYTHING, scope: ResolvedScope = WHOLE) -> Census:
    async with open_reader(path) as connection:
        return await take_census(connection, scope, selection)


def read(walked: Walked) -> tuple[dict[str, int], dict[str, int]]:
    """Rows that were read, by table: all, and those beyond."""
    beyond = Counter({table: len(rows) for table, rows in walked.tables.items()})
    beyond += Counter(table for table, _ in walked.history)
    held = Counter(
        {record.table: len(of_version_3(walked, record)) for record in walked.records if record is not MemoryUpdate}
    )
    return dict(held + beyond), dict(beyond)


def present(counts: dict[str, int]) -> dict[str, int]:
    return {table: count for table, count in counts.items() if count}


@pytest.mark.parametrize("name", FIXTURES)
async def test_nothing_of_a_constellation_stays_behind(shared: Path, tmp_path: Path, name: str) -> None:
    """Databases of the real program: all rows are carried, none are not; the counts are those of the walk."""
    path = tmp_path / "fixture.db"
    path.write_bytes(gzip.decompress((shared / "fixtures" / name / "constellation.db.gz").read_bytes()))
    found = await census(path)

    assert {} == found.not_carried
    assert present({table: len(rows) for table, rows in stored_rows(path).items()}) == present(found.carried)
    assert (present(found.carried), found.beyond) == read(await walk(path))


async def test_nothing_of_the_demonstration_stays_behind(demo: Path) -> None:
    """The same for a database with rows in every table."""
    found = await census(demo)

    assert {} == found.not_carried
    assert (present(found.carried), found.beyond) == read(await walk(demo))
    assert sum(map(len, stored_rows(demo).values())) == found.total


@pytest.mark.parametrize("selection", [Selection(), Selection(history=True), Selection(messages=False, archival=False)])
@pytest.mark.parametrize("kind", ["constellation", "agent", "group", "thin"])
async def test_what_portable_archives_leave_behind(demo: Path, selection: Selection, kind: str) -> None:
    """Whatever the scope: what is carried is what is read; of a constellation, that and the rest are all there is."""
    whole = await walk(demo)
    group, agent = whole.records[Group][0]["id"], whole.records[Message][0]["agent_id"]
    scope = {
        "constellation": WHOLE,
        "agent": ResolvedScope("agent", agent),
        "group": ResolvedScope("group", group),
        "thin": ResolvedScope("group", group, thin=True),
    }[kind]
    found = await census(demo, selection, scope)
    carried, beyond = read(await walk(demo, selection, scope))

    assert (carried, beyond) == (present(found.carried), found.beyond)
    assert found.not_carried
    assert bool(found.beyond) == (selection.history and kind != "thin")
    if kind == "constellation" and selection.messages:
        counts = Counter(found.carried) + Counter(found.not_carried)
        assert {table: len(rows) for table, rows in stored_rows(demo).items()} == counts


async def test_history_that_goes_along_is_not_left_behind(demo: Path) -> None:
    """An agent's updates and checkpoints are either carried or not, and none are both."""
    agent = ResolvedScope("agent", (await walk(demo)).records[Message][0]["agent_id"])
    plain, full = await census(demo, Selection(), agent), await census(demo, Selection(history=True), agent)

    table = "memory_block_updates"
    assert plain.not_carried[table] == full.beyond[table] + full.not_carried.get(table, 0)
    assert full.beyond[table]


async def test_a_member_of_a_group_that_is_not_there(tmp_path: Path) -> None:
    """It reaches nothing, and is not in the version 3 part."""
    path = run(
        build(tmp_path / "a.db"),
        "INSERT INTO group_members VALUES ('none', 'a', NULL, '2026-01-02T03:04:05+00:00', '[]')",
    )
    found = await census(path)

    assert {"group_members": 1} == found.beyond
    assert SharedAttachment not in (await walk(path)).records


async def test_more_tables_than_one_statement_counts(tmp_path: Path) -> None:
    """A database may have any number of tables."""
    path = run(build(tmp_path / "a.db"), *(f"CREATE TABLE t{n} AS SELECT {n} AS n" for n in range(600)))

    assert 600 == len((await census(path)).beyond)
    async with open_reader(path) as connection:
        assert 629 == len(await list_tables(connection))


async def test_tables_are_listed_with_their_rows(demo: Path) -> None:
    """Every ordinary table by name, the empty ones too."""
    run(demo, 'CREATE TABLE "od\'d "" name" (x)', "CREATE VIEW seen AS SELECT 1")
    async with open_reader(demo) as connection:
        found = await list_tables(connection)

    expected = [{"name": name, "rows": len(rows)} for name, rows in sorted(stored_rows(demo).items())]
    assert expected == found
    assert {"name": "od'd \" name", "rows": 0} in found


async def test_vectors_are_derived(tmp_path: Path) -> None:
    """What belongs to the vector table is counted apart, and is no table of rows, though its module is not loaded."""
    path = build(tmp_path / "a.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE embeddings_rowids (rowid INTEGER PRIMARY KEY, id)")
        connection.execute("INSERT INTO embeddings_rowids (id) VALUES ('a'), ('b')")
        connection.execute("CREATE TABLE near_chunks (chunk_id INTEGER PRIMARY KEY, size)")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "INSERT INTO sqlite_schema VALUES ('table', 'embeddings', 'embeddings', 0, "
            "'CREATE VIRTUAL TABLE embeddings USING vec0(v float[4])'), ('table', 'near', 'near', 0, "
            "'CREATE VIRTUAL TABLE near USING \"vec0\"(v float[4])')"
        )
        connection.commit()
    found = await census(path)

    assert {"embeddings": 2} == found.derived
    assert {} == found.beyond
    assert {} == found.not_carried


def declare(connection: sqlite3.Connection, name: str, module: str) -> None:
    """A virtual table of a module that is not loaded here."""
    sql = f"CREATE VIRTUAL TABLE {quoted(name)} USING {module}"
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("INSERT INTO sqlite_schema VALUES ('table', ?, ?, 0, ?)", (name, name, sql))
    connection.execute("PRAGMA writable_schema = OFF")


@pytest.mark.parametrize(
    ("statements", "rows"),
    [
        (["CREATE VIRTUAL TABLE t USING fts4(body)", "INSERT INTO t VALUES ('a'), ('b')"], 2),
        (["CREATE VIRTUAL TABLE t USING fts5(body, content='')", "INSERT INTO t VALUES ('a')"], 1),
        (["CREATE VIRTUAL TABLE t USING rtree(id, a, b)", "INSERT INTO t VALUES (1, 2, 3), (4, 5, 6)"], 2),
        (["CREATE TABLE t_rowids (rowid INTEGER PRIMARY KEY, id)", "INSERT INTO t_rowids (id) VALUES ('a')"], 1),
    ],
)
async def test_content_of_a_virtual_table_is_counted(tmp_path: Path, statements: list[str], rows: int) -> None:
    """What stays out of a whole backup is listed, whether the module is loaded or not."""
    path = build(tmp_path / "a.db")
    run(path, *statements)
    if not statements[0].startswith("CREATE VIRTUAL"):
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            declare(connection, "t", "vec0(v float[4])")
    found = await census(path)

    assert ({"t": rows}, {}, {}) == (found.not_carried, found.derived, found.beyond)


async def test_an_index_of_another_table_is_derived(tmp_path: Path) -> None:
    """Full text of somebody's own, whose content is in a table that is carried."""
    path = build(tmp_path / "a.db")
    run(
        path,
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, body)",
        "INSERT INTO notes VALUES (1, 'a')",
        "CREATE VIRTUAL TABLE found USING fts5(body, content = 'notes', content_rowid = 'id')",
        "INSERT INTO found (found) VALUES ('rebuild')",
    )
    census_of = await census(path)

    assert ({"found": 1}, {}, {"notes": 1}) == (census_of.derived, census_of.not_carried, census_of.beyond)


@pytest.mark.parametrize(
    ("virtual", "module", "table"),
    [
        ("memory", "vec0(v float[4])", "memory_palace (x)"),
        ("event", "vec0(v float[4])", "event_info (person, what)"),
        ("words", "spellfix1", "words_vocab (id INTEGER PRIMARY KEY, word)"),
        ('"a using vec0(x)"', "other(x)", '"a using vec0(x)_rowids" (rowid, id)'),
        ("found", "fts5(body, content='notes')", "found_content (id, body)"),
        ("nothing", "vec0(v)", "embeddings_rowids (rowid INTEGER PRIMARY KEY, id)"),
        ("nothing", "vec0(v)", "_sqlx_notes (x)"),
    ],
)
async def test_no_row_is_left_out_for_a_name(tmp_path: Path, virtual: str, module: str, table: str) -> None:
    """Tables that only look as if they belonged to a virtual table, or whose module is unknown, are ordinary ones."""
    path = build(tmp_path / "a.db")
    name = table.rpartition(" (")[0].strip('"')
    run(path, f"CREATE TABLE {table}", f"INSERT INTO {table.rpartition(' (')[0]} DEFAULT VALUES")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        declare(connection, virtual.strip('"'), module)
    found = await census(path)

    assert {name: 1} == {table: rows for table, rows in found.beyond.items() if table == name}


async def test_whether_there_are_many_messages(demo: Path) -> None:
    """A number that a scope has is found in it, one that it has not is not."""
    async with open_reader(demo) as connection:
        count = (await take_census(connection, WHOLE, EVERYTHING)).carried["messages"]
        owners = [row[0] for row in await connection.execute("SELECT agent_id FROM messages GROUP BY 1")]
        alone = ResolvedScope("agent", owners[0])

        assert len(owners) > 1
        assert await has_rows(connection, Message, WHOLE, count)
        assert not await has_rows(connection, Message, WHOLE, count + 1)
        assert await has_rows(connection, Message, alone, 1)
        assert not await has_rows(connection, Message, alone, count)
        assert not await has_rows(connection, Message, ResolvedScope("agent", "nobody"), 1)
        assert await has_rows(connection, MemoryBlock, WHOLE)
        assert not await has_rows(connection, MemoryBlock, ResolvedScope("agent", "nobody"))


@pytest.mark.parametrize(
    ("table", "columns", "cells"),
    [
        ("handoff_notes", "id, from_agent, to_agent, content, created_at", "'h', 'a', 'b', 'c', '{AT}'"),
        ("queued_messages", "id, target_agent_id, source_agent_id, content", "'q', 'a', 'b', 'c'"),
        ("coordination_state", "key, value, updated_at, updated_by", "'k', '1', '{AT}', 'b'"),
    ],
)
async def test_rows_that_name_an_agent_in_any_column(tmp_path: Path, table: str, columns: str, cells: str) -> None:
    """A row stays behind whichever of its columns names the agent, and counts once."""
    path = build(tmp_path / "a.db")
    with closing(sqlite3.connect(path)) as connection:
        add_agent(connection, "b")
        add_agent(connection, "c")
        connection.commit()
    run(path, f"INSERT INTO {table} ({columns}) VALUES ({cells.format(AT=AT)})")

    found = {name: await census(path, Selection(), ResolvedScope("agent", name)) for name in "abc"}
    assert {table: 1} == found["b"].not_carried
    assert {} == found["c"].not_carried
    assert ({} if table == "coordination_state" else {table: 1}) == found["a"].not_carried


@pytest.mark.parametrize(
    ("involved", "names_b"),
    [
        ('["a", "b"]', True),
        ('["b", "b"]', True),
        ('["bb", "a"]', False),
        ('[["b"], 7, null]', False),
        ('{"b": "b"}', False),
        ('["b"', False),
        ("b", False),
        (None, False),
    ],
)
async def test_rows_that_name_agents_in_a_list(tmp_path: Path, involved: str | None, names_b: bool) -> None:
    """A row whose JSON array has the agent stays behind, once; text that is no array names nobody."""
    path = build(tmp_path / "a.db")
    with closing(sqlite3.connect(path)) as connection:
        for agent in ("b", "c"):
            add_agent(connection, agent)
        connection.execute(
            "INSERT INTO notable_events (id, timestamp, event_type, description, agents_involved, importance, "
            "created_at) VALUES ('n', ?, 'e', 'd', ?, 'high', ?)",
            (AT, involved, AT),
        )
        connection.commit()
    found = {name: await census(path, Selection(), ResolvedScope("agent", name)) for name in "bc"}

    assert ({"notable_events": 1} if names_b else {}) == found["b"].not_carried
    assert {} == found["c"].not_carried
