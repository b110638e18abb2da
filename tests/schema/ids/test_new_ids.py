"""New ids: one pure function, one id space, and snowflakes that stay snowflakes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pattern_stream.db.ddl import core_tables, extra_tables
from pattern_stream.errors import Finding, MalformedNode, UsageError, ignore_findings
from pattern_stream.schema.ids.new_ids import Identity, RowTranslation, mint, mint_bytes
from pattern_stream.schema.ids.snowflakes import mint_batch, parse_snowflake
from pattern_stream.schema.model.cells import Large, NotUtf8, StoredText
from pattern_stream.schema.model.id_columns import (
    AGENT_LISTS,
    BLOCK_REFS,
    is_known,
    references_of,
)
from pattern_stream.schema.model.records import DECLARED, ArchivalEntry, Message

KEY = bytes(range(32))
OTHER_KEY = bytes(32)

TABLES = {table.name: table for table in (*core_tables.TABLES, *extra_tables.TABLES)}


def test_mint_is_pure_and_keyed() -> None:
    """The same key and id give the same new id; another key gives another."""
    assert mint(KEY, "a1", "agent") == mint(KEY, "a1", "agent")
    assert mint(KEY, "a1", "agent") != mint(OTHER_KEY, "a1", "agent")


@pytest.mark.parametrize(
    ("kind", "prefix"),
    [
        ("agent", ""),
        ("group", ""),
        ("owner", ""),
        ("archive_summary", ""),
        ("memory_block", "mem_"),
        ("message", "msg_"),
        ("archival_entry", "arch_"),
    ],
)
def test_kind_only_picks_the_prefix(kind: str, prefix: str) -> None:
    """One id space: whatever a text is an id of, its 32 hex digits are the same."""
    minted = mint(KEY, "x", kind)  # type: ignore[arg-type]

    assert prefix + mint(KEY, "x", "agent") == minted
    assert 32 == len(minted.removeprefix(prefix))


@pytest.mark.parametrize("old", ["_constellation_", "system", "user"])
def test_ids_that_mean_the_same_everywhere_stay(old: str) -> None:
    """Special owners are no ids of one constellation."""
    assert old == mint(KEY, old, "owner")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("31358194177998848", 31358194177998848),
        ("00000000000000000007", 7),
        ("0", 0),
        (str(2**64 - 1), 2**64 - 1),
        (str(2**64), None),
        ("00000000000A1", (10 << 5) + 1),
        ("ZZZZZZZZZZZZZ", None),
        ("letta-import-1", None),
        ("", None),
        ("-1", None),
        ("１２", None),
        ("9" * 5000, None),
    ],
)
def test_parse_snowflake(text: str, number: int | None) -> None:
    """Decimal text of 64 bits, or 13 characters of Crockford base32, as the original reads them."""
    assert number == parse_snowflake(text)


@given(st.integers(0, 2**64 - 1), st.integers(0, 3))
def test_a_minted_batch_keeps_its_millisecond(number: int, attempt: int) -> None:
    """A batch that must change stays a snowflake of the same millisecond, and does change."""
    minted = parse_snowflake(mint_batch(KEY, str(number).zfill(20), attempt))

    assert minted is not None
    assert number >> 16 == minted >> 16
    assert number != minted


@given(st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1))
def test_batches_of_one_millisecond_stay_apart(one: int, other: int) -> None:
    """Within a millisecond the change is one to one."""
    base = 31358194177998848

    assert (one == other) == (mint_batch(KEY, str(base + one)) == mint_batch(KEY, str(base + other)))


@given(st.text(st.characters(codec="utf-8"), max_size=20).filter(lambda text: parse_snowflake(text) is None))
def test_a_batch_that_was_no_snowflake_becomes_one(old: str) -> None:
    """Of 17 digits, so that it sorts as text like any native one."""
    minted = mint_batch(KEY, old)

    assert parse_snowflake(minted) is not None
    assert 17 == len(minted)


def test_translate_replaces_every_reference() -> None:
    """Ids, owners, parents and the ids inside `block_refs`; what has another shape stays."""
    identity = Identity(KEY)
    message = dict.fromkeys((field.name for field in Message.fields), None) | {
        "id": "m1",
        "agent_id": "a1",
        "batch_id": "31358194177998848",
        "source_metadata": {
            "block_refs": [{"label": "l", "block_id": "b1", "agent_id": "_constellation_"}, 7, {"block_id": None}],
            "user_id": "u1",
        },
    }
    entry = dict.fromkeys((field.name for field in ArchivalEntry.fields), None) | {
        "id": "e2",
        "agent_id": "gone",
        "parent_entry_id": "e1",
    }

    found, found_entry = identity.translate(Message, message), identity.translate(ArchivalEntry, entry)

    refs = [
        {"label": "l", "block_id": mint(KEY, "b1", "memory_block"), "agent_id": "_constellation_"},
        7,
        {"block_id": None},
    ]
    assert {"block_refs": refs, "user_id": "u1"} == found["source_metadata"]
    assert (mint(KEY, "m1", "message"), mint(KEY, "a1", "agent")) == (found["id"], found["agent_id"])
    assert "31358194177998848" == found["batch_id"]
    assert mint(KEY, "gone", "owner") == found_entry["agent_id"]
    assert mint(KEY, "e1", "archival_entry") == found_entry["parent_entry_id"]


def test_refs_are_found_in_text_that_was_not_parsed() -> None:
    """Metadata too large for its record, JSON of other tables at any depth; text without any stays to the letter."""
    identity = Identity(KEY)
    refs = '{"block_refs": [{"block_id": "b1", "agent_id": "a1"}]}'
    new = {"block_refs": [{"block_id": mint(KEY, "b1", "memory_block"), "agent_id": mint(KEY, "a1", "owner")}]}
    message = dict.fromkeys((field.name for field in Message.fields), None) | {"id": "m", "agent_id": "a"}

    found = identity.translate(Message, message | {"source_metadata": StoredText(refs)})["source_metadata"]

    assert (StoredText, new) == (type(found), json.loads(found))
    assert {"Agent": [1.0, new]} == json.loads(identity.translate_text(f'{{"Agent": [1.0, {refs}]}}', deep=True))
    escaped = refs.replace("block_refs", "block\\u005frefs")
    assert new == json.loads(identity.translate_text(escaped))
    for text in ('{ "a" : 1 }', "no JSON block_refs", '{"block_refs": 7}', "[" * 5000 + "block_refs", f"[{refs}]"):
        assert text == identity.translate_text(text)


def test_arrays_of_agents() -> None:
    """Each text in them; anything else stays, and so does what is no array."""
    identity = Identity(KEY)

    assert [mint(KEY, "a1", "agent"), 7, "system"] == json.loads(identity.translate_agents('["a1", 7, "system"]'))
    for text in ('{"a": ["a1"]}', "no JSON", "[ 7 ]", "[]"):
        assert text == identity.translate_agents(text)


def test_every_table_of_the_schema_is_known() -> None:
    """Each with columns that it has, and with every column that refers to another row by a foreign key."""
    ordinary = {name: table for name, table in TABLES.items() if name != "_sqlx_migrations"}
    for name, table in ordinary.items():
        columns, keys = set(table.columns.keys()), {key.parent.name for key in table.foreign_keys}

        assert is_known(name)
        assert set(references_of(name)) <= columns
        assert keys <= set(references_of(name)), name
        assert {*AGENT_LISTS.get(name, ()), *BLOCK_REFS.get(name, ())} <= columns
        if name in DECLARED:
            assert {column.name for column in table.primary_key} == set(DECLARED[name].key)
    assert len(DECLARED) + 21 == len(ordinary)
    assert not is_known("anything_else")


def test_own_ids_are_new_but_names_and_numbers_are_not() -> None:
    """`coordination_state.key` is a name, and the numbers of the memory history mean nothing elsewhere."""
    assert {"updated_by": "owner"} == references_of("coordination_state")
    assert {"block_id": "memory_block"} == references_of("memory_block_updates")
    own = {name for name in TABLES if is_known(name) and "id" in references_of(name)}
    with_id = {name for name, table in TABLES.items() if "id" in table.columns}
    assert with_id - {"memory_block_updates", "memory_block_checkpoints"} == own


def test_rows_are_translated_by_their_columns() -> None:
    """Whatever order and number they come in, text that is no UTF-8 too; what is no text stays, with a warning."""
    found: list[Finding] = []
    columns = ("title", "parent_task_id", "id", "agent_id")
    translation = RowTranslation(Identity(KEY), "tasks", columns, found.append)
    rows = [("t1", "t0", "t1", "a1"), ("t2", None, Large(5, True), b"\xff"), ("t3", None, NotUtf8(b"\xff"), None)]

    assert [
        ("t1", mint(KEY, "t0", "row"), mint(KEY, "t1", "row"), mint(KEY, "a1", "agent")),
        rows[1],
        ("t3", None, mint_bytes(KEY, b"\xff", "row"), None),
    ] == translation.translate(rows)
    assert [("id-kept", "id"), ("id-kept", "agent_id")] == [(one.code, one.where.field) for one in found]
    with pytest.raises(MalformedNode, match="row has 1 cells, expected 4"):
        translation.translate([("t1",)])


@pytest.mark.parametrize(
    ("table", "key", "expected"),
    [
        ("agents", "a1", mint(KEY, "a1", "agent")),
        ("memory_blocks", "b1", mint(KEY, "b1", "memory_block")),
        ("group_members", '["g1","a1"]', f'["{mint(KEY, "g1", "group")}","{mint(KEY, "a1", "agent")}"]'),
        ("group_members", '["g1"]', '["g1"]'),
        ("group_members", "g1", "g1"),
        ("agents", 7, 7),
    ],
)
def test_keys_of_cells(table: str, key: object, expected: object) -> None:
    """One id, or a JSON array of them; what is neither stays for others to refuse."""
    assert expected == RowTranslation(Identity(KEY), table, (), ignore_findings).translate_key(key)


def test_key_length_is_checked() -> None:
    """A key of another length is refused before anything is minted."""
    with pytest.raises(UsageError, match="key of new ids is 3 bytes, expected 32"):
        Identity(b"abc")
