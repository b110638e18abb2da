"""The oracle itself, held against what the real program wrote: it must explain every archive to the last bit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.acceptance.car import MAX_BLOCK_BYTES, Wrong, cid_of, decode, encode, parse, parse_ours
from tests.acceptance.comparing import differences, mended
from tests.acceptance.documents import read_documents
from tests.acceptance.flat import flatten
from tests.acceptance.oracle import Database, Options, chunks_of
from tests.acceptance.rendering import render
from tests.acceptance.running import FOLDERS, Folder, packed
from tests.acceptance.wire import difference, instant, json_value, real_program_float

WITH_ARCHIVES = ("family", "quiet", "edges", "numbers", "many", "oversize")


@pytest.mark.parametrize("name", WITH_ARCHIVES)
def test_the_oracle_explains_every_archive_of_the_real_program(name: str, folder: Callable[[str], Folder]) -> None:
    """Rows selected, converted and cut into chunks as the oracle does are what the real program wrote, to the bit."""
    here = folder(name)
    rows = Database(here.database, real_program_float)
    compared = 0
    for label, case in here.cases.items():
        real = here.real(label)
        if real is not None:
            expected = case.expected(rows, real_program=True)
            assert [] == list(differences(expected, mended(real, expected))), label
            compared += 1

    assert compared == {"numbers": 3, "oversize": 1}.get(name, len(FOLDERS[name]) - 2 * (name == "family"))


@pytest.mark.parametrize("name", WITH_ARCHIVES)
def test_the_real_program_counts_its_sections_as_described(name: str, folder: Callable[[str], Folder]) -> None:
    """total_blocks and total_bytes are all sections but manifest and data node, repeated ones repeatedly."""
    for label in folder(name).cases:
        raw = packed(folder(name).source / f"{label}.car")
        if raw is not None:
            archive = parse(raw)
            beside = {archive.root, archive.manifest["data_cid"]}
            counted = [len(data) for link, data in archive.sections if link not in beside]

            stats = archive.manifest["stats"]
            assert (len(counted), sum(counted)) == (stats["total_blocks"], stats["total_bytes"])


@pytest.mark.parametrize("name", ["family", "quiet", "edges", "many", "oversize"])
def test_base_and_active_updates_are_the_document_that_the_real_program_reads(
    name: str, folder: Callable[[str], Folder]
) -> None:
    """Folding by hand gives `deep`, `vv` and `rendered` of the view, for every active block."""
    here = folder(name)
    found = read_documents(here.rows.stored(key) for key in here.view)
    for view, document in zip(here.view.values(), found, strict=True):
        assert not document["pending"]
        assert difference(view["deep"], document["deep"]) is None
        assert sorted((int(peer), end) for peer, end in view["vv"]) == document["vv"]
        assert view["rendered"] == render(view["metadata"], document["deep"])


def test_the_example_of_the_format_is_read() -> None:
    """Snapshot piece and JSON example of docs/format.md#example, both ways."""
    piece = bytes.fromhex("a3646461746143616263 65696e64657800 686e6578745f636964f6")
    numbers = bytes.fromhex("85fb3ff0000000000000fb8000000000000000fb3fb999999999999a0120")

    assert {"data": b"abc", "index": 0, "next_cid": None} == decode(piece)
    assert "01711e20fe0146aa55267f6f618aa4a662993183e57fb55e56e86f6b756dc8fdf01112e8" == cid_of(piece).hex()
    assert difference([1.0, -0.0, 0.1, 1, -1], decode(numbers)) is None
    assert numbers == encode([1.0, -0.0, 0.1, 1, -1])


@pytest.mark.parametrize(
    "bad",
    [
        "1801", "190018", "fa3f800000", "f90000", "fb7ff8000000000000", "fb7ff0000000000000", "9fff", "a2616200616100",
        "a2616100616101", "a26262620061610000", "a10001", "c100", "d82a4100", "f7", "f800", "61ff", "4261", "0000", "",
        "1b0000000000000001", "5f4161ff", "bf616100ff",
    ],
)  # fmt: skip
def test_the_reader_refuses_what_is_not_strict(bad: str) -> None:
    """Long heads, short floats, NaN, indefinite lengths, unsorted or repeated keys, tags, cut and trailing bytes."""
    with pytest.raises((Wrong, UnicodeDecodeError)):
        decode(bytes.fromhex(bad))


def test_the_reader_refuses_damaged_archives(folder: Callable[[str], Folder]) -> None:
    """A changed byte and a cut inside a section are found."""
    raw = packed(folder("quiet").source / "constellation.car")
    assert raw is not None
    for damaged in (raw[:-1], raw[:700] + b"\0" + raw[701:], raw + b"\0", b"\x3b" + raw[1:]):
        with pytest.raises(Wrong):
            flatten(parse(damaged))


def test_the_real_programs_order_is_not_ours(folder: Callable[[str], Folder]) -> None:
    """An archive that repeats sections, or has children before their parents, does not pass for one of ours."""
    for name in ("family", "edges"):
        raw = packed(folder(name).source / "constellation.car")
        with pytest.raises(Wrong):
            parse_ours(raw or b"")


def test_chunks_close_where_the_rules_say() -> None:
    """A chunk may reach its limits exactly, one message alone may exceed the target, and a border (m173) starts one."""
    messages = [{"id": f"m{at}", "position": str(n), "text": "x" * n} for at, n in enumerate((10, 10, 10, 2000))]
    size = len(encode(messages[0]))

    assert [3, 1] == [c.count for c in chunks_of(messages, Options(chunk_bytes=3 * size))]
    assert [2, 1, 1] == [c.count for c in chunks_of(messages, Options(chunk_bytes=3 * size - 1))]
    assert [2, 2] == [c.count for c in chunks_of(messages, Options(chunk_messages=2))]
    messages[1]["id"] = "m173"
    assert [1, 3] == [c.count for c in chunks_of(messages, Options())]
    assert [4] == [c.count for c in chunks_of(messages, Options(real_program=True))]
    assert size < MAX_BLOCK_BYTES


def test_values_are_converted_as_described() -> None:
    """Instants and JSON numbers in the forms of docs/database.md#timestamps and docs/format.md#json-values."""
    assert "2026-01-02T03:04:05.120Z" == instant("2026-01-02T03:04:05.12+00:00")
    assert "2026-01-02T01:34:05Z" == instant("2026-01-02 03:04:05+01:30")
    assert "1969-12-31T23:59:59.000000001Z" == instant("1969-12-31 23:59:59.000000001")
    assert (
        difference([-0.0, 1.0, 2.0**64, 2**64 - 1], json_value("[-0,1.0,18446744073709551616,18446744073709551615]"))
        is None
    )
    assert (0.1, 1e-7, 123456.789, 0.0) == tuple(map(real_program_float, ("0.1", "1e-7", "123456.789", "0e400")))
