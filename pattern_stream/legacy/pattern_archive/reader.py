"""Archives of versions 1 and 2 as a source: recognised by their root, gathered on disk, given as rows of today."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from typing import Any, Final

from anyio import lowlevel

from pattern_stream.codec.cid import cid_text
from pattern_stream.errors import ArchiveError, UsageError
from pattern_stream.format import BATCH_BYTES, BATCH_ROWS
from pattern_stream.items import Close, Open, OpenConstellation, OpenMemoryBlock, Progress, Ref, Row, RowEvent, Rows
from pattern_stream.legacy.conversion import Conversion, Issue, Provenance
from pattern_stream.legacy.pattern_archive.gather import CONSTELLATION, Gatherer
from pattern_stream.legacy.pattern_archive.records import NIL_ID, Mapper
from pattern_stream.legacy.pattern_archive.root import read_header, root_kind
from pattern_stream.legacy.pattern_archive.sections import Sections
from pattern_stream.legacy.pattern_archive.store import Store, StoredMemory
from pattern_stream.legacy.source import LegacyInput, ReadOptions
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.mapping.instants import instant_to_wire
from pattern_stream.schema.model.nodes import AgentExport, GroupExport, GroupExportThin, MemoryBlockExport
from pattern_stream.schema.model.records import (
    ArchivalEntry,
    ArchiveSummary,
    Group,
    Member,
    MemoryBlock,
    Message,
    SharedAttachment,
)

FORMAT: Final = "pattern-archive"


class PatternArchive:
    """Reads archives of Pattern's versions 1 and 2, all variants."""

    noun = "an archive of Pattern, version 1 or 2"

    def recognise(self, given: LegacyInput) -> bool:
        """Whether it is an archive at all: one of today gets an error of its own."""
        try:
            read_header(given.head)
        except ArchiveError:
            return False
        return True

    async def open(self, given: LegacyInput, options: ReadOptions, conversion: Conversion) -> OldArchive:
        """Hash all, and gather it on disk. Raises UsageError for an archive of today."""
        if root_kind(given.head) == "today":
            raise UsageError("archive is of the present format, expected version 1 or 2: there is nothing to convert")
        store = given.enter(Store(options.folders))
        sections = Sections(await given.file(), store)
        for done in sections.scan():
            if options.progress is not None:
                options.progress(Progress("convert", done, sections.size, "bytes"))
            await lowlevel.checkpoint()
        mapper = Mapper(conversion)
        gatherer = Gatherer(sections, store, mapper, conversion)
        for _ in gatherer.gather():
            await lowlevel.checkpoint()
        conversion.facts["archive"] = {
            "bytes": sections.size,
            "sections": sections.count,
            "repeated": sections.repeated,
        }
        return OldArchive(gatherer, options, conversion)


@dataclass(slots=True)
class OldArchive:
    """An old archive whose content lies in its store. `rows` gives it in the order of an export of today."""

    gatherer: Gatherer
    options: ReadOptions
    conversion: Conversion

    @property
    def provenance(self) -> Provenance:
        """Version, variant, the root's CID, and the time of the old export.

        An archive of variant 1a tells no time: it gets the newest that a program wrote into it.
        """
        gatherer = self.gatherer
        told = gatherer.manifest.get("exported_at")
        if isinstance(told, str):
            at = instant_to_wire(gatherer.mapper.instant(gatherer.manifest, "exported_at", "manifest"))
        else:
            at = instant_to_wire(gatherer.mapper.newest) if gatherer.mapper.newest else self.options.now
        return Provenance(
            FORMAT,
            f"{gatherer.scope} archive of Pattern, version {gatherer.manifest.get('version', 1)} ({gatherer.variant})",
            at,
            gatherer.manifest.get("version", 1),
            gatherer.variant,
            cid_text(gatherer.sections.root),
        )

    async def rows(self) -> AsyncGenerator[RowEvent]:
        """The rows as events. Memory: one batch, one id per label of an agent."""
        tree = _Tree(self.gatherer, self.options, self.conversion, self.provenance)
        for event in tree.events():
            yield event
            await lowlevel.checkpoint()


@dataclass(slots=True)
class _Tree:
    """The tree of an old archive, walked in the order of an export of today."""

    gatherer: Gatherer
    options: ReadOptions
    conversion: Conversion
    provenance: Provenance

    @property
    def _store(self) -> Store:
        return self.gatherer.store

    @property
    def _mapper(self) -> Mapper:
        return self.gatherer.mapper

    def events(self) -> Iterator[RowEvent]:
        """All of it."""
        if self.gatherer.scope == "agent":
            for agent in self._store.agents():
                yield from self._agent(agent)
        elif self.gatherer.scope == "group":
            for group in self._store.things(Group.table):
                yield from self._group(group)
        else:
            yield from self._constellation()

    def _constellation(self) -> Iterator[RowEvent]:
        own = next(self._store.things(CONSTELLATION), {})
        self.conversion.facts["constellation"] = {key: own[key] for key in own if key not in ("agents", "groups")}
        yield OpenConstellation(owner_id=str(own.get("owner_id", "")))
        for agent in self._store.agents():
            yield from self._agent(agent, linkable=True)
        for group in self._store.things(Group.table):
            yield from self._group(group, thin=True)
        yield from self._attachments(None)
        for agent in self._store.agents():
            if not self._store.is_grouped(str(agent["id"])):
                yield Ref(AgentExport, "standalone_agent_cids", str(agent["id"]))
        yield Close()

    def _agent(self, agent: dict[str, Any], *, linkable: bool = False) -> Iterator[RowEvent]:
        agent_id = str(agent["id"])
        memberships = [
            {key: value for key, value in own.items() if key not in ("agents", "groups")} | {"membership": membership}
            for own in self._store.things(CONSTELLATION)
            for holder_id, membership in self._store.memberships(agent_id)
            if holder_id == own["id"]
        ]
        row = self._mapper.agent(agent, self.provenance, memberships)
        yield Open(AgentExport, row, agent_id if linkable else None)
        for stored in self._store.memories(agent_id):
            if stored.owner_id == agent_id and not self._is_entry(stored):
                yield from self._memory_block(stored, agent, linkable=linkable)
        self._mapper.forget_names(f"label {agent_id}")
        for batch in self._store.messages(agent_id):
            yield Rows(Message, batch)
        yield from self._entries(agent_id)
        if (summary := self._mapper.summary(agent)) is not None:
            yield Rows(ArchiveSummary, [summary])
        yield Close()

    def _is_entry(self, stored: StoredMemory) -> bool:
        """Whether a memory becomes an archival entry. What several agents share stays a block, which can be shared."""
        is_archival = stored.pair[0].get("memory_type") == "archival" and self.options.archival == "entries"
        return is_archival and stored.agents == 1

    def _memory_block(self, stored: StoredMemory, agent: dict[str, Any], *, linkable: bool) -> Iterator[RowEvent]:
        block = stored.pair[0]
        row = self._mapper.memory_block(stored.pair, agent, self.provenance)
        label, block_id = row[MemoryBlock.index("label")], str(block["id"])
        if label != block["label"]:
            found = f"agent {stored.owner_id} has several memory blocks labelled {block['label']!r}"
            done, others = f"this one is now labelled {label!r}", ("merge_with", "delete", "keep_both")
            evidence = {"label": block["label"], "value": block.get("value")}
            self.conversion.issue(
                Issue("duplicate-label", "warning", MemoryBlock.table, block_id, found, done, others, evidence)
            )
        if stored.agents > 1 and block.get("memory_type") == "archival" and self.options.archival == "entries":
            why = "several agents share the archival memory: it stays a block, since an entry cannot be shared"
            self.conversion.change(MemoryBlock.table, "archival-shared", why, block_id)
        yield OpenMemoryBlock(row, block_id if linkable and stored.agents > 1 else None)
        yield Close()

    def _entries(self, agent_id: str) -> Iterator[RowEvent]:
        batch: list[Row] = []
        size = 0
        for stored in self._store.newest_entries(agent_id):
            if self._is_entry(stored):
                row = self._mapper.entry(stored.pair, agent_id, self.provenance)
                batch.append(row)
                size += len(row[ArchivalEntry.index("content")])
                why = "an archival memory is an archival entry now, whose metadata has its label and the rest"
                self.conversion.change(ArchivalEntry.table, "archival-as-entry", why, str(stored.pair[0]["id"]))
            if len(batch) >= BATCH_ROWS or size >= BATCH_BYTES:
                yield Rows(ArchivalEntry, batch)
                batch, size = [], 0
        if batch:
            yield Rows(ArchivalEntry, batch)

    def _group(self, group: dict[str, Any], *, thin: bool = False) -> Iterator[RowEvent]:
        group_id = str(group["id"])
        rest, members = dict[str, Any](), list[Row]()
        for agent_id, membership in self._store.members(group_id):
            kept = {
                k: v for k, v in membership.items() if k not in ("in_id", "out_id", "joined_at", "role", "capabilities")
            }
            if kept.get("id") == NIL_ID:
                del kept["id"]
            if self._store.agent(agent_id) is None:
                kept = dict(membership)
                found = f"member {agent_id} of the group is not in the archive"
                done = "the membership stands in the group's configuration only"
                self.conversion.issue(Issue("missing-member", "warning", Group.table, group_id, found, done))
            else:
                members.append(self._mapper.member(membership, group_id, agent_id))
            if kept != {"is_active": True}:
                rest[agent_id] = kept
        row = self._mapper.group(group, rest, self.provenance)
        yield Open(GroupExportThin if thin else GroupExport, row)
        for at in range(0, len(members), BATCH_ROWS):
            yield Rows(Member, members[at : at + BATCH_ROWS])
        if thin:
            for member in members:
                yield Ref(AgentExport, "agent_cids", member[Member.index("agent_id")])
            for block_id in self._store.shared_into(group_id):
                yield Ref(MemoryBlockExport, "shared_memory_cids", block_id)
            yield from self._attachments(group_id)
        else:
            for agent in self._store.agents():
                yield from self._agent(agent)
            yield from self._attachments(None)
        yield Close()

    def _attachments(self, group_id: str | None) -> Iterator[RowEvent]:
        """The attachments of all agents, or of a group's members."""
        batch: list[Row] = []
        for block_id, agent_id, relation in self._store.attached(group_id):
            batch.append(self._mapper.attachment(block_id, agent_id, relation))
            if len(batch) == BATCH_ROWS:
                yield Rows(SharedAttachment, batch)
                batch = []
        if batch:
            yield Rows(SharedAttachment, batch)
