"""History, tables and cells go out and come back as the same events, inside archives of version 3."""

from __future__ import annotations

import random
from math import inf
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pattern_stream.codec.dagcbor import decode
from pattern_stream.errors import ProtocolError
from pattern_stream.format import BATCH_ROWS, MAX_BLOCK_BYTES, MAX_CHUNK_ROWS
from pattern_stream.items import (
    CELLS_TABLE,
    Cells,
    Close,
    MemoryHistory,
    Open,
    OpenConstellation,
    OpenMemoryBlock,
    OpenTable,
    Piece,
    RecordEvent,
    Records,
    Row,
)
from pattern_stream.schema.model.cells import HISTORY_COLUMNS, Large, NotUtf8
from pattern_stream.schema.model.nodes import (
    CELL_COLUMNS,
    AgentExport,
)
from pattern_stream.schema.model.records import Message
from pattern_stream.schema.model.scopes import Limits
from pattern_stream.stages.encode.encoder import Encoder
from pattern_stream.stages.encode.row_chunks import encode_rows
from tests.archives import AT, NEVER_WRITTEN, agent_record, memory_record, message_record
from tests.stages.wire import Reading, as_exported, exported, imported, made, nodes_of, version_of
from tests.strategies import column_integers, texts

UPDATES, CHECKPOINTS = "memory_block_updates", "memory_block_checkpoints"


def update(seq: int, blob: Any = b"edit") -> Row:
    """A row of updates."""
    return (seq, "b1", seq, blob, 4, None, "2026-01-02 03:04:05", b"\x01", seq % 2)


def checkpoint(number: int) -> Row:
    """A row of checkpoints."""
    return (number, "b1", b"snapshot %d" % number, "2026-01-02T03:04:05+00:00", 50, None)


def block_events(
    history: MemoryHistory | None, *cells: RecordEvent, document: bytes = NEVER_WRITTEN
) -> list[RecordEvent]:
    """A memory block with its history, as import has it."""
    return [OpenMemoryBlock(memory_record("b1"), "b1", document=document, history=history), *cells, Close()]


def agent_events(*inside: RecordEvent) -> list[RecordEvent]:
    """An agent with these events inside."""
    return [Open(AgentExport, agent_record(), "a1"), *inside, Close()]


def table_events(
    name: str | None, columns: tuple[str, ...], *batches: list[Row], key: tuple[str, ...] = ()
) -> list[RecordEvent]:
    """A table with its rows, as import has it; with `key` as export has it."""
    declared = [{"name": column, "type": "TEXT"} for column in columns]
    return [
        OpenTable(table=name, columns=declared, count=sum(map(len, batches)), key_columns=key),
        *(Cells(CELLS_TABLE if name is None else name, rows) for rows in batches),
        Close(),
    ]


def constellation_events(*inside: RecordEvent, version: int = 3) -> list[RecordEvent]:
    """A constellation with these events inside."""
    return [OpenConstellation(owner_id="me", exported_at=AT, version=version), *inside, Close()]


@pytest.mark.parametrize("base", [None, b"", b"the stored one", bytes(2_000_000)])
@pytest.mark.parametrize("frontier", [None, b"", b"\x00\xff"])
def test_history_comes_back(base: bytes | None, frontier: bytes | None) -> None:
    """Stored document, frontier and all rows, an absent document told from an empty one; the archive is version 3."""
    history = MemoryHistory(base, frontier)
    cells = [Cells(UPDATES, [update(1), update(2)]), Cells(CHECKPOINTS, [checkpoint(1)])]
    expected = agent_events(*block_events(history, *cells))
    blocks = made(as_exported(expected))

    assert expected == imported(exported(as_exported(expected)))
    assert 3 == version_of(blocks)


def test_an_empty_history_is_one() -> None:
    """A block without updates has a history all the same: its stored frontier, no rows."""
    expected = agent_events(*block_events(MemoryHistory(None, b"\x01")))
    archive = exported(as_exported(expected))
    block = next(node for node in nodes_of(archive) if "history" in node)

    assert {"base": None, "frontier": b"\x01", "updates": [], "checkpoints": []} == block["history"]
    assert expected == imported(archive)


def test_history_has_the_columns_of_its_database() -> None:
    """Another schema's columns travel with the rows; the usual ones do not."""
    columns = {**HISTORY_COLUMNS, UPDATES: ("id", "block_id", "seq", "update_blob", "mood")}
    expected = agent_events(
        *block_events(MemoryHistory(None, None, columns), Cells(UPDATES, [(1, "b1", 1, b"x", "fine")]))
    )
    archive = exported(as_exported(expected))
    history = next(node["history"] for node in nodes_of(archive) if "history" in node)

    assert {"memory_block_updates": ["id", "block_id", "seq", "update_blob", "mood"]} == {
        table: names for table, names in history["columns"].items() if tuple(names) != HISTORY_COLUMNS[table]
    }
    assert expected == imported(archive)


def test_a_block_without_history_has_no_such_key() -> None:
    """What version 3 has needs no new key, so its bytes are what they were."""
    archive = exported(as_exported(agent_events(*block_events(None))))

    assert not any("history" in node for node in nodes_of(archive))


def test_the_archive_is_depth_first() -> None:
    """Block, the stored document, updates, checkpoints, the document that went out: as the keys sort."""
    cells = [Cells(UPDATES, [update(1)]), Cells(CHECKPOINTS, [checkpoint(1)])]
    events = agent_events(*block_events(MemoryHistory(b"stored", None), *cells, document=b"folded"))
    archive = exported(as_exported(events))
    reading = Reading(archive)

    names = [
        node["data"].decode() if "data" in node else "rows" if "rows" in node else str(node.get("id", "node"))
        for node in nodes_of(archive)
    ]
    assert ["node", "node", "b1", "stored", "rows", "rows", "folded"] == names
    assert reading.walker.depth_first


CELLS: list[Any] = [None, 0, -(2**63), 2**63 - 1, 1.5, -0.0, inf, -inf, "", "é", b"", b"\x01\x71\x1e\x20" + bytes(32)]


def test_every_kind_of_cell_comes_back() -> None:
    """Storage classes are kept, infinities and text that is no UTF-8 too; bytes like a CID stay bytes."""
    row: Row = (*CELLS, NotUtf8(b"\xff\xfe"))
    columns = tuple(f"c{index}" for index in range(len(row)))
    expected = constellation_events(*table_events("notes", columns, [row]))
    found = imported(exported(expected))

    assert expected == found
    (cells,) = [event for event in found if isinstance(event, Cells)]
    assert list(map(type, row)) == list(map(type, cells.rows[0]))
    assert ["-0.0"] == [str(cell) for cell in cells.rows[0] if cell == 0 and type(cell) is float]


cell_values = (
    st.none() | column_integers | st.floats(allow_nan=False) | texts | st.binary(max_size=20)
    | st.binary(max_size=8).map(lambda data: NotUtf8(data + b"\xff"))
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_table_comes_back(data: st.DataObject) -> None:
    """Any rows of any width in any number of tables, whatever the chunk limit and the order of the sections."""
    names = data.draw(st.lists(st.text(min_size=1, max_size=5), unique=True, max_size=3))
    tables: list[RecordEvent] = []
    for name in sorted(names, key=lambda name: (len(name.encode()), name.encode())):
        width = data.draw(st.integers(1, 4))
        rows = data.draw(st.lists(st.tuples(*[cell_values] * width), min_size=1, max_size=12))
        tables += table_events(name, tuple(f"c{index}" for index in range(width)), rows)
    expected = constellation_events(*tables)
    archive = exported(expected, Limits(max_chunk_bytes=data.draw(st.integers(1, 300))))

    assert expected == imported(archive)
    assert expected == imported(archive, data.draw(st.permutations(archive.blocks)))


def test_cells_come_before_tables_and_both_after_all_else() -> None:
    """The part of cells is told from a table; both come last."""
    cells = table_events(None, CELL_COLUMNS, [("agents", "a1", "embedding_model", "x")])
    expected = constellation_events(*agent_events(), *cells, *table_events("tasks", ("id",), [(1,)]))
    archive = exported(expected)
    (node,) = [node for node in nodes_of(archive) if "owner_id" in node]

    assert expected == imported(archive)
    assert 1 == node["cells_beyond_version_3"]["count"]
    assert ["tasks"] == list(node["tables_beyond_version_3"])
    assert Reading(archive).walker.depth_first


def test_without_tables_there_is_no_key() -> None:
    """A portable constellation has the keys of version 3 and no others."""
    (node,) = [node for node in nodes_of(exported(constellation_events())) if "owner_id" in node]

    assert {
        "version", "owner_id", "exported_at", "agent_exports", "group_exports", "shared_attachments",
        "all_memory_block_cids", "standalone_agent_cids",
    } == set(node)  # fmt: skip


def test_chunks_of_rows_close_by_bytes_and_by_rows() -> None:
    """A chunk closes before the row that would take it over the limit, and at MAX_CHUNK_ROWS."""
    row: Row = ("x" * 90,)
    size = len(encode_rows([row])[0])
    small = exported(constellation_events(*table_events("t", ("a",), [row] * 7)), Limits(max_chunk_bytes=3 * size))
    many = exported(constellation_events(*table_events("t", ("a",), [(1,)] * (MAX_CHUNK_ROWS + 1))))

    for archive, expected in ((small, [3, 3, 1]), (many, [MAX_CHUNK_ROWS, 1])):
        chunks = [node for node in nodes_of(archive) if "rows" in node]

        assert expected == [len(chunk["rows"]) for chunk in chunks]
        assert {"t"} == {chunk["table"] for chunk in chunks}


BORDER_KEYS: Final = [65, 228, 232]
"""The numbers below 256 that are borders as the one cell of a key: blake3 of their DAG-CBOR is 0 modulo 256."""


@pytest.mark.parametrize(("size", "batch"), [(256, 256), (256, 9), (233, 1)])
def test_a_row_whose_key_is_a_border_starts_a_chunk(size: int, batch: int) -> None:
    """Rows on both sides of it stay in their chunks whatever comes or goes elsewhere; every index is 0."""
    rows: list[Row] = [("v", number) for number in range(size)]
    batches = [rows[at : at + batch] for at in range(0, size, batch)]
    archive = exported(constellation_events(*table_events("t", ("value", "id"), *batches, key=("id",))))
    chunks = [node for node in nodes_of(archive) if "rows" in node]

    assert [0, *BORDER_KEYS] == [chunk["rows"][0][1] for chunk in chunks]
    assert [[*row] for row in rows] == [row for chunk in chunks for row in chunk["rows"]]
    assert {0} == {chunk["index"] for chunk in chunks}


@pytest.mark.parametrize(("key", "expected"), [(("id",), [1, 2, 3, 0, 0]), ((), [1, 2, 3, 4, 5])])
def test_chunks_that_may_have_an_equal_are_numbered(key: tuple[str, ...], expected: list[int]) -> None:
    """Rows without a key, or with null in it, may be equal, their chunks too: no two blocks of an archive are."""
    events = constellation_events(*table_events("t", ("id",), [(None,)] * 3 + [(1,), (2,)], key=key))
    archive = exported(events, Limits(max_chunk_bytes=1))
    chunks = [node for node in nodes_of(archive) if "rows" in node]

    assert expected == [chunk["index"] for chunk in chunks]
    assert len(archive.blocks) == len({cid for cid, _ in archive.blocks})
    assert [(None,)] * 3 + [(1,), (2,)] == [
        row for event in imported(archive) if isinstance(event, Cells) for row in event.rows
    ]


def test_batches_of_rows_are_bounded() -> None:
    """A chunk of more rows than a batch comes back in several batches."""
    rows: list[Row] = [(number,) for number in range(2 * BATCH_ROWS + 3)]
    found = imported(exported(constellation_events(*table_events("t", ("a",), rows))))
    batches = [event for event in found if isinstance(event, Cells)]

    assert [BATCH_ROWS, BATCH_ROWS, 3] == [len(batch.rows) for batch in batches]
    assert rows == [row for batch in batches for row in batch.rows]


def test_chunks_of_history_and_of_tables_with_a_key_have_index_0() -> None:
    """Nothing of a chunk depends on those before it; where there is no key each table counts anew."""
    cells = [Cells(UPDATES, [update(1), update(2)]), Cells(CHECKPOINTS, [checkpoint(1), checkpoint(2)])]
    block = block_events(MemoryHistory(None, None), *cells)
    other = [
        OpenMemoryBlock(memory_record("b2"), "b2", document=NEVER_WRITTEN, history=MemoryHistory(None, None)),
        *block[1:],
    ]
    events = constellation_events(
        *agent_events(*block, *other),
        *table_events("t", ("a",), [(1,), (2,)]),
        *table_events("uu", ("a",), [(1,)], key=("a",)),
    )

    found = nodes_of(exported(as_exported(events), Limits(max_chunk_bytes=1)))

    assert [0] * 8 + [1, 2, 0] == [node["index"] for node in found if "rows" in node]


def test_statistics_count_every_section_below_the_data_node() -> None:
    """Chunks of history and tables are sections as others are; sections, bytes and the manifest's count agree."""
    cells = [Cells(UPDATES, [update(number) for number in range(30)])]
    events = constellation_events(
        *agent_events(*block_events(MemoryHistory(b"base", None), *cells)), *table_events("t", ("a",), [(1,)])
    )
    archive = exported(as_exported(events), Limits(max_chunk_bytes=300))
    findings: list[Any] = []
    manifest = decode(archive.blocks[0][1])

    Reading(archive, report=findings.append)

    assert [] == findings
    assert manifest["section_count"] == len(archive.blocks) == len({cid for cid, _ in archive.blocks})
    assert sum(len(data) for _, data in archive.blocks[2:]) == manifest["stats"]["total_bytes"]


def test_a_stored_document_equal_to_another_goes_out_once() -> None:
    """Two blocks that were stored empty share one section, whether it is their document or what is stored."""
    one = block_events(MemoryHistory(NEVER_WRITTEN, None), document=b"folded")
    opened = OpenMemoryBlock(memory_record("b2"), "b2", document=NEVER_WRITTEN, history=MemoryHistory(b"", None))
    two: list[RecordEvent] = [opened, Close()]
    expected = agent_events(*one, *two)
    archive = exported(as_exported(expected))

    assert 1 == sum(node.get("data") == NEVER_WRITTEN for node in nodes_of(archive))
    assert expected == imported(archive)
    for seed in range(5):
        assert expected == imported(archive, random.Random(seed).sample(archive.blocks, len(archive.blocks)))


def test_row_chunks_fit_whatever_the_limit() -> None:
    """With the largest limit a caller can give, no chunk outgrows a block, and nothing moves out."""
    rows: list[Row] = [("x" * 100_000,) for _ in range(25)]
    blocks = made(constellation_events(*table_events("t" * 500, ("a",), rows)), Limits(10**9, 10**9))

    assert 3 == version_of(blocks)
    assert MAX_BLOCK_BYTES >= max(len(getattr(block, "data", b"")) for block in blocks)


def test_pieces_must_follow_their_row() -> None:
    """A Large cell whose pieces do not come at once, or too many, or none that was waited for, is a broken line."""
    row = Cells("t", [(Large(5_000_000, True),)])
    opened = constellation_events(*table_events("t", ("a",), []))[:2]

    for events in (
        [row, Close()],
        [row, *[Piece("a", bytes(900_000))] * 6],
        [Piece("a", b"x")],
        [row, Piece("a", b"x")],
    ):
        with pytest.raises(ProtocolError):
            made([*opened, *events])


def test_encoded_rows_are_what_the_slow_way_gives() -> None:
    """The fast encoder and the cell by cell one agree, so a batch with one odd cell has the same bytes elsewhere."""
    plain: list[Row] = [(1, "é", None, 1.5), (-1, "", None, -0.0)]
    odd: list[Row] = [(1, b"\x00", None, inf)]

    assert encode_rows(plain) == encode_rows(plain + odd)[:2]


def test_messages_in_between_do_not_matter() -> None:
    """A history does not disturb the chunks of messages that follow."""
    cells = [Cells(UPDATES, [update(1)])]
    messages = Records(Message, [message_record(number) for number in range(3)])
    expected = agent_events(*block_events(MemoryHistory(None, None), *cells), messages)

    assert expected == imported(exported(as_exported(expected)))


def test_unchunked_cells_are_refused() -> None:
    """The encoder takes drafts of rows, not rows."""
    with pytest.raises(ProtocolError, match="Cells came unchunked"):
        list(Encoder(AT).add(Cells("t", [])))
