"""Nodes put together from encoded pieces, so that a record is encoded once and a list of links costs 41 bytes each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pattern_stream.codec import dagcbor
from pattern_stream.codec.cid import cid_of
from pattern_stream.format import MAX_BLOCK_BYTES, SNAPSHOT_CHUNK_BYTES
from pattern_stream.items import Block, Draft
from pattern_stream.schema.model.nodes import NodeType
from pattern_stream.schema.model.records import canonical

NULL: Final = dagcbor.encode_record(None)


def splice(fields: Mapping[str, bytes | Sequence[bytes]]) -> bytes:
    """A map from encoded values, whole or in pieces, keys in canonical order."""
    parts = [dagcbor.map_head(len(fields))]
    for name in sorted(fields, key=canonical):
        parts.append(dagcbor.text(name))
        value = fields[name]
        parts += (value,) if isinstance(value, bytes) else value
    return b"".join(parts)


def array(elements: Sequence[bytes]) -> bytes:
    """An array of encoded values."""
    return dagcbor.array_head(len(elements)) + b"".join(elements)


def link_array(cids: Sequence[bytes]) -> bytes:
    """An array of links."""
    return array([dagcbor.link(cid) for cid in cids])


def octets(data: bytes | None) -> bytes:
    """A whole byte string, or null."""
    return NULL if data is None else dagcbor.bytes_head(len(data)) + data


def encode_fields(fields: Mapping[str, Any]) -> dict[str, bytes]:
    """Plain values, each encoded by itself."""
    return {name: dagcbor.encode_record(value) for name, value in fields.items()}


def parts_key(node: type[NodeType]) -> str:
    """The key of a chunk under which its parts are."""
    return next(edge.name for edge in node.edges if edge.kind in ("records", "rows"))


def encode_chunk(draft: Draft, parts: Sequence[bytes]) -> bytes:
    """The node of a draft with these records or rows in it."""
    head = dagcbor.array_head(draft_count(draft, parts))
    return splice({**encode_fields(draft.fields), parts_key(draft.node): (head, *parts)})


def draft_count(draft: Draft, parts: Sequence[bytes]) -> int:
    """How many records or rows the parts of a draft are."""
    return len(parts) if draft.count is None else draft.count


def fits(data: bytes, limit: int = MAX_BLOCK_BYTES) -> bool:
    """Whether a node may be a block as it is: small enough, and not of more arrays and maps than can be read back."""
    return len(data) <= limit and dagcbor.is_readable(data)


def document_blocks(document: bytes) -> list[Block]:
    """A memory document in pieces, each linking to the next, so made from the last to the first; an empty one has none.
    Source: docs/format.md#snapshot-chunks."""
    following: bytes | None = None
    blocks: list[Block] = []
    starts = range(0, len(document), SNAPSHOT_CHUNK_BYTES)
    for index, start in reversed(list(enumerate(starts))):
        data = document[start : start + SNAPSHOT_CHUNK_BYTES]
        next_cid = NULL if following is None else dagcbor.link(following)
        encoded = splice({"data": octets(data), "index": dagcbor.integer(index), "next_cid": next_cid})
        following = cid_of(encoded)
        blocks.append(Block(following, encoded))
    return blocks[::-1]
