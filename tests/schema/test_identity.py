"""New ids: one pure function, one id space, and snowflakes that stay snowflakes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pattern_stream.errors import UsageError
from pattern_stream.schema.identity import Identity, mint, mint_batch, parse_snowflake
from pattern_stream.schema.records import ArchivalEntry, Message

KEY = bytes(range(32))
OTHER_KEY = bytes(32)


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


def test_key_length_is_checked() -> None:
    """A key of another length is refused before anything is minted."""
    with pytest.raises(UsageError, match="key of new ids is 3 bytes, expected 32"):
        Identity(b"abc")
