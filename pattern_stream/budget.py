"""Sizes that this program chooses for itself: how much waits in memory, and from what size on helpers start.

The numbers of the format are in `format.py`: those decide the bytes of an archive, these only time and memory. A stage
takes its budget as a parameter, so a test gives it a small one.
"""

from __future__ import annotations

from dataclasses import dataclass

from pattern_stream.format import MAX_BLOCK_BYTES


@dataclass(frozen=True, slots=True)
class Budget:
    """Each field says what it bounds and in which unit."""

    processors: int | None = None
    """Processors that worker processes may count on; None: those that the system lets this process use."""

    # --- messages read by workers during an export ---

    message_workers: int = 2
    """Processes."""

    message_slots: int = 6
    """Frames of messages that one process has ready."""

    asked_ahead: int = 4
    """Requests that one process has at a time."""

    range_rows: int = 1024
    """Messages of one request."""

    least_messages: int = 20_000
    """For fewer messages, starting processes costs more than they gain."""

    least_file_bytes: int = 8 * 1024 * 1024
    """A smaller database cannot have so many messages."""

    # --- chunks decoded by a worker during an import ---

    chunk_slots: int = 5
    """Chunks that the process has at a time."""

    chunk_slot_bytes: int = MAX_BLOCK_BYTES * 3 // 2
    """Bytes of a chunk, and of the rows made of it: these have no column names, but quotes around their JSON."""

    least_chunk_bytes: int = 16 * 1024
    """Smaller chunks are decoded here."""

    least_prefetch_bytes: int = 4 * 1024 * 1024
    """Bytes of chunks after which the process is started: for fewer it costs more than it gains."""

    most_waiting_bytes: int = 6 * 1024 * 1024
    """Bytes of sections that wait for an answer, or behind one that does."""

    most_waiting: int = 256
    """Sections, and findings, that wait: small ones cost more than their bytes."""

    most_useless: int = 8
    """Chunks decoded in vain before no more are: the archive is in no order, or has lossy messages."""

    chunk_start_seconds: float = 0.0
    """How long a chunk waits for the process to start; by default chunks are decoded here meanwhile."""


BUDGET = Budget()
"""What every run uses unless its caller says otherwise."""
