"""What passed, in the terms of the manifest's statistics, and whether the manifest agrees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pattern_stream.errors import ArchiveError, Finding, StatsMismatch, Where
from pattern_stream.items import Node
from pattern_stream.schema.checks.version_4 import Paged
from pattern_stream.schema.model.nodes import (
    AgentExport,
    ArchivalEntryExport,
    ArchiveSummaryExport,
    GroupConfigExport,
    GroupExport,
    GroupExportThin,
    MemoryBlockExport,
    MessageChunk,
    NodeType,
)

COUNTED: Final[dict[type[NodeType], str]] = {
    AgentExport: "agent_count",
    GroupExport: "group_count",
    GroupExportThin: "group_count",
    GroupConfigExport: "group_count",
    MemoryBlockExport: "memory_block_count",
    MessageChunk: "chunk_count",
    ArchivalEntryExport: "archival_entry_count",
    ArchiveSummaryExport: "archive_summary_count",
}
"""The statistic that counts a type of node. Source: docs/format.md#statistics."""
_OURS: Final = "pattern-stream"


class ArchiveStatistics:
    """Counts of a walk.

    `sections` and `data_bytes` (lengths of the blocks) are of every section, `met` and `met_bytes` of each block that
    a link from the root led to, once: a section that another tool repeated or added is no loss.
    """

    def __init__(self) -> None:
        self.sections = 0
        self.data_bytes = 0
        self.met = 0
        self.met_bytes = 0
        self.distinct_blocks = 0
        self.unreferenced = 0
        self.counts: Counter[str] = Counter()
        self.again: Counter[type[NodeType]] = Counter()
        self._top_bytes = 0
        self._top_nodes = 0

    @property
    def duplicates(self) -> int:
        """Sections whose block stood in the archive before."""
        return self.sections - self.distinct_blocks

    def count_section(self, size: int) -> None:
        """One more section, of `size` bytes of data."""
        self.sections += 1
        self.data_bytes += size

    def count_met(self, size: int) -> None:
        """One more block that a link led to, of `size` bytes, for the first time."""
        self.met += 1
        self.met_bytes += size

    def count(self, node: Node) -> None:
        """One more node."""
        if (key := COUNTED.get(node.node)) is not None:
            self.counts[key] += 1
        if node.node is MessageChunk:
            self.counts["message_count"] += len(node.value["messages"])
        elif node.node is GroupConfigExport:
            ids = node.value["member_agent_ids"]
            self.counts["agent_count"] = ids.count if isinstance(ids, Paged) else len(ids)
        if self._top_nodes < 2:  # the manifest and the data node, which the statistics leave out
            self._top_nodes += 1
            self._top_bytes += node.size_bytes

    def count_again(self, node: type[NodeType]) -> None:
        """One more link to a node that was counted before."""
        self.again[node] += 1

    def finish(self, unreferenced: int) -> None:
        """The end: how many blocks nothing links to."""
        self.distinct_blocks = self.met + unreferenced
        self.unreferenced = unreferenced

    def stats(self, manifest: Mapping[str, Any]) -> dict[str, int]:
        """The nine statistics as the manifest should have them. Programs of others count repeated sections too."""
        blocks, size = (self.met, self.met_bytes) if is_ours(manifest) else (self.sections, self.data_bytes)
        sections = {"total_blocks": blocks - self._top_nodes, "total_bytes": size - self._top_bytes}
        return {key: self.counts[key] for key in (*_KINDS, "message_count")} | sections

    def compare(self, manifest: Mapping[str, Any]) -> Iterator[Finding | ArchiveError]:
        """Where the manifest disagrees: an error in our own archives, a warning in others.

        # Trap: the original counts memory blocks that it writes by two routes twice, and the Letta converter counts in
        its own way, so in their archives a mismatch alone proves nothing. Source: docs/format.md#statistics.
        """
        found = self.stats(manifest)
        stated = manifest["stats"]
        differing = [key for key in stated if stated[key] != found[key]]
        ours = is_ours(manifest)
        if differing:
            said = ", ".join(f"{key} is {stated[key]}, found {found[key]}" for key in differing)
            yield _difference(f"manifest and content disagree: {said}", "stats", ours)
        if ours and manifest.get("section_count", self.met) != self.met:
            message = f"manifest says {manifest['section_count']} distinct sections, found {self.met}"
            yield _difference(message, "section_count", ours)
        if ours and self.duplicates:
            message = f"{self.duplicates} sections repeat a block that stands in the archive already, and were ignored"
            yield Finding("warning", "repeated-sections", message, Where(stage="walk"))


def is_ours(manifest: Mapping[str, Any]) -> bool:
    """Whether this program made the archive of a manifest, and not Pattern itself or another tool."""
    return str(manifest.get("created_by", "")).startswith(_OURS)


_KINDS: Final = tuple(dict.fromkeys(COUNTED.values()))


def _difference(message: str, field: str, ours: bool) -> Finding | ArchiveError:
    where = Where(stage="walk", field=field)
    if ours:
        return StatsMismatch(message, where=where)
    return Finding("warning", "stats-mismatch", message, where)
