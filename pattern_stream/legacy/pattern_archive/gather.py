"""From the sections of an old archive into its store: all variants of versions 1 and 2, told apart by their keys.

Keys are sorted on the wire, shortest first, so the first key of a block tells its type before the rest is read.
Source: docs/coming-from.md#versions-1-and-2.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import field
from itertools import chain
from typing import Any, Final

import orjson

from pattern_stream.codec.cid import cid_text
from pattern_stream.codec.link import Link
from pattern_stream.errors import MalformedSource, UnsupportedVersion, UsageError, Where
from pattern_stream.format import BATCH_BYTES, EXTENSION_KEY, FORMAT_VERSION
from pattern_stream.items import Row
from pattern_stream.legacy.conversion import Conversion, Issue
from pattern_stream.legacy.pattern_archive.cbor import Item
from pattern_stream.legacy.pattern_archive.records import Mapper, json_text, shared_message_id
from pattern_stream.legacy.pattern_archive.sections import Sections
from pattern_stream.legacy.pattern_archive.store import Store
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.mapping.instants import instant_sort_key
from pattern_stream.schema.model.records import Agent, Group, MemoryBlock, Message

Turns = Iterator[None]
"""Steps of work: between two of them others get their turn."""

TurnsForId = Generator[None, None, str]
"""Likewise, and an id at the end."""

Entries = Iterator[tuple[str, Item]]

_TURN: Final = 64
"""Messages or memory blocks that are taken in at a time."""

_ID_AT: Final = Message.index("id")
_CONTENT_AT: Final = Message.index("content_json")
_AGENT_AT: Final = Message.index("agent_id")
_METADATA_AT: Final = Message.index("source_metadata")
CONSTELLATION: Final = "constellations"
"""The kind of a constellation, which has no table."""


@dataclass(slots=True)
class Gatherer:
    """Walks an old archive from its root and keeps what it finds.

    Known when it is done: `variant` (`1a`, `1b`, `2`, `2a`, `2b`), `scope` (`agent`, `group`, `constellation`),
    `manifest` (empty for 1a), `scope_id` (of the agent, group or constellation).
    """

    sections: Sections
    store: Store
    mapper: Mapper
    conversion: Conversion
    variant: str = ""
    scope: str = ""
    scope_id: str = ""
    manifest: Mapping[str, Any] = field(default_factory=dict)

    def gather(self) -> Turns:
        """The whole archive. Raises UnsupportedVersion, UsageError for an archive of today, MalformedSource, ..."""
        for root in self.sections.item(self.sections.root, "the root"):
            first, entries = _peek(root)
            if first == "stats":
                self.manifest = {key: part.value() for key, part in entries}
            else:
                self.variant = "1a"
                yield from self._data(first, entries)
        if self.manifest:
            self._check_manifest()
            for data in self.sections.item(self._link(self.manifest.get("data_cid"), "data_cid"), "the manifest"):
                yield from self._data(*_peek(data))
            if not self.variant:
                self.variant = "1b" if self.manifest["version"] == 1 else "2a"
        yield from self._unused()
        self._look_for_losses()

    def _check_manifest(self) -> None:
        version = self.manifest.get("version")
        if type(version) is not int or "data_cid" not in self.manifest:
            raise MalformedSource("root is no manifest: found no version and data_cid", where=Where("convert"))
        if version >= FORMAT_VERSION:
            raise UsageError(f"archive is version {version}, expected 1 or 2: there is nothing to convert")
        if version not in (1, 2):
            raise UnsupportedVersion(f"archive is version {version}, expected 1 or 2")

    def _data(self, first: str, entries: Entries) -> Turns:
        """The block that the whole archive is about."""
        if first in ("id", "agent", "agent_cid"):
            self.scope = "agent"
            agent_id = yield from self._agent(first, entries)
            self.scope_id = agent_id
        elif first == "group":
            self.scope = "group"
            self.scope_id = yield from self._group(entries)
        elif first in ("groups", "constellation", "agent_export_cids"):
            self.scope = "constellation"
            yield from self._constellation(entries)
        else:
            raise MalformedSource(f"found a block that begins with the key {first!r:.40}", where=Where("convert"))

    # --- agents ------------------------------------------------------------------------------------------------------

    def _agent_block(self, cid: bytes) -> Turns:
        for item in self.sections.item(cid, "an agent"):
            yield from self._agent(*_peek(item))

    def _agent(self, first: str, entries: Entries) -> TurnsForId:
        """An agent in any of its forms; gives its id."""
        if first == "id":
            return (yield from self._record(entries))
        agent_id, chunks = "", list[bytes]()
        for key, part in entries:
            if key == "agent":
                self.variant = "1b"
                agent_id = yield from self._record(part.entries())
            elif key == "agent_cid":
                self.variant = self.variant or "2"
                for item in self.sections.item(self._link(part.value(), key), "an agent"):
                    agent_id = yield from self._record(item.entries())
            elif key in ("memory_chunk_cids", "message_chunk_cids"):
                chunks += [self._link(link, key) for link in _list(part.value(), key)]
            else:
                part.value()
        for cid in chunks:
            for item in self.sections.item(cid, f"agent {agent_id}"):
                yield from self._chunk(item.entries(), agent_id)
        return agent_id

    def _record(self, entries: Entries) -> TurnsForId:
        """An agent's own record, with the lists that versions of the old program put into it; gives the agent's id."""
        fields: dict[str, Any] = {}
        for key, part in entries:
            if key in ("memories", "messages"):
                agent_id = self.mapper.text(fields, "id", Agent.table)
                yield from self._pairs(key, part, agent_id)
            elif key in ("message_chunks", "memory_chunks"):
                part.value()  # the same links as beside the record
            else:
                fields[key] = part.value()
        agent_id = self.mapper.text(fields, "id", Agent.table)
        self.mapper.note_agent_times(fields)
        self.store.add_agent(agent_id, fields)
        yield
        return agent_id

    def _chunk(self, entries: Entries, agent_id: str | None) -> Turns:
        for key, part in entries:
            if key in ("memories", "messages"):
                yield from self._pairs(key, part, agent_id)
            else:
                part.value()

    def _pairs(self, key: str, part: Item, agent_id: str | None) -> Turns:
        """Messages or memory blocks with their relations. Without `agent_id` the relation names the agent."""
        rows, size = list[Row](), 0
        for number, element in enumerate(part.elements(), 1):
            pair = element.value()
            owner = agent_id if agent_id is not None else self._agent_of(pair)
            if owner is not None and key == "memories":
                self._add_memory(pair, owner)
            elif owner is not None:
                rows.append(self.mapper.message(pair, owner))
                size += len(rows[-1][_CONTENT_AT])
            if number % _TURN == 0 or size >= BATCH_BYTES:
                self._add_messages(rows)
                rows, size = [], 0
                yield
        self._add_messages(rows)
        yield

    def _add_messages(self, rows: list[Row]) -> None:
        if not self.store.add_messages(rows):
            for row in rows:
                self._add_message(row)

    def _agent_of(self, pair: Any) -> str | None:
        """The agent that a relation names, in the spelling of the agent's own record; None where it is not here."""
        relation = pair[1] if isinstance(pair, list) and len(pair) == 2 else None
        named = relation.get("in_id") if isinstance(relation, dict) else None
        if isinstance(named, str) and self.store.agent(named) is not None:
            return named
        hyphenated = f"{named[:8]}-{named[8:12]}-{named[12:16]}-{named[16:20]}-{named[20:]}" if named else ""
        if self.store.agent(hyphenated) is not None:
            return hyphenated
        record = pair[0] if isinstance(pair, list) and pair and isinstance(pair[0], dict) else {}
        is_memory = "label" in record
        code: Any = "orphaned-memory" if is_memory else "orphaned-message"
        kind = MemoryBlock.table if is_memory else Message.table
        found = f"its relation names agent {named}, which is not in the archive"
        record_id = str(record.get("id"))
        self.conversion.issue(Issue(code, "warning", kind, record_id, found, "left out", evidence={"agent": named}))
        self.conversion.drop(kind, code, "the agent that it belongs to is not in the archive", record_id, named)
        return None

    def _add_message(self, row: Row) -> None:
        known, agent_id = self.store.add_message(row), row[_AGENT_AT]
        if known is None or known == row:
            return
        if known[_AGENT_AT] == agent_id:
            why = "the archive holds the message twice, in two forms: the first is kept"
            self.conversion.drop(Message.table, "other-copy", why, row[_ID_AT])
            return
        cells = list(row)
        cells[_ID_AT] = shared_message_id(agent_id, row[_ID_AT])
        metadata = orjson.loads(cells[_METADATA_AT] or "{}")
        metadata[EXTENSION_KEY] = metadata.get(EXTENSION_KEY, {}) | {"id": row[_ID_AT]}
        cells[_METADATA_AT] = json_text(metadata)
        if self.store.add_message(tuple(cells)) is None:
            why = "several agents have the message, and an id may occur once: further copies have ids of their own"
            self.conversion.change(Message.table, "message-shared", why, row[_ID_AT], row[_ID_AT], cells[_ID_AT])

    def _add_memory(self, pair: Any, agent_id: str) -> None:
        block = pair[0] if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], dict) else None
        relation = pair[1] if block is not None and isinstance(pair[1], dict) else None
        if block is None or relation is None:
            raise MalformedSource("found no pair of a memory block and its relation", where=Where("convert"))
        kind = MemoryBlock.table
        block_id = self.mapper.text(block, "id", kind)
        self.mapper.text(block, "label", kind)
        if "created_at" in relation:
            self.mapper.note_time(self.mapper.instant(relation, "created_at", kind))
        at = instant_sort_key(self.mapper.instant(block, "created_at", kind))
        known = self.store.add_memory(agent_id, pair, at)
        if known is not None and known[0] != block:
            why = "the archive holds the memory block twice, in two forms: the first is kept"
            self.conversion.drop(kind, "other-copy", why, block_id, block.get("value"))

    # --- groups and constellations -----------------------------------------------------------------------------------

    def _group(self, entries: Entries) -> TurnsForId:
        """A group with its members; gives its id."""
        group_id, members = "", list[Any]()
        for key, part in entries:
            if key == "group":
                group_id = yield from self._holder(part.entries(), "members", Group.table)
            elif key == "member_agent_cids":
                members += _list(part.value(), key)
            elif key == "member_memberships":
                self._memberships(group_id, part.value(), key)
                self.variant = "2b"
            else:
                part.value()
        for agent_id, link in (_two(member, "member_agent_cids") for member in members):
            del agent_id
            yield from self._agent_block(self._link(link, "member_agent_cids"))
        return group_id

    def _constellation(self, entries: Entries) -> Turns:
        agents = list[Any]()
        for key, part in entries:
            if key == "groups":
                for element in part.elements():
                    yield from self._group(element.entries())
            elif key == "constellation":
                self.scope_id = yield from self._holder(part.entries(), "agents", CONSTELLATION)
            elif key == "agent_export_cids":
                agents += _list(part.value(), key)
            elif key == "agent_memberships":
                self._memberships(self.scope_id, part.value(), key)
                self.variant = "2b"
            else:
                part.value()
        for agent_id, link in (_two(agent, "agent_export_cids") for agent in agents):
            del agent_id
            yield from self._agent_block(self._link(link, "agent_export_cids"))

    def _holder(self, entries: Entries, members_key: str, kind: str) -> TurnsForId:
        """A group's or constellation's own record, with whole agents inline in older variants; gives its id."""
        fields: dict[str, Any] = {}
        memberships = list[tuple[str, Any]]()
        for key, part in entries:
            if key != members_key:
                fields[key] = part.value()
                continue
            for element in part.elements():
                both = element.elements()
                agent_id = yield from self._record(next(both).entries())
                memberships.append((agent_id, next(both).value()))
                if next(both, None) is not None:
                    raise MalformedSource(f"found more than a pair in {key}", where=Where("convert", table=kind))
        holder_id = self.mapper.text(fields, "id", kind)
        if "updated_at" in fields:
            self.mapper.note_time(self.mapper.instant(fields, "updated_at", kind))
        self.store.add_thing(kind, holder_id, fields)
        for agent_id, membership in memberships:
            self._member(holder_id, agent_id, membership)
        return holder_id

    def _memberships(self, holder_id: str, value: Any, key: str) -> None:
        for agent_id, membership in (_two(each, key) for each in _list(value, key)):
            self._member(holder_id, agent_id, membership)

    def _member(self, holder_id: str, agent_id: Any, membership: Any) -> None:
        if not isinstance(agent_id, str) or not isinstance(membership, dict):
            raise MalformedSource(
                "found no membership where one was expected", where=Where("convert", row_id=holder_id)
            )
        self.store.add_member(holder_id, agent_id, membership)

    # --- what nothing led to -----------------------------------------------------------------------------------------

    def _unused(self) -> Turns:
        """Blocks that nothing links to: chunks of version 1 are so, and a constellation's groups stand twice."""
        for section in self.store.unused_sections():
            for item in self.sections.item_of(section):
                first, entries = _peek(item)
                if first == "chunk_id":
                    yield from self._chunk(entries, None)
                elif first == "id":
                    yield from self._repeated_record(entries, cid_text(section.cid))
                else:
                    for _, part in entries:
                        part.value()
                    if first != "group" or self.scope != "constellation":
                        why = "nothing in the archive leads to the block"
                        self.conversion.drop("blocks", "unreferenced", why, cid_text(section.cid), first)
            yield

    def _repeated_record(self, entries: Entries, name: str) -> Turns:
        """An agent's record beside the one that counts. One of an agent that is not here is told of."""
        agent_id = None
        for key, part in entries:
            if key == "id":
                agent_id = part.value()
            elif key in ("memories", "messages") and isinstance(agent_id, str) and self.store.agent(agent_id):
                yield from self._pairs(key, part, agent_id)
            else:
                part.value()
        if not isinstance(agent_id, str) or self.store.agent(agent_id) is None:
            why = "nothing in the archive leads to the block"
            self.conversion.drop("blocks", "unreferenced", why, name, f"agent {agent_id}")

    # --- what the old program lost -----------------------------------------------------------------------------------

    def _look_for_losses(self) -> None:
        """Say where the old program wrote less than it had."""
        stats = self.manifest.get("stats")
        counted = stats.get("message_count") if isinstance(stats, dict) else None
        found = self.store.message_count()
        if isinstance(counted, int) and counted > found:
            self._lost(self.scope, self.scope_id, f"the manifest counts {counted} messages, {found} are here")
        for agent in self.store.agents():
            total = agent.get("total_messages")
            if isinstance(total, int) and total > 0 and not self.store.message_count(str(agent["id"])):
                self._lost(Agent.table, str(agent["id"]), f"total_messages is {total}, but none was exported")
        if self.scope == "constellation":
            empty = next(self.store.agents(), None) is None
            if empty:
                self._lost(CONSTELLATION, self.scope_id, "the export holds no agent and no group")
            elif self.variant == "2b" and next(self.store.things(Group.table), None) is None:
                self._lost(
                    CONSTELLATION, self.scope_id, "exporters of this variant never wrote a constellation's groups"
                )

    def _lost(self, kind: str, entity_id: str, found: str) -> None:
        done = "nothing can be done here; the old database may still have it"
        self.conversion.issue(Issue("lost-by-old-program", "warning", kind, entity_id, found, done))

    def _link(self, value: Any, key: str) -> bytes:
        if not isinstance(value, Link):
            raise MalformedSource(f"found {type(value).__name__} in {key}, expected a link", where=Where("convert"))
        return value.cid


def _peek(item: Item) -> tuple[str, Entries]:
    """The first key of a map, and all its entries."""
    entries = iter(item.entries())
    first = next(entries, None)
    if first is None:
        raise MalformedSource("found an empty map, expected a block of an archive", where=Where("convert"))
    return first[0], chain([first], entries)


def _list(value: Any, key: str) -> list[Any]:
    if not isinstance(value, list):
        raise MalformedSource(f"found {type(value).__name__} in {key}, expected an array", where=Where("convert"))
    return value


def _two(value: Any, key: str) -> tuple[Any, Any]:
    if not isinstance(value, list) or len(value) != 2:
        raise MalformedSource(f"found no pair in {key}, expected an id and what belongs to it", where=Where("convert"))
    return value[0], value[1]
