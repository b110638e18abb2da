"""Forms of version 4 alone: collections in pages, values outside their record or row.
Source: docs/format.md#version-4."""

from __future__ import annotations

from typing import Any, Final

from pattern_stream.format import VALUE_PIECE_BYTES
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.mapping.wire_values import (
    U64,
    Wrong,
    describe_value,
    expect_map,
    integer,
    join,
    links,
    malformed,
    typed,
)
from pattern_stream.schema.model.cells import External, movable_fields
from pattern_stream.schema.model.nodes import (
    AgentPage,
    AttachmentPage,
    Edge,
    EntryPage,
    GroupPage,
    LinkPage,
    MemberIdPage,
    MemberPage,
    NodeType,
    SnapshotChunk,
    ValueChunk,
)
from pattern_stream.schema.model.records import Record

EXTERNAL: Final = "external"
"""The key, of a record or of a cell, that says where values went."""

PAGES: Final[frozenset[type[NodeType]]] = frozenset(
    {LinkPage, AttachmentPage, MemberPage, MemberIdPage, AgentPage, EntryPage, GroupPage}
)

REPEATABLE: Final[frozenset[type[NodeType]]] = PAGES | {SnapshotChunk, ValueChunk}
"""Nodes that may be equal to others of their archive without being the same thing; such a block goes out once."""


@dataclass(frozen=True, slots=True)
class Paged:
    """A collection as a node has it that gave it away: how many elements there are, and the CIDs of its pages."""

    count: int
    cids: list[bytes]


def collection_edge(page: type[NodeType]) -> Edge:
    """The edge of a type of pages that holds the elements."""
    return next(edge for edge in page.edges if edge.name != "index")


def is_paged(edge: Edge, value: Any) -> bool:
    """Whether a collection stands in pages. # Trap: a map of links may have an id `pages`, but no array under it."""
    if edge.page is None or type(value) is not dict:
        return False
    return edge.kind != "link_map" or type(value.get("pages")) is list


def check_paged(value: dict[str, Any]) -> Paged:
    """The map that stands for a collection in pages. Raises Wrong."""
    for key in ("count", "pages"):
        if key not in value:
            raise Wrong(f"found a map without {key}, expected an array or its pages")
    return Paged(integer(value["count"], 0, U64), links(value["pages"]))


def check_external(value: Any, *, text: bool | None = None) -> External:
    """Where a value went; `text` None: it says itself whether it is TEXT. Raises Wrong.

    The number of pieces follows from the length, so no length is believed that the links do not bear out.
    """
    found = typed(value, dict)
    for key in ("bytes", "chunks", *(("text",) if text is None else ())):
        if key not in found:
            raise Wrong(f"found no {key} of a value that was moved out, which must be there")
    size, cids = integer(found["bytes"], 1, U64), links(found["chunks"])
    if len(cids) != (expected := -(-size // VALUE_PIECE_BYTES)):
        raise Wrong(f"found {len(cids)} pieces of a value of {size} bytes, expected {expected}")
    return External(size, typed(found["text"], bool) if text is None else text, tuple(cids))


def lift_external(record: type[Record], value: dict[str, Any], path: str) -> tuple[dict[str, Any], dict[str, External]]:
    """A record's map with something allowed in place of what was moved out, and what was. Raises MalformedNode."""
    place = join(path, EXTERNAL)
    expect_map(value[EXTERNAL], place)
    movable = movable_fields(record)
    moved: dict[str, External] = {}
    for name, content in value[EXTERNAL].items():
        try:
            if name not in movable:
                raise Wrong(f"found {name!r} moved out, expected one of {', '.join(movable) or 'none'}")
            if value.get(name) is not None:
                raise Wrong(f"found {describe_value(value[name])} beside what was moved out, expected null")
            moved[name] = check_external(content, text=True)
        except Wrong as error:
            raise malformed(error, content, join(place, name)) from error
    stand_ins = {
        field.name: "" if field.kind == "text" else None for field in record.wire_fields() if field.name in moved
    }
    return value | stand_ins, moved
