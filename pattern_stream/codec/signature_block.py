"""The block of a signature: which root was signed, for what purpose, and the signature in its binary form."""

from __future__ import annotations

from typing import Final

from pattern_stream.codec.dagcbor import decode, encode_node
from pattern_stream.codec.link import Link
from pattern_stream.errors import ArchiveError
from pattern_stream.quick_dataclass import dataclass

SIGNATURE_HEAD: Final = b"\xa3\x64root\xd8\x2a\x58\x25\x00"
"""How every such block begins, and no other: a map of three whose first key is `root`.

Source: docs/format.md#signatures.
"""

MOST_SIGNATURES: Final = 16
MOST_SIGNATURE_BYTES: Final = 16 * 1024
"""Of one archive, and of one block: more are blocks like any other that nothing links to."""

_KEYS: Final = {"root", "sshsig", "namespace"}


@dataclass(frozen=True, slots=True)
class SignatureBlock:
    """What such a block says. `sshsig`: the signature without armor."""

    root: bytes
    namespace: str
    sshsig: bytes

    def encoded(self) -> bytes:
        """The bytes of the block."""
        return encode_node({"root": Link(self.root), "sshsig": self.sshsig, "namespace": self.namespace})


def is_signature(data: bytes | memoryview) -> bool:
    """Whether a block looks like one of a signature, by its beginning and size."""
    return len(data) <= MOST_SIGNATURE_BYTES and data[: len(SIGNATURE_HEAD)] == SIGNATURE_HEAD


def decode_signature(data: bytes) -> SignatureBlock | None:
    """What a block says, None where it is none of a signature after all."""
    try:
        value = decode(data)
    except ArchiveError:
        return None
    if value.keys() != _KEYS or not isinstance(value["sshsig"], bytes) or not isinstance(value["namespace"], str):
        return None
    return SignatureBlock(value["root"].cid, value["namespace"], value["sshsig"])
