"""The parts of an archive as entries for a person, gathered while it passes, and what looks wrong about them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from itertools import chain
from typing import Any, Final, NamedTuple

from pattern_stream.errors import DamagedDocument, DocumentTooLarge, Finding, LimitExceeded, Where
from pattern_stream.items import (
    CELLS_TABLE,
    Cells,
    Close,
    Counted,
    Node,
    Open,
    OpenGroupConfig,
    OpenMemoryBlock,
    OpenTable,
    RecordDict,
    RecordEvent,
    Records,
    Ref,
    WalkEvent,
)
from pattern_stream.memory.sandbox import Sandbox
from pattern_stream.pipelines.results import FindingLog
from pattern_stream.schema.mapping.instants import instant_sort_key
from pattern_stream.schema.model.cells import Large, in_short
from pattern_stream.schema.model.nodes import (
    AgentExport,
    ArchivalEntryExport,
    ArchiveSummaryExport,
    CheckpointChunk,
    ConstellationExport,
    GroupConfigExport,
    GroupExport,
    GroupExportThin,
    History,
    MemoryBlockExport,
    MessageChunk,
    NodeType,
    TableChunk,
    TableExport,
    UpdateChunk,
)
from pattern_stream.schema.model.records import ArchivalEntry, ArchiveSummary, Member, Message, Record, SharedAttachment
from pattern_stream.stages.edit.check_documents import check_one, unchecked
from pattern_stream.streams import closing

PREVIEW_CHARS: Final = 200
"""How much of the first line of a memory block's text is shown."""

_GROUPS: Final = frozenset({GroupExport, GroupConfigExport, GroupExportThin})
_COUNTED: Final[dict[type[Record], str]] = {
    Message: "messages",
    ArchivalEntry: "archival_entries",
    ArchiveSummary: "archive_summaries",
}


NOT_SHOWN: Final[frozenset[type[NodeType]]] = frozenset(
    {MessageChunk, ArchivalEntryExport, ArchiveSummaryExport, TableChunk, UpdateChunk, CheckpointChunk}
)
"""Leaves of which a survey shows how many there are, and of messages when the first and the last were sent."""

_HISTORY: Final = {"memory_block_updates": "updates", "memory_block_checkpoints": "checkpoints"}


class ShownDocument(NamedTuple):
    """A memory document as the sandbox read it: whether nothing was ever written to it, and the text it shows."""

    empty: bool
    rendered: str | None


class Survey:
    """What was met so far. Memory: an entry for each agent, group and memory block.

    `ours`: whether this program made the archive, asked when the manifest has been read.
    """

    def __init__(self, log: FindingLog, sandbox: Sandbox, ours: Callable[[], bool]) -> None:
        self.agents: dict[str, dict[str, Any]] = {}
        self.groups: list[dict[str, Any]] = []
        self.unowned_blocks: list[dict[str, Any]] = []
        self.attachments = 0
        self.tables: dict[str, int] = {}
        self.cells = 0
        self.blocks_with_deleted_text = 0
        self._log = log
        self._sandbox = sandbox
        self._ours = ours
        self._open: list[type[NodeType]] = []
        self._agent: dict[str, Any] = {}
        self._block: dict[str, Any] = {}
        self._columns: tuple[str, ...] = ()
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._spans: dict[str, tuple[str, str]] = {}
        self._edits: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._blocks: set[str] = set()
        self._dangling: list[tuple[str, str, str]] = []

    async def count_leaves(self, events: AsyncIterator[WalkEvent]) -> AsyncGenerator[WalkEvent]:
        """Note how many message chunks each agent has, and what was only counted; pass everything else through."""
        agent_id = block_id = ""
        async with closing(events):
            async for event in events:
                if isinstance(event, Node):
                    if event.node is AgentExport:
                        agent_id = event.value["agent"]["id"]
                    elif event.node is MessageChunk:
                        self._counts[agent_id]["chunks"] += 1
                    elif event.node in (History, TableExport):
                        block_id = event.value["block_id"] if event.node is History else ""
                    counted = next(iter(event.value.values()), None) if event.node in NOT_SHOWN else None
                    if isinstance(counted, Counted):
                        if isinstance(counted.kind, str):
                            self._count_rows(counted.kind, counted.count, block_id)
                        else:
                            self._count(counted.kind, counted.count, counted.ends, agent_id)
                        continue
                yield event

    async def take(self, events: AsyncGenerator[RecordEvent]) -> None:
        """Take in a whole archive."""
        async with aclosing(events):
            async for event in events:
                await self._add(event)
        for agent_id, agent in self.agents.items():
            agent |= self._counts[agent_id]
            agent["first_message_at"], agent["last_message_at"] = self._spans.get(agent_id, (None, None))
        for block in chain(self.unowned_blocks, *(agent["memory_blocks"] for agent in self.agents.values())):
            if block["id"] in self._edits:
                block["history"] = dict(self._edits[block["id"]])
        self._name_dangling()

    async def _add(self, event: RecordEvent) -> None:
        if isinstance(event, Open):
            await self._start(event)
        elif isinstance(event, Records):
            self._add_records(event)
        elif isinstance(event, Cells):
            in_block = self._open[-1] is MemoryBlockExport
            self._count_rows(event.table, len(event.rows), self._block["id"] if in_block else "")
            if event.table == Message.table:
                self._count_deleted(event)
        elif isinstance(event, Close):
            self._open.pop()
        elif isinstance(event, Ref) and event.node is MemoryBlockExport and self._open[-1] in _GROUPS:
            self.groups[-1]["shared_blocks"] += 1

    async def _start(self, event: Open) -> None:
        if event.node is AgentExport:
            self._agent = self.agents[event.record["id"]] = _agent_entry(event.record)
        elif event.node in _GROUPS:
            self.groups.append(_group_entry(event))
        elif isinstance(event, OpenTable):
            self._columns = event.column_names
        elif isinstance(event, OpenMemoryBlock):
            self._keep_block(await self._block_entry(event), event.record)
        self._open.append(event.node)

    def _count_rows(self, table: str, count: int, block_id: str) -> None:
        if (key := _HISTORY.get(table)) is not None and block_id:
            self._edits[block_id][key] += count
        elif table == CELLS_TABLE:
            self.cells += count
        else:
            self.tables[table] = self.tables.get(table, 0) + count

    def _count_deleted(self, event: Cells) -> None:
        """Deleted messages by agent: of a whole backup, the rows of messages that version 3 has no place for."""
        owner, deleted = (self._columns.index(name) for name in ("agent_id", "is_deleted"))
        for row in event.rows:
            if row[deleted] and (agent := self.agents.get(row[owner])) is not None:
                agent["deleted_messages"] += 1

    def _keep_block(self, entry: dict[str, Any], record: RecordDict) -> None:
        self._blocks.add(entry["id"])
        parent = self._open[-1]
        if parent is AgentExport:
            self._block = entry
            self._agent["memory_blocks"].append(entry)
            return
        self._block = entry | {"owner_id": record["agent_id"]}
        self.unowned_blocks.append(self._block)
        if parent in _GROUPS:
            self.groups[-1]["shared_blocks"] += 1

    def _add_records(self, event: Records) -> None:
        if event.record in _COUNTED:
            self._count(event.record, len(event.records), event.records, self._agent["id"])
        elif event.record is Member:
            self._keep_members(event.records)
        elif event.record is SharedAttachment:
            self._keep_attachments(event.records)

    def _count(self, record: type[Record], count: int, known: Sequence[RecordDict], agent_id: str) -> None:
        """Records of an agent. `known`: those of which more than their number is known."""
        self._counts[agent_id][_COUNTED[record]] += count
        if record is Message and known:
            texts = [message["created_at"] for message in known]
            self._spans[agent_id] = _first_and_last([*self._spans.get(agent_id, ()), *texts])

    def _keep_members(self, members: list[RecordDict]) -> None:
        for member in members:
            self.groups[-1]["members"].append({"agent_id": member["agent_id"], "role": in_short(member["role"])})
            self._refer("group_members", member["group_id"], member["agent_id"])

    def _keep_attachments(self, attachments: list[RecordDict]) -> None:
        top = self._open[-1] is ConstellationExport
        if ConstellationExport in self._open and not top:
            return  # a group repeats what the constellation lists
        self.attachments += len(attachments)
        for attachment in attachments:
            self._refer("shared_block_agents", attachment["block_id"], attachment["agent_id"])
            if attachment["block_id"] not in self._blocks:
                self._dangling.append(("shared_block_agents", attachment["block_id"], attachment["block_id"]))

    def _refer(self, table: str, row_id: str, agent_id: str) -> None:
        """A reference to an agent that was not met yet: it may still come (members stand before agents)."""
        if agent_id not in self.agents:
            self._dangling.append((table, row_id, agent_id))

    def _name_dangling(self) -> None:
        for table, row_id, wanted in self._dangling:
            if wanted not in self.agents and wanted not in self._blocks:
                message = f"{wanted!r} is named, but is not in the archive"
                self._log.report(Finding("warning", "dangling-reference", message, Where(table=table, row_id=row_id)))

    # --- memory blocks --------------------------------------------------------------------------------------------

    async def _block_entry(self, event: OpenMemoryBlock) -> dict[str, Any]:
        block = event.record
        stored = None if type(block["content_preview"]) is Large else block["content_preview"]
        found = await self._look(event)
        text = stored if found is None or found.rendered is None else found.rendered
        if found is not None and found.empty and stored and stored != text and not self._ours():
            text = stored
            self._report_emptied(block, stored)
        return {
            "id": block["id"],
            "label": in_short(block["label"]),
            "block_type": block["block_type"],
            "permission": block["permission"],
            "snapshot_bytes": len(event.document or b""),
            "preview": _first_line(text),
        }

    def _report_emptied(self, block: RecordDict, preview: str) -> None:
        """# Trap: the original exports documents as they were created, without the edits
        (docs/format.md#flaws-of-pattern)."""
        message = (
            f"memory block {in_short(block['label'])!r} has an empty document, but its preview has {len(preview)} "
            "characters: the original program exported it without its edits"
        )
        where = Where(table="memory_blocks", row_id=block["id"])
        self._log.report(Finding("warning", "emptied-document", message, where))

    async def _look(self, event: OpenMemoryBlock) -> ShownDocument | None:
        try:
            found = await check_one(event, self._sandbox.check)
        except DocumentTooLarge as error:
            self._log.report(unchecked(event, error))
            return None
        except (DamagedDocument, LimitExceeded) as error:
            self._log.report(Finding.of(error))
            return None
        self.blocks_with_deleted_text += found.deleted_text
        return ShownDocument(found.empty, found.rendered)


def _agent_entry(record: RecordDict) -> dict[str, Any]:
    agent = {key: in_short(value) for key, value in record.items()}
    return {
        "id": agent["id"],
        "name": agent["name"],
        "status": agent["status"],
        "model": f"{agent['model_provider']}/{agent['model_name']}",
        "messages": 0,
        "deleted_messages": 0,
        "first_message_at": None,
        "last_message_at": None,
        "chunks": 0,
        "archival_entries": 0,
        "archive_summaries": 0,
        "memory_blocks": [],
    }


def _group_entry(event: Open) -> dict[str, Any]:
    group = {key: in_short(value) for key, value in event.record.items()}
    ids = event.member_agent_ids if isinstance(event, OpenGroupConfig) else ()
    members = [{"agent_id": agent_id, "role": None} for agent_id in ids]
    return {
        "id": group["id"],
        "name": group["name"],
        "pattern_type": group["pattern_type"],
        "members": members,
        "shared_blocks": 0,
    }


def _first_line(text: str | None) -> str | None:
    """The first line that is not blank, shortened."""
    if text is None:
        return None
    head = text[: 16 * PREVIEW_CHARS].lstrip()
    line = head.split("\n", 1)[0].rstrip()
    return line if len(line) <= PREVIEW_CHARS else line[: PREVIEW_CHARS - 1] + "…"


def _first_and_last(instants: Iterable[str]) -> tuple[str, str]:
    """The earliest and the latest. Without its Z a text of a four-digit year sorts as the instant does."""
    texts = list(instants)
    if all(text[0].isdigit() for text in texts):
        return min(texts, key=_without_zone), max(texts, key=_without_zone)
    return min(texts, key=instant_sort_key), max(texts, key=instant_sort_key)


def _without_zone(text: str) -> str:
    return text[:-1]
