"""Every number of the format: name, value, unit, source.

A source is a heading of docs/; "ours" is a choice of this program.
"""

from __future__ import annotations

from typing import Final

FORMAT_VERSION: Final = 3
"""Version in the manifest and in ConstellationExport. Source: docs/format.md#manifest."""

WIDE_VERSION: Final = 4
"""The version of an archive with pages or external values, which readers of version 3 cannot follow.
Source: docs/format.md#version-4."""

MAX_BLOCK_BYTES: Final = 1_000_000
"""Largest block data a writer may make; exactly this many is allowed. Source: docs/format.md#limits."""

TARGET_CHUNK_BYTES: Final = 900_000
"""Sum of message bytes at which a chunk closes (caller may change it). Source: docs/format.md#where-chunks-close."""

SNAPSHOT_CHUNK_BYTES: Final = 900_000
"""Where a snapshot is cut; a constant, not the caller's. Source: docs/format.md#snapshot-chunks."""

VALUE_PIECE_BYTES: Final = SNAPSHOT_CHUNK_BYTES
"""Where a cell that is moved out of its row is cut. Ours."""

LARGE_CELL_BYTES: Final = 4 * 1024 * 1024
"""A cell longer than this never travels in its row. Ours: it is read and written in pieces."""

MAX_PAGE_LINKS: Final = 20_000
"""Links in one page of a collection. Source: docs/format.md#pages."""

MAX_PAGE_BYTES: Final = 900_000
"""Sum of encoded elements at which a page of anything but links closes. Ours."""

MAX_CHUNK_MESSAGES: Final = 1_000
"""Messages in one chunk (caller may change it). Source: docs/format.md#where-chunks-close."""

BORDER_HASH: Final = b"\0"
"""What the blake3 hash of a key begins with that starts a chunk of messages or rows: one in 256. Read as little-endian,
the hash is 0 modulo 256. Source: docs/format.md#where-chunks-close."""

MAX_CHUNK_ROWS: Final = 20_000
"""Rows of an extension table or memory history in one chunk: each is an array, which costs its reader memory. Ours."""

MAX_SECTION_BYTES: Final = 4 * 1024 * 1024
"""Largest section (CID and data) a reader accepts. Source: docs/format.md#container."""

MAX_HEADER_BYTES: Final = 4096
"""Largest CAR header read. Ours: one root needs 58."""

CID_PREFIX: Final = bytes([0x01, 0x71, 0x1E, 0x20])
"""CID v1, codec dag-cbor, multihash blake3, digest length 32. Source: docs/format.md#cids."""

CID_BYTES: Final = 36
"""Length of a CID in bytes: prefix and digest. Source: docs/format.md#cids."""

CAR_HEADER_BYTES: Final = 59
"""Length of the CAR header with its one-byte length, always. Source: docs/format.md#container."""

CID_TAG: Final = 42
"""CBOR tag of a link. Source: docs/format.md#dag-cbor."""

LINK_BYTES: Final = 41
"""Length of an encoded link: tag, byte-string head, identity prefix, CID. Source: docs/format.md#dag-cbor."""

MAX_DEPTH: Final = 400
"""Deepest nesting of one block that is decoded. Ours; JSON text of the original stops at 127.
Source: docs/format.md#json-values."""

MAX_JSON_DEPTH: Final = 126
"""Deepest JSON nesting that the original reads back from the wire. Source: docs/format.md#json-values."""

BATCH_ROWS: Final = 512
"""Rows in one batch between stages. Ours."""

BATCH_BYTES: Final = 4 * 1024 * 1024
"""Bytes of cells in one batch between stages. Ours."""

COPY_BYTES: Final = 1024 * 1024
"""Bytes read or written at a time. Ours."""

BUSY_TIMEOUT_MS: Final = 5_000
"""How long a locked database is waited for; the original's own value. Source: docs/database.md#connection."""

SNOWFLAKE_EPOCH_MS: Final = 1_288_834_974_657
"""Unix milliseconds of snowflake zero: 2010-11-04T01:42:54.657Z. Source: docs/database.md#snowflakes."""

SNOWFLAKE_COUNTER_BITS: Final = 16
"""Low bits of a snowflake that count within its millisecond. Source: docs/database.md#snowflakes."""

DEFAULT_OWNER: Final = "cli-user"
"""`owner_id` of a ConstellationExport as the original's command line writes it.
Source: docs/format.md#constellations."""

CONSTELLATION_OWNER: Final = "_constellation_"
"""Owner of what belongs to the constellation as a whole. Source: docs/database.md#owners."""

MAX_DOCUMENT_BYTES: Final = 16 * 1024 * 1024
"""Largest memory document (joined snapshot) that is handed to the document worker. Source: docs/memory.md#limits."""

DOCUMENT_GROWTH: Final = 4
"""Updates of a memory document, and a document that a whole backup carries without looking into it, may be this many
times the limit of a document. Ours."""

MAX_PENDING_BYTES: Final = DOCUMENT_GROWTH * MAX_DOCUMENT_BYTES
"""Most bytes of one memory block's updates that are gathered before they are in its document. Ours."""

MAX_REPEATED_BYTES: Final = 1024 * 1024 * 1024
"""Bytes of memory documents that may be read out of blocks already met, beside 16 x the archive's length. Ours."""

MAX_REPEATED_LINKS: Final = 250_000
"""Links to memory blocks and agents already met: ten full blocks of them, a few seconds of an import. Ours."""

EMPTY_DOCUMENT_BYTES: Final = 81
"""Length of a memory document in which nothing was ever written, as every new memory block has it.
Source: docs/memory.md#where-a-document-is."""

MAX_BLOCK_CONTAINERS: Final = 250_000
"""Arrays and maps in one block that is decoded; each costs up to 184 bytes of memory. Ours."""

EXTENSION_KEY: Final = "pattern_stream"
"""The key, in JSON columns of records that a conversion or rescue made, of all that version 3 has no field for. Ours.
"""

MAX_BLOCK_VALUES: Final = 500_000
"""Values in one block beyond MAX_BLOCK_BYTES that is decoded; each costs up to 64 bytes of memory. Ours."""
