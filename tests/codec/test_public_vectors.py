"""DAG-CBOR and CAR against public vectors. Where this program differs on purpose, the case is named with the reason."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pattern_stream.codec import dagcbor
from pattern_stream.codec.car import Section, SectionSplitter, verify_section
from pattern_stream.codec.cid import cid_from_text, cid_parts, cid_text
from pattern_stream.codec.dagcbor import Link
from pattern_stream.errors import (
    ArchiveError,
    DigestMismatch,
    MalformedBlock,
    UnencodableValue,
    UnsupportedCid,
    UnsupportedContainer,
)
from pattern_stream.format import MAX_BLOCK_BYTES
from tests.codec.oracle import from_dag_json, oracle_encode, same, split

DAG_CBOR, RAW, DAG_PB = 0x71, 0x55, 0x70
IDENTITY, SHA2_256, BLAKE3 = 0x00, 0x12, 0x1E


@pytest.fixture(scope="session")
def vectors(shared: Path) -> Path:
    """The folder of public vectors."""
    return shared / "vectors"


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def both_ways(data: bytes) -> Any:
    """The value of a block of anybody's, after checking that it gives the same bytes again."""
    value = dagcbor.decode(data, any_cid=True)

    assert data == dagcbor.encode_node(value) == oracle_encode(value)
    return value


def refused(data: bytes, *, any_cid: bool = True) -> bool:
    """Whether a block is refused, whole and a byte at a time of it as well."""
    try:
        dagcbor.decode(data, any_cid=any_cid)
    except MalformedBlock:
        return True
    return False


def check_edges(data: bytes) -> None:
    """No proper prefix is a block, nor is the block with bytes after it."""
    step = max(1, len(data) // 50)
    for damaged in [data[:end] for end in range(0, len(data), step)] + [data[:-1], data + b"\x00"]:
        assert refused(damaged), damaged.hex()


# --- DAG-CBOR ----------------------------------------------------------------------------------------------------


def test_codec_fixtures(vectors: Path) -> None:
    """All 128 values: the bytes decode to the value of the DAG-JSON twin and encode to themselves."""
    folders = sorted((vectors / "codec-fixtures/fixtures").iterdir())
    for folder in folders:
        (binary,) = folder.glob("*.dag-cbor")
        (text,) = folder.glob("*.dag-json")
        data = binary.read_bytes()
        expected = from_dag_json(read_json(text))
        value = both_ways(data)
        assert same(expected, value), folder.name
        assert binary.stem == cid_text(b"\x01\x71\x12\x20" + hashlib.sha256(data).digest())
        check_edges(data)

    assert 128 == len(folders)


def test_codec_fixtures_negative(vectors: Path) -> None:
    """Duplicate keys are refused, naming the key."""
    for case in read_json(vectors / "codec-fixtures/negative/duplicate-keys.json"):
        with pytest.raises(MalformedBlock, match="map key 'foo' twice"):
            dagcbor.decode(bytes.fromhex(case["hex"]), strict=False)


DASL_DIFFERENT = {
    "negative_zero_invalid_in": "DAG-CBOR as the original writes it keeps -0.0: docs/format.md#json-values",
    "negative_zero_invalid_out": "DAG-CBOR as the original writes it keeps -0.0: docs/format.md#json-values",
}

DASL_VALUES: dict[str, Any] = {
    "NaN": float("nan"),
    "Inf": float("inf"),
    "-Inf": float("-inf"),
    "bignum_invalid_out": 2**64,
    "map with int key": {0: 0},
    "undefined_invalid_out": object(),
    "unassigned_invalid_out": object(),
    "datetime_invalid_out": datetime(2025, 5, 26, 16, 18, 17, tzinfo=UTC),
}
"""The value that an `invalid_out` case means, by its id or name: what an encoder must refuse."""


def test_dasl_testing(vectors: Path) -> None:
    """Every case tagged dag-cbor or basic, apart from the listed differences."""
    seen = different = 0
    for path in sorted((vectors / "dasl-testing").glob("*.json")):
        for case in read_json(path):
            if not {"dag-cbor", "basic"} & set(case["tags"]):
                continue
            seen += 1
            if case.get("id") in DASL_DIFFERENT:
                different += 1
                assert str(-0.0) == str(both_ways(bytes.fromhex(case["data"])))
                continue
            check_dasl(case)

    assert (85, len(DASL_DIFFERENT)) == (seen, different)


def check_dasl(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["data"])
    if case["type"] == "roundtrip":
        both_ways(data)
        check_edges(data)
    elif case["type"] == "invalid_in":
        assert refused(data), case["name"]
    else:
        value = DASL_VALUES[case.get("id", case["name"])]
        for encode in (dagcbor.encode_node, dagcbor.encode_record):
            with pytest.raises(UnencodableValue):
                encode(value)


def test_rfc_appendix(vectors: Path) -> None:
    """Of the RFC's examples exactly those without other tags, indefinite lengths, short floats and the like pass."""
    accepted = 0
    for case in read_json(vectors / "cbor-rfc-appendix-a/appendix_a.json"):
        data = bytes.fromhex(case["hex"])
        if rfc_foreign(case):
            assert refused(data), case["hex"]
            continue
        accepted += 1
        value = both_ways(data)
        check_edges(data)
        if "decoded" in case:
            assert same(case["decoded"], value), case["hex"]

    assert 39 == accepted


def rfc_foreign(case: dict[str, Any]) -> bool:
    """Whether an example is CBOR but no DAG-CBOR, judged by its initial bytes and its diagnostic notation."""
    text, shown = case["hex"], str(case.get("diagnostic", ""))
    short_float = text[:2] in ("f9", "fa")
    special = text[:2] in ("f7", "f0", "f8") or text[:10] in ("fb7ff00000", "fb7ff80000", "fbfff00000")
    tagged = text[0] in "cd"
    indefinite = not case["roundtrip"] or "(_" in shown or "_ " in shown
    return short_float or special or tagged or indefinite or text == "a201020304"


def test_atproto_data_model(vectors: Path) -> None:
    """Values of another format on the same codec: bytes from the value, and the published CID from the bytes."""
    cases = read_json(vectors / "atproto-interop/data-model-fixtures.json")
    for case in cases:
        data = base64.b64decode(case["cbor_base64"] + "==")
        both_ways(data)
        assert case["cid"] == cid_text(b"\x01\x71\x12\x20" + hashlib.sha256(data).digest())

    assert cases


# --- CAR ---------------------------------------------------------------------------------------------------------


def check_foreign(section: Section) -> str:
    """A section of another hash: its digest by the named function; ours refuses it by name."""
    parts = cid_parts(section.cid)
    if parts.hash_code != BLAKE3:
        with pytest.raises(UnsupportedCid):
            verify_section(section)
    if parts.hash_code == SHA2_256:
        return "good" if hashlib.sha256(section.data).digest() == parts.digest else "bad"
    return "unknown"


def manifest_cars(vectors: Path) -> list[tuple[Path, dict[str, Any]]]:
    """All archives of the manifest with what an independent parser saw in them; of a CAR v2, in the CAR v1 inside."""
    return [(vectors / entry["path"], entry["car"]) for entry in read_json(vectors / "MANIFEST.json") if "car" in entry]


def read_car(path: Path, seen: dict[str, Any]) -> bytes:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return data[seen["data_offset"] :][: seen["data_size"]] if seen["version"] == 2 else data


def test_public_cars_in_pieces(vectors: Path) -> None:
    """Every public archive is framed as the independent parser framed it, whole and in pieces of odd sizes."""
    cars = manifest_cars(vectors)
    for path, seen in cars:
        data = read_car(path, seen)
        inner = seen.get("inner", seen)
        sections = split(data, any_roots=True)
        assert inner["blocks"] == len(sections), path.name
        assert inner["max_block"] == max(len(one.data) for one in sections)
        for piece_bytes in (1, 13, 4096) if len(data) < 100_000 else (4093, 65_536):
            assert sections == split(data, piece_bytes, any_roots=True)

    assert 13 == len(cars)


def test_public_cars_hashes_and_codecs(vectors: Path) -> None:
    """Every block of the public archives hashes to its CID; each foreign one is refused by name."""
    for path, seen in manifest_cars(vectors):
        inner = seen.get("inner", seen)
        codecs: dict[str, int] = {}
        for one in split(read_car(path, seen), any_roots=True):
            parts = cid_parts(one.cid)
            codecs[hex(parts.codec)] = codecs.get(hex(parts.codec), 0) + 1
            assert check_foreign(one) != "bad"
            if parts.codec == DAG_CBOR:
                both_ways(one.data)
        assert inner["codecs"] == codecs, path.name


def test_public_car_v2_is_named(vectors: Path) -> None:
    """A CAR v2 is refused with the command that unwraps it, and what it unwraps is the CAR v1 inside."""
    v2 = [(path, seen) for path, seen in manifest_cars(vectors) if seen["version"] == 2]
    for path, seen in v2:
        with pytest.raises(UnsupportedContainer) as caught:
            split(path.read_bytes(), any_roots=True)
        command = f"tail -c +{seen['data_offset'] + 1} FILE | head -c {seen['data_size']} > FILE.v1.car"
        assert (caught.value.hint or "").endswith(command)

    assert 3 == len(v2)


@pytest.mark.parametrize("name", ["carv1-basic", "carv2-basic"])
def test_ipld_spec_layout(vectors: Path, name: str) -> None:
    """Offsets, lengths, CIDs and contents of the specification's own examples."""
    layout = read_json(vectors / f"ipld-spec/{name}.json")
    data = (vectors / f"ipld-spec/{name}.car").read_bytes()
    start = layout["header"].get("dataOffset", 0)
    sections = split(data[start:][: layout["header"].get("dataSize", len(data))], any_roots=True)
    for block, one in zip(layout["blocks"], sections, strict=True):
        assert cid_from_text(block["cid"]["/"]) == one.cid
        assert block["blockLength"] == len(one.data)
        assert one.data == data[block["blockOffset"] :][: block["blockLength"]]
        assert block["offset"] == start + one.offset or block["offset"] == one.offset
        check_content(block["content"], one)


def check_content(content: Any, section: Section) -> None:
    """Contents of DAG-CBOR and raw blocks; dag-pb is no business of this program."""
    codec = cid_parts(section.cid).codec
    if codec == DAG_CBOR:
        assert same(from_dag_json(content), dagcbor.decode(section.data, any_cid=True))
    elif codec == RAW:
        assert from_dag_json(content) == section.data
    else:
        assert DAG_PB == codec


def test_cross_impl_js(vectors: Path) -> None:
    """blake3 archives of the JavaScript libraries: same roots, CIDs and sizes, verified and re-encoded alike."""
    expected = read_json(vectors / "cross-impl-js/expected.json")["files"]
    for file in expected:
        path = vectors / "cross-impl-js" / file["file"]
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        splitter = SectionSplitter()
        sections = list(splitter.feed(data))
        splitter.finish()
        assert file["uncompressed_bytes"] == len(data)
        assert splitter.header is not None
        assert file["roots"] == [cid_text(root) for root in splitter.header.roots]
        assert [(block["cid"], block["len"]) for block in file["blocks"]] == [
            (cid_text(one.cid), len(one.data)) for one in sections
        ]
        for one in sections:
            verify_section(one)
            assert one.data == dagcbor.encode_node(dagcbor.decode(one.data))

    assert {MAX_BLOCK_BYTES, MAX_BLOCK_BYTES + 1} <= {block["len"] for file in expected for block in file["blocks"]}


def test_cross_impl_js_edge_values(vectors: Path) -> None:
    """The block of edge values is the one in the hex file beside it."""
    data = bytes.fromhex((vectors / "cross-impl-js/edge-values.hex").read_text())

    assert [data] == [one.data for one in split((vectors / "cross-impl-js/edge-values.car").read_bytes())]
    both_ways(data)
    check_edges(data)


POLICY = {
    "header extra key blip:true": "refused: an archive of this format has two header keys, and another would be lost",
    "extra property": "refused: an archive of this format has two header keys, and another would be lost",
    "ZeroRootsHeader": "framed with any_roots, refused without",
}
"""Cases that the vectors leave to the reader, and what this one does."""


def test_go_car_cases(vectors: Path) -> None:
    """Each of go-car's cases ends as it says; the policy cases as this program decided."""
    for case in read_json(vectors / "go-car/hex-cases.json")["cases"]:
        expect, name = case["expect"], case["name"]
        outcomes = [outcome(bytes.fromhex(case["hex"]), piece_bytes) for piece_bytes in (None, 1, 5)]
        assert 1 == len({type(one) for one in outcomes}), name
        if expect == "policy":
            assert isinstance(outcomes[0], ArchiveError) is POLICY[name].startswith("refused"), name
        elif "v2" in expect or name.startswith("header {version:2}"):
            assert isinstance(outcomes[0], UnsupportedContainer), name
        elif expect == "error":
            assert isinstance(outcomes[0], ArchiveError), name
        else:
            assert outcomes[0] is None, name


def outcome(data: bytes, piece_bytes: int | None) -> ArchiveError | None:
    """What stops the reading of somebody's archive, if anything; digests are checked where the hash is known."""
    try:
        for one in split(data, piece_bytes, any_roots=True):
            parts = cid_parts(one.cid)
            good = {SHA2_256: hashlib.sha256(one.data).digest(), IDENTITY: one.data}.get(parts.hash_code)
            if good is not None and good != parts.digest:
                return DigestMismatch("sha2-256 or identity does not match")
    except ArchiveError as error:
        return error
    return None


def test_js_car_headers(vectors: Path) -> None:
    """js-car's malformed headers are refused; one without roots passes where any roots will do."""
    for case in read_json(vectors / "js-car/header-cases.json")["cases"]:
        data = bytes.fromhex(case["hex"])
        for piece_bytes in (None, 1):
            error = outcome(data, piece_bytes)
            assert (error is None) is (case["expect"] == "ok"), case["name"]
            assert isinstance(outcome(data + b"\x00", piece_bytes), ArchiveError)
        if case["expect"] == "policy":
            assert POLICY[case["name"]].startswith("refused")


def test_atproto_framing(vectors: Path) -> None:
    """Whole archives with ordered blocks: roots, CIDs and bytes as listed, refused by name when verified."""
    cases = read_json(vectors / "atproto/car-file-fixtures.json")
    for case in cases:
        data = base64.b64decode(case["car"] + "==")
        blocks = [(block["cid"], base64.b64decode(block["bytes"] + "==")) for block in case["blocks"]]
        sections = split(data, any_roots=True)
        for piece_bytes in (1, 64):
            assert sections == split(data, piece_bytes, any_roots=True)
        assert blocks == [(cid_text(one.cid), one.data) for one in sections]
        assert {"good"} == {check_foreign(one) for one in sections}
        with pytest.raises(UnsupportedCid, match="sha2-256"):
            split(data)

    assert cases


def test_link_type_of_public_roots(vectors: Path) -> None:
    """A link decoded from somebody's block is a Link with the CID that a person sees."""
    data = (vectors / "codec-fixtures/fixtures/cid-arrayof").glob("*.dag-cbor")
    (found,) = [dagcbor.decode(path.read_bytes(), any_cid=True) for path in data]

    assert found
    assert all(isinstance(one, Link) for one in found)
