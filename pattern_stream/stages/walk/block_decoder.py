"""From the bytes of a block to a node of its type, checked against its declaration and against what links to it."""

from __future__ import annotations

from collections.abc import Container, MutableMapping
from functools import partial
from typing import Any, Final

from pattern_stream.codec.cid import cid_text
from pattern_stream.codec.counted_arrays import count_array
from pattern_stream.codec.large_values import decode_large
from pattern_stream.errors import Finding, Report, UnknownLink, Where
from pattern_stream.items import Counted, MadeRows, Node, Section
from pattern_stream.schema.checks.check_nodes import check_node
from pattern_stream.schema.checks.message_chunks import make_rows
from pattern_stream.schema.checks.unknown_keys import unknown_keys, unknown_links
from pattern_stream.schema.checks.versions import check_data_version, check_version, data_node_type, is_version_4
from pattern_stream.schema.model.nodes import (
    EXTENSIONS,
    HISTORY_TABLES,
    ExportManifest,
    MessageChunk,
    NodeType,
    ValueChunk,
)
from pattern_stream.schema.model.records import Message
from pattern_stream.stages.walk.expectations import RowsOf
from pattern_stream.stages.walk.pending_links import Links

_LINK_HEAD: Final = b"\xd8\x2a"
"""What every link starts with: tag 42."""

TOP: Final = "the manifest"
"""The parent of the data node."""


class BlockDecoder:
    """Reads blocks of one archive. The manifest comes first: `is_version_4` is then whether it is of version 4.

    `made`: what others made of chunks of messages already, by CID; what is used is taken out of it. All others are made
    into rows here then, or `with_rows` False only checked and counted. None: messages are decoded as any other block.
    `only_counted`: types of leaves whose records and rows are counted instead of decoded.
    """

    def __init__(
        self,
        report: Report,
        *,
        drop_unknown: bool,
        made: MutableMapping[bytes, MadeRows] | None = None,
        with_rows: bool = True,
        only_counted: Container[type[NodeType]] = (),
    ) -> None:
        self.is_version_4 = False
        self.manifest: dict[str, Any] | None = None
        self._report = report
        self._drop_unknown = drop_unknown
        self._made = made
        self._with_rows = with_rows
        self._only_counted = only_counted

    def read(self, links: Links, section: Section) -> Node:
        """The node of a block that is wanted. Raises ArchiveError."""
        if links.node in self._only_counted and (counted := self._count(links, section)) is not None:
            return Node(links.node, counted, section.cid, section.offset, len(section.data))
        node = links.node
        if node is MessageChunk and (made := self._made_rows(section)) is not None:
            return Node(node, made.fields | {"messages": made}, section.cid, section.offset, len(section.data))
        value = decode_large(section.data)
        at_top = node is ExportManifest or links.parent == TOP
        if node is ExportManifest:
            check_version(value)
            self.is_version_4 = is_version_4(value["version"])
        elif at_top and self.manifest is not None:
            node = data_node_type(self.manifest["export_type"], value)
        checked = check_node(node, value, version_4=self.is_version_4)
        if node is ExportManifest:
            self.manifest = checked
        elif at_top and self.manifest is not None:
            check_data_version(self.manifest, checked)
        self._look_for_unknown(node, value, section, at_top=at_top)
        if links.expected is not None:
            links.expected.take(node, checked)
        if node is ValueChunk:
            checked["of"] = links.of
        return Node(node, checked, section.cid, section.offset, len(section.data))

    def _made_rows(self, section: Section) -> MadeRows | None:
        """The rows of a chunk; None where nobody wants them made, or it has to be decoded, which may find a fault."""
        if self._made is None or (self.is_version_4 and _LINK_HEAD in section.data):
            return None
        if (made := self._made.pop(section.cid, None)) is not None:
            return made
        found = make_rows(section.data, with_rows=self._with_rows)
        return None if found is None else MadeRows(found.fields, found.message_count, partial(iter, found.batches))

    def _count(self, links: Links, section: Section) -> dict[str, Any] | None:
        """The value of a leaf, which begins with Counted. None where it has to be decoded: it may lead to other blocks,
        it has deleted messages, which are counted by agent, or it is not plainly of its type.
        """
        node, data, expected = links.node, section.data, links.expected
        if (self.is_version_4 or node in EXTENSIONS) and _LINK_HEAD in data:
            return None
        if node.record is not None:
            return {"records": Counted(node.record, 1)}
        if isinstance(expected, RowsOf) and expected.table == Message.table:
            return None
        is_messages = node is MessageChunk
        if (found := count_array(data, node.keys, ends=is_messages)) is None:
            return None
        name = node.keys[0]
        checked = check_node(node, found.fields | {name: found.ends}, version_4=self.is_version_4)
        if is_messages and checked["message_count"] != found.length:
            return None
        kind = Message if is_messages else HISTORY_TABLES.get(node) or checked["table"]
        value = {name: Counted(kind, found.length, checked.pop(name)), **checked}
        if expected is not None:
            expected.take(node, value)
        return value

    def _look_for_unknown(self, node: type[NodeType], value: dict[str, Any], section: Section, *, at_top: bool) -> None:
        """Name unknown keys. Raises UnknownLink: one of version 4 leads to further blocks, which would be lost."""
        found = dict.fromkeys(unknown_keys(node, value)) if at_top else {}
        if self.is_version_4 and _LINK_HEAD in section.data:
            found |= dict.fromkeys(unknown_links(node, value), "with links")
        for key, links in found.items():
            where = Where(stage="walk", offset=section.offset, cid=cid_text(section.cid), field=key)
            message = f"{node.__name__} has the unknown key {key!r}"
            if links is not None and not self._drop_unknown:
                raise UnknownLink(f"{message}, which leads to further blocks", where=where)
            self._report(Finding("warning", "unknown-key", message, where))
