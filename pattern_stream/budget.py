"""Sizes that this program chooses for itself: how much waits in memory, and from what size on helpers start.

The numbers of the format are in `format.py`: those decide the bytes of an archive, these only time and memory. A stage
takes its budget as a parameter, so a test gives it a small one.
"""

from __future__ import annotations

from pattern_stream.quick_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Budget:
    """Each field says what it bounds and in which unit."""

    spool_memory_bytes: int = 4 * 1024 * 1024
    """Archive bytes kept in memory before the spool goes to disk."""

    spool_reserve_bytes: int = 16 * 1024 * 1024
    """Free bytes that the spool leaves on its disk for others."""

    shelf_memory_bytes: int = 8 * 1024 * 1024
    """Blocks that came before they were wanted, kept in memory before they go to disk."""

    shelf_reserve_bytes: int = 32 * 1024 * 1024
    """Free bytes below which nothing more is put on the shelf."""

    met_log_bytes: int = 1024 * 1024
    """CIDs of blocks handed on that are logged in memory before they go to the shelf."""

    unpacked_free_bytes: int = 256 * 1024 * 1024
    """Content that compressed data may have whatever its packed form is."""

    most_ratio: int = 200
    """Content beyond that, over its packed form: no archive packs so well."""

    least_memory_bytes: int = 128 * 1024 * 1024
    """Address space below which no command begins: in less of it libraries end the process, or wait for ever."""

    # --- worker processes ---

    processors: int | None = None
    """Processors that worker processes may count on; None: those that the system lets this process use."""

    message_workers: int = 2
    """Processes that read messages during an export, one a processor beside its own."""

    encoded_here_bytes: int = 2 * 1024 * 1024
    """Bytes of messages that wait for their turn, encoded by the export itself when it would wait for a process."""

    message_slots: int = 6
    """Frames of messages that one process has ready."""

    message_frame_bytes: int = 256 * 1024
    """Bytes of messages that one process sends at once."""

    asked_ahead: int = 3
    """Requests that one process has at a time."""

    range_rows: int = 1024
    """Messages of one request."""

    least_messages: int = 20_000
    """For fewer messages, starting processes costs more than they gain."""

    least_file_bytes: int = 8 * 1024 * 1024
    """A smaller database cannot have so many messages."""

    chunk_slots: int = 5
    """Chunks that the process that decodes them during an import has at a time."""

    chunk_slot_bytes: int = 1_500_000
    """Bytes of the largest chunk, or of its rows: these have no column names, but quotes around their JSON."""

    least_chunk_bytes: int = 16 * 1024
    """Smaller chunks are decoded here."""

    least_prefetch_bytes: int = 4 * 1024 * 1024
    """Bytes of chunks after which the process is started: for fewer it costs more than it gains."""

    most_waiting_bytes: int = 6 * 1024 * 1024
    """Bytes of sections that wait for an answer, or behind one that does."""

    most_waiting: int = 256
    """Sections, and findings, that wait: small ones cost more than their bytes."""

    most_useless: int = 8
    """Chunks decoded in vain, one after the other, before no more are: the archive is in no order."""

    chunk_start_seconds: float = 0.0
    """How long a chunk waits for the process to start; by default chunks are decoded here meanwhile."""


BUDGET = Budget()
"""What every run uses unless its caller says otherwise."""
