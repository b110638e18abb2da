"""Faults of the tree: chains, fan-out, one block linked over and over, links that lead nowhere or to the wrong thing.

There is no case of a cycle, nor of a block that links to itself: a link holds the blake3 digest of the block it leads
to, and that block's bytes hold its own links. To close a ring, somebody would have to know a digest before the bytes
that it is the digest of, which is to find a fixed point of blake3. Whoever only writes down links that lead back makes
a block that does not hash to its CID, which the reader refuses before anything is followed, or a link to a block that
is not there. So the walk is finite without a set of what it has visited; that it may be long is what these cases are
about.
"""

from __future__ import annotations

from tests.acceptance.car import Link, cid_of, encode
from tests.archives import (
    Archive,
    agent_record,
    entry_record,
    framed,
    group_record,
    member_record,
    memory_record,
    message_chunk,
    message_record,
    summary_record,
)
from tests.hostile.case import CORRUPT, SOUND, UNSUPPORTED, Case, header, section, sound


def _agent(**links: list[Link]) -> dict[str, object]:
    kinds = ("memory_block_cids", "message_chunk_cids", "archival_entry_cids", "archive_summary_cids")
    return {"agent": agent_record()} | {kind: links.get(kind, []) for kind in kinds}


def _whole(node: dict[str, object], blocks: list[bytes], kind: str = "Agent") -> bytes:
    """An archive of a data node and what it links to, with statistics that a reader only warns of."""
    data = encode(node)
    stats = dict.fromkeys(("agent_count", "chunk_count", "group_count", "total_bytes", "total_blocks"), 0)
    stats |= dict.fromkeys(("message_count", "memory_block_count", "archival_entry_count", "archive_summary_count"), 0)
    manifest = encode(
        {
            "stats": stats,
            "version": 3,
            "data_cid": cid_of(data),
            "export_type": kind,
            "exported_at": "2026-01-02T00:00:00Z",
        }
    )
    return header(cid_of(manifest)) + b"".join(map(section, (manifest, data, *blocks)))


def parents(count: int, *, backwards: bool = False) -> bytes:
    """Archival entries each of which is the parent of the next."""
    entries = [entry_record(n, parent_entry_id=f"a1-e{n - 1}" if n else None) for n in range(count)]
    blocks = list(map(encode, reversed(entries) if backwards else entries))
    return _whole(_agent(archival_entry_cids=list(map(cid_of, blocks))), blocks)


def ring_of_parents(count: int) -> bytes:
    """Archival entries each of which is the parent of the next, the last of them that of the first."""
    blocks = [encode(entry_record(n, parent_entry_id=f"a1-e{(n - 1) % count}")) for n in range(count)]
    return _whole(_agent(archival_entry_cids=list(map(cid_of, blocks))), blocks)


def summaries(count: int) -> bytes:
    """Summaries each of which goes back to the one before."""
    records = [summary_record(n, previous_summary_id=f"a1-s{n - 1}" if n else None) for n in range(count)]
    blocks = list(map(encode, reversed(records)))
    return _whole(_agent(archive_summary_cids=list(map(cid_of, blocks))), blocks)


def fan_out(count: int, *, shuffled: bool = False) -> bytes:
    """One node with very many links, to chunks that hold nothing; shuffled: they stand the other way round."""
    chunk = message_chunk(0, [message_record(1)]) | {"messages": [], "message_count": 0}
    blocks = [encode(chunk | {"chunk_index": n}) for n in range(count)]
    node = _agent(message_chunk_cids=list(map(cid_of, blocks)))
    return _whole(node, blocks[::-1] if shuffled else blocks)


def members(count: int) -> bytes:
    """A group with very many members, none of which is there."""
    people = [member_record(f"a{n}", role=None) for n in range(count)]
    lists: dict[str, object] = {"agent_exports": [], "shared_memory_cids": [], "shared_attachment_exports": []}
    return _whole(lists | {"group": group_record(), "members": people}, [], "Group")


def linked_blocks(agents: int, links: int) -> bytes:
    """One memory block, linked over and over by many agents."""
    archive = Archive()
    block = archive.memory(memory_record("b1", "a0"), [])
    shared = archive.blocks[0][1]
    nodes = []
    for n in range(agents):
        node = _agent(memory_block_cids=[block] * links) | {"agent": agent_record(f"a{n}")}
        nodes.append(encode(node))
    listed = {f"a{n}": cid_of(node) for n, node in enumerate(nodes)}
    empty = ("group_exports", "shared_attachments", "all_memory_block_cids", "standalone_agent_cids")
    rest: dict[str, object] = {key: [] for key in empty}
    rest |= {"version": 3, "owner_id": "x", "exported_at": "2026-01-02T00:00:00Z", "agent_exports": listed}
    return _whole(rest, [nodes[0], shared, *nodes[1:]], "Constellation")


def linked_pieces(links: int) -> bytes:
    """A memory document made of one large piece, over and over."""
    piece = encode({"data": bytes(900_000), "index": 0, "next_cid": None})
    block = encode(
        memory_record(content_preview=None)
        | {"snapshot_chunk_cids": [cid_of(piece)] * links, "total_snapshot_bytes": 900_000 * links}
    )
    return _whole(_agent(memory_block_cids=[cid_of(block)]), [block, piece])


def many_documents(blocks: int, links: int) -> bytes:
    """Many memory blocks that share one large piece: a small archive that unfolds into gigabytes of documents."""
    piece = encode({"data": bytes(900_000), "index": 0, "next_cid": None})
    pieces = {"snapshot_chunk_cids": [cid_of(piece)] * links, "total_snapshot_bytes": 900_000 * links}
    nodes = [encode(memory_record(f"b{n}") | pieces) for n in range(blocks)]
    return _whole(_agent(memory_block_cids=list(map(cid_of, nodes))), [*nodes, piece])


def shared_messages() -> bytes:
    """One chunk of messages, linked twice."""
    chunk = encode(message_chunk(0, [message_record(1)]))
    return _whole(_agent(message_chunk_cids=[cid_of(chunk)] * 2), [chunk])


def wrong_kind() -> bytes:
    """An archival entry where a chunk of messages must be."""
    entry = encode(entry_record(1))
    return _whole(_agent(message_chunk_cids=[cid_of(entry)]), [entry])


def manifest_in_manifest() -> bytes:
    """A manifest whose data is a manifest."""
    archive = sound()
    data = archive.blocks[0][1]
    inner = Link(cid_of(data))
    stats = dict.fromkeys(("agent_count", "chunk_count", "group_count", "total_bytes", "total_blocks"), 0)
    stats |= dict.fromkeys(("message_count", "memory_block_count", "archival_entry_count", "archive_summary_count"), 0)
    outer = encode(
        {"stats": stats, "version": 3, "data_cid": inner, "export_type": "Agent", "exported_at": "2026-01-02T00:00:00Z"}
    )
    return header(cid_of(outer)) + section(outer) + section(data)


def link_of_its_own() -> bytes:
    """A block under the CID that it links to: the nearest thing to a ring that can be written down."""
    cid = cid_of(b"a ring")
    data = encode(_agent(memory_block_cids=[cid]))
    return header(cid) + framed(cid + data)


def unknown_keys(count: int) -> bytes:
    """A data node with very many keys that no reader knows."""
    return _whole(_agent() | {f"zzzzzzzzzzzzzzzzzzzzzz{n:06}": None for n in range(count)}, [])


_UNFOLDS = r"memory documents repeat|stored snapshot cannot be read"
_DISAGREE = r"manifest and content disagree"

GRAPHS = [
    Case("chain-of-parents", lambda: parents(5_000), _DISAGREE, SOUND),
    Case("chain-of-parents-backwards", lambda: parents(5_000, backwards=True), _DISAGREE, SOUND),
    Case("chain-of-100-thousand-parents", lambda: parents(100_000, backwards=True), _DISAGREE, SOUND, large=True),
    Case("ring-of-parents", lambda: ring_of_parents(1_000), _DISAGREE, SOUND),
    Case("chain-of-summaries", lambda: summaries(5_000), _DISAGREE, SOUND),
    Case("chain-of-100-thousand-summaries", lambda: summaries(100_000), _DISAGREE, SOUND, large=True),
    Case("fan-out", lambda: fan_out(10_000), _DISAGREE, SOUND),
    Case("fan-out-in-another-order", lambda: fan_out(10_000, shuffled=True), _DISAGREE, SOUND),
    Case("fan-out-of-100-thousand", lambda: fan_out(100_000, shuffled=True), _DISAGREE, SOUND, large=True),
    Case("group-of-2-thousand-missing-members", lambda: members(2_000), _DISAGREE, SOUND),
    Case("block-linked-20-thousand-times", lambda: linked_blocks(1, 20_000), _DISAGREE, SOUND),
    Case("block-linked-a-million-times", lambda: linked_blocks(11, 100_000), r"more than 250000 links", large=True),
    Case(
        "document-of-one-piece-18-times",
        lambda: linked_pieces(18),
        r"stored snapshot cannot be read",
        exits={"inspect": SOUND, "dump": SOUND},
    ),
    Case(
        "document-of-one-piece-90-thousand-times",
        lambda: linked_pieces(90_000),
        r"memory documents repeat|limit is 16777216",
        UNSUPPORTED,
        exits={"verify": CORRUPT},
    ),
    Case("documents-that-unfold-to-gigabytes", lambda: many_documents(300, 18), _UNFOLDS, large=True),
    Case("messages-linked-twice", shared_messages, r"block is linked again by agent 'a1'"),
    Case("link-to-a-block-of-another-kind", wrong_kind, r"messages"),
    Case("manifest-in-manifest", manifest_in_manifest, r"agent"),
    Case("block-that-links-to-itself", link_of_its_own, r"hashes to \w+, expected its CID"),
    Case("unknown-keys-100-thousand", lambda: unknown_keys(100_000), r"unknown key", SOUND),
]
"""Cases of the tree. Source: docs/format.md#how-pattern-imports, #nodes."""
