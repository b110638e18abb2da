"""CIDs: ours made and checked, other people's split off, shown and refused by name."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pattern_stream.codec.cid import (
    cid_from_text,
    cid_of,
    cid_parts,
    cid_text,
    require_digest,
    require_supported,
    split_cid,
)
from pattern_stream.errors import DigestMismatch, MalformedSection, UnsupportedCid, UsageError, Where
from pattern_stream.format import CID_PREFIX

CHUNK = bytes.fromhex("a364646174614361626365696e64657800686e6578745f636964f6")
CHUNK_CID = bytes.fromhex("01711e20fe0146aa55267f6f618aa4a662993183e57fb55e56e86f6b756dc8fdf01112e8")
"""A snapshot chunk and its CID. Source: docs/format.md#example."""

ZEROS = bytes(32)

FOREIGN = {
    "raw sha2-256": (b"\x01\x55\x12\x20" + ZEROS, "v1, codec raw (0x55), hash sha2-256 (0x12) of 32 bytes"),
    "dag-cbor sha2-256": (b"\x01\x71\x12\x20" + ZEROS, "v1, codec dag-cbor (0x71), hash sha2-256 (0x12) of 32 bytes"),
    "version 0": (b"\x12\x20" + ZEROS, "v0, codec dag-pb (0x70), hash sha2-256 (0x12) of 32 bytes"),
    "identity": (b"\x01\x55\x00\x03abc", "v1, codec raw (0x55), hash identity (0x00) of 3 bytes"),
    "dag-json blake2b": (
        b"\x01\xa9\x02\xa0\xe4\x02\x20" + ZEROS,
        "v1, codec dag-json (0x129), hash blake2b-256 (0xb220) of 32 bytes",
    ),
    "blake3 of 20 bytes": (
        b"\x01\x71\x1e\x14" + ZEROS[:20],
        "v1, codec dag-cbor (0x71), hash blake3 (0x1e) of 20 bytes",
    ),
    "unknown codes": (
        b"\x01\xff\xff\xff\x7f\xff\xff\xff\x7f\x01\x00",
        "v1, codec unknown (0xfffffff), hash unknown (0xfffffff) of 1 bytes",
    ),
}

CUT = "data ends inside a CID, expected "
BAD = {
    "nothing": (b"", CUT + "its version"),
    "cut version": (b"\x81", CUT + "its version"),
    "cut codec": (b"\x01", CUT + "its codec"),
    "cut hash": (b"\x01\x71", CUT + "its hash"),
    "cut digest length": (b"\x01\x71\x1e", CUT + "its digest length"),
    "cut digest": (b"\x01\x71\x1e\x20" + ZEROS[:31], CUT + "a digest of 32 bytes, found 31"),
    "cut version 0": (b"\x12\x20" + ZEROS[:31], CUT + "a digest of 32 bytes, found 31"),
    "overlong codec": (b"\x01\xf1\x00\x1e\x20" + ZEROS, "varint of 113 takes 2 bytes, expected its shortest form"),
    "digest length beyond any data": (
        b"\x01\x71\x1e\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        CUT + f"a digest of {2**63 - 1} bytes, found 0",
    ),
    "no version": (b"\x30" + ZEROS, "CID starts with 48, expected its version, 1"),
    "version 0 in the way of version 1": (
        b"\x00\x71\x1e\x20" + ZEROS,
        "CID starts with 0, expected its version, 1",
    ),
}


def test_example_of_the_format() -> None:
    """The snapshot chunk of docs/format.md#example has the CID given there, in bytes and as text."""
    assert CHUNK_CID == cid_of(CHUNK)
    assert "bafyr4i" == cid_text(CHUNK_CID)[:7]
    assert CHUNK_CID == cid_from_text(cid_text(CHUNK_CID))
    require_supported(CHUNK_CID)
    require_digest(CHUNK_CID, CHUNK)


@pytest.mark.parametrize(("cid", "named"), FOREIGN.values(), ids=FOREIGN)
def test_foreign_cids_are_split_shown_and_refused_by_name(cid: bytes, named: str) -> None:
    """Framing takes any CID; the refusal says what it is and what it should be."""
    with pytest.raises(UnsupportedCid) as caught:
        require_supported(cid, where=Where(offset=7))

    assert (cid, len(cid)) == split_cid(cid + b"data")
    assert (cid, 2 + len(cid)) == split_cid(memoryview(b"\x12\x20" + cid), 2)
    assert cid == cid_from_text(cid_text(cid))
    assert (
        f"CID has {named}, expected v1, codec dag-cbor (0x71), hash blake3 (0x1e) of 32 bytes" == caught.value.message
    )
    assert Where(offset=7, cid=cid_text(cid)) == caught.value.where


@pytest.mark.parametrize(("data", "message"), BAD.values(), ids=BAD)
def test_what_is_no_cid_is_malformed(data: bytes, message: str) -> None:
    """Cut, overlong and versionless CIDs are refused before any digest is copied, saying what is missing."""
    with pytest.raises(MalformedSection) as caught:
        split_cid(b"\x01" + data, 1)

    assert message == caught.value.message


@pytest.mark.parametrize("size", [24, 30])
def test_texts_as_long_as_those_of_version_0(size: int) -> None:
    """A CID of 34 bytes, and a text of 46 characters, are of version 0 only if they begin like it."""
    cid = b"\x01\x55\x00" + bytes([size]) + bytes(size)
    text = cid_text(cid)

    assert len(cid) == 34 or len(text) == 46
    assert text.startswith("bafkq")
    assert cid == cid_from_text(text)


@pytest.mark.parametrize("version", [2, 3])
def test_later_versions_are_unsupported(version: int) -> None:
    """A reserved version is named, not called damage."""
    with pytest.raises(UnsupportedCid, match=f"version {version}"):
        split_cid(bytes([version]) + CHUNK_CID[1:])


def test_bytes_after_a_cid() -> None:
    """A whole CID is exactly one CID."""
    with pytest.raises(MalformedSection, match="37 bytes where a CID of 36 bytes was expected"):
        cid_parts(CHUNK_CID + b"\x00")


def test_a_byte_at_a_time() -> None:
    """No proper prefix of a CID passes for one."""
    for end in range(len(CHUNK_CID)):
        with pytest.raises(MalformedSection):
            split_cid(CHUNK_CID[:end])


def test_data_that_hashes_to_something_else() -> None:
    """The refusal has both CIDs and the size."""
    with pytest.raises(DigestMismatch) as caught:
        require_digest(CHUNK_CID, CHUNK + b"!")

    expected = f"block of 28 bytes hashes to {cid_text(cid_of(CHUNK + b'!'))}, expected its CID {cid_text(CHUNK_CID)}"
    assert expected == caught.value.message


def test_texts_in_other_bases() -> None:
    """A person may type a CID in any multibase; version 0 only bare."""
    import multiformats.multibase as multibase

    bare = cid_text(b"\x12\x20" + ZEROS)

    assert ("Qm", 46) == (bare[:2], len(bare))
    for base in ("base16", "base32", "base32upper", "base36", "base58btc", "base64url"):
        assert CHUNK_CID == cid_from_text(multibase.encode(CHUNK_CID, base))
    for text in (
        "",
        "b",
        "bafy",
        "noop",
        "x1",
        "b\u00e9",
        "Qm",
        "z" + bare,
        cid_text(CHUNK_CID) + "aaaa",
        "\U0001f680",
    ):
        with pytest.raises(UsageError) as caught:
            cid_from_text(text)
        only_bare = ": version 0 is written bare in base58btc, and only version 0"
        assert (
            f"{text!r} is no CID" + (only_bare if bare in text else ", expected text like bafyr4i...")
            == caught.value.message
        )


def test_other_versions_and_hashes_as_python_knows_them() -> None:
    """Text of a version 0 CID agrees with the published one of an empty dag-pb directory."""
    empty_directory = b"\x0a\x02\x08\x01"

    assert "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn" == cid_text(
        b"\x12\x20" + hashlib.sha256(empty_directory).digest()
    )


def test_multiformats_stays_out_of_the_line() -> None:
    """Importing the codecs does not import multiformats, which takes a tenth of a second."""
    code = "import sys, pattern_stream.codec.car; sys.exit('multiformats' in sys.modules)"

    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode


@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    """Bytes either are no CID or split into a CID and the rest; nothing else is raised."""
    try:
        cid, end = split_cid(data)
    except (MalformedSection, UnsupportedCid):
        return

    assert data[:end] == cid
    assert cid == cid_from_text(cid_text(cid))


def test_public_blake3_vectors(shared: Path) -> None:
    """The digest in our CIDs is the first 32 bytes of BLAKE3's own vectors."""
    cases = json.loads((shared / "vectors/blake3/test_vectors.json").read_text())["cases"]
    for case in cases:
        data = bytes(index % 251 for index in range(case["input_len"]))
        assert CID_PREFIX + bytes.fromhex(case["hash"])[:32] == cid_of(data)


def test_public_cids_of_others(shared: Path) -> None:
    """A blake3 + dag-cbor CID that somebody else published is ours for the same bytes."""
    cases = json.loads((shared / "vectors/blake3-dag-cbor-cids/cids.json").read_text())["cases"]
    for case in cases:
        assert case["cid"] == cid_text(cid_of(bytes.fromhex(case["hex"])))


def test_public_texts_both_ways(shared: Path) -> None:
    """CID texts of codec-fixtures: base32, base58btc and version 0 are read and shown again."""
    names = [path.name for path in (shared / "vectors/codec-fixtures/fixtures").iterdir()]
    texts = [name.removeprefix("cid-") for name in names if name.startswith("cid-")]
    texts = [text for text in texts if text not in ("arrayof", "mapof")]

    assert len(texts) > 10
    for text in texts:
        cid = cid_from_text(text)
        assert cid == cid_from_text(cid_text(cid))
        if text[0] in "bQ":
            assert text == cid_text(cid)
