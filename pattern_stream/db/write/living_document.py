"""A memory document as it is stored: its base, and the active updates that wait in rows of their own."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from pattern_stream.db.connection.sql_text import Row
from pattern_stream.format import MAX_PENDING_BYTES
from pattern_stream.quick_dataclass import dataclass

_BYTES: Final = """SELECT length(b.loro_snapshot) + coalesce((SELECT max(length(c.snapshot))
    FROM memory_block_checkpoints c WHERE c.block_id = b.id), 0) + coalesce((SELECT sum(length(u.update_blob))
    FROM memory_block_updates u WHERE u.block_id = b.id AND u.is_active = 1), 0)
    FROM memory_blocks b WHERE b.id = ?1 AND (EXISTS (SELECT 1 FROM memory_block_updates WHERE block_id = ?1)
    OR EXISTS (SELECT 1 FROM memory_block_checkpoints WHERE block_id = ?1))"""
_CHECKPOINT: Final = """SELECT snapshot FROM memory_block_checkpoints WHERE block_id = ?
    ORDER BY created_at DESC, id DESC LIMIT 1"""
_UPDATES: Final = "SELECT seq, update_blob FROM memory_block_updates WHERE block_id = ? AND is_active = 1 ORDER BY seq"


@dataclass(frozen=True, slots=True)
class LivingDocument:
    """The base that updates build on, the updates as (seq, bytes), and a digest of all of it."""

    base: bytes
    updates: Sequence[tuple[int, bytes]]
    digest: bytes

    @classmethod
    def read(cls, raw: sqlite3.Connection, block_id: str) -> LivingDocument | None:
        """The document of a memory block with a history; None where there is none, or what is stored cannot be used.

        Memory:  MAX_PENDING_BYTES.
        """
        size = raw.execute(_BYTES, (block_id,)).fetchone()
        if size is None or type(size[0]) is not int or size[0] > MAX_PENDING_BYTES:
            return None
        (base,) = raw.execute("SELECT loro_snapshot FROM memory_blocks WHERE id = ?", (block_id,)).fetchone()
        if base == b"":  # an empty document starts from its newest checkpoint
            (base,) = raw.execute(_CHECKPOINT, (block_id,)).fetchone() or (base,)
        updates: list[Row] = raw.execute(_UPDATES, (block_id,)).fetchall()
        if type(base) is not bytes or any(type(seq) is not int or type(update) is not bytes for seq, update in updates):
            return None
        digest = sha256(b"%d " % len(base) + base)
        for seq, update in updates:
            digest.update(b"%d %d " % (seq, len(update)) + update)
        return cls(base, [(seq, update) for seq, update in updates], digest.digest())
