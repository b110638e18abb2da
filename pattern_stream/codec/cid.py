"""CIDs: raw bytes inside, text only where a person sees or types one. Source: docs/format.md#cids.

Ours are always CIDv1, dag-cbor, blake3-256: 36 bytes. CIDs of other people's archives are split off and shown whatever
they are; `require_supported` refuses them by name. multiformats takes 0.1 s to import, so it is imported where a person
waits, never in the line.
"""

from __future__ import annotations

from base64 import b32encode
from typing import Final, NamedTuple

from blake3 import blake3

from pattern_stream.codec.varint import decode_varint
from pattern_stream.errors import DigestMismatch, MalformedSection, UnsupportedCid, UsageError, Where
from pattern_stream.format import CID_BYTES, CID_PREFIX

_V0_PREFIX: Final = b"\x12\x20"
"""A CIDv0 is a bare sha2-256 multihash. Source: multiformats/cid."""

_V0_BYTES: Final = 34
_DAG_PB: Final = 0x70
_SHA2_256: Final = 0x12
_RESERVED_VERSIONS: Final = (2, 3)
_EXPECTED: Final = "v1, codec dag-cbor (0x71), hash blake3 (0x1e) of 32 bytes"


class CidParts(NamedTuple):
    """The parts of a CID. `version` 0 implies dag-pb and sha2-256."""

    version: int
    codec: int
    hash_code: int
    digest: bytes


def cid_of(data: bytes | bytearray | memoryview) -> bytes:
    """The CID of a block's data: v1, dag-cbor, blake3-256."""
    return CID_PREFIX + blake3(data).digest()


def is_supported(cid: bytes) -> bool:
    """Whether a CID is v1, dag-cbor, blake3-256 and whole."""
    return len(cid) == CID_BYTES and cid.startswith(CID_PREFIX)


def require_supported(cid: bytes, *, where: Where | None = None) -> None:
    """Pass a CID that this format uses, refuse any other by name.

    Raises:  UnsupportedCid: another version, codec or hash.
             MalformedSection: no CID at all.
    """
    if not is_supported(cid):
        place = (where or Where()).filled(Where(cid=cid_text(cid)))
        raise UnsupportedCid(describe_unsupported(cid), where=place)


def describe_unsupported(cid: bytes) -> str:
    """The difference of a CID from ours, by name. Raises as `cid_parts` does."""
    parts = cid_parts(cid)
    found = f"v{parts.version}, codec {_named(parts.codec)}, hash {_named(parts.hash_code)}"
    return f"CID has {found} of {len(parts.digest)} bytes, expected {_EXPECTED}"


def require_digest(cid: bytes, data: bytes, *, where: Where | None = None) -> None:
    """Pass data that hashes to its (supported) CID.

    Raises:  DigestMismatch: it does not.
    """
    found = cid_of(data)
    if found != cid:
        place = (where or Where()).filled(Where(cid=cid_text(cid)))
        message = f"block of {len(data)} bytes hashes to {cid_text(found)}, expected its CID {cid_text(cid)}"
        raise DigestMismatch(message, where=place)


def split_cid(data: bytes | bytearray | memoryview, offset: int = 0) -> tuple[bytes, int]:
    """The CID, of any kind, that starts at `offset`, and the offset after it.

    Raises:  MalformedSection: the data ends inside the CID, or there is none.
             UnsupportedCid: a later version.
    """
    _, end = _parse(data, offset)
    return bytes(data[offset:end]), end


def cid_parts(cid: bytes) -> CidParts:
    """Version, codec, hash and digest of exactly one CID.

    Raises:  MalformedSection: it is none, or more follows.
             UnsupportedCid: a later version.
    """
    parts, end = _parse(cid, 0)
    if end != len(cid):
        raise MalformedSection(f"{len(cid)} bytes where a CID of {end} bytes was expected")
    return parts


def cid_text(cid: bytes) -> str:
    """The usual text of any CID: base32 lower case, or base58btc without prefix for version 0."""
    if cid.startswith(_V0_PREFIX) and len(cid) == _V0_BYTES:
        from multiformats import multibase

        return multibase.encode(cid, "base58btc")[1:]
    return "b" + b32encode(cid).decode("ascii").lower().rstrip("=")


def cid_from_text(text: str) -> bytes:
    """The bytes of a CID in any multibase, or of a bare base58btc version 0.

    Raises:  UsageError: the text is no CID.
             UnsupportedCid: a later version.
    """
    from multiformats import multibase

    bare = text.startswith("Qm") and len(text) == 46
    try:
        cid = multibase.decode("z" + text if bare else text)
        version = cid_parts(cid).version
    except (ValueError, KeyError, MalformedSection) as error:
        raise UsageError(f"{text!r} is no CID, expected text like bafyr4i...") from error
    if (version == 0) is not bare:
        raise UsageError(f"{text!r} is no CID: version 0 is written bare in base58btc, and only version 0")
    return bytes(cid)


def _parse(data: bytes | bytearray | memoryview, start: int) -> tuple[CidParts, int]:
    if data[start : start + 2] == _V0_PREFIX:
        end = start + _V0_BYTES
        return CidParts(0, _DAG_PB, _SHA2_256, _digest(data, start + 2, end)), end
    version, at = _field(data, start, "version")
    if version in _RESERVED_VERSIONS:
        raise UnsupportedCid(f"CID has version {version}, expected {_EXPECTED}")
    if version != 1:
        raise MalformedSection(f"CID starts with {version}, expected its version, 1")
    codec, at = _field(data, at, "codec")
    hash_code, at = _field(data, at, "hash")
    length, at = _field(data, at, "digest length")
    return CidParts(1, codec, hash_code, _digest(data, at, at + length)), at + length


def _field(data: bytes | bytearray | memoryview, at: int, name: str) -> tuple[int, int]:
    found = decode_varint(data, at)
    if found is None:
        raise MalformedSection(f"data ends inside a CID, expected its {name}")
    return found


def _digest(data: bytes | bytearray | memoryview, at: int, end: int) -> bytes:
    if end > len(data):
        raise MalformedSection(f"data ends inside a CID, expected a digest of {end - at} bytes, found {len(data) - at}")
    return bytes(data[at:end])


def _named(code: int) -> str:
    from multiformats import multicodec

    try:
        return f"{multicodec.get(code=code).name} (0x{code:02x})"
    except (KeyError, ValueError):
        return f"unknown (0x{code:02x})"
