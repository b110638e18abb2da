"""SQL that puts parents before children, in constant memory, for tables whose rows refer to each other.

The original writes entries newest first, so its own import meets children before their parents. Rows on a cycle, and
rows whose parent is elsewhere, still go out. Source: docs/format.md#flaws-of-pattern, #compatible-writing.
"""

from __future__ import annotations

import sqlite3

from pattern_stream.schema.mapping.instants import instant_sort_key

INSTANT_KEY = "pattern_stream_instant"
"""SQL function that the reading connection carries: a timestamp as text that sorts as the instant does."""

_NEWEST_FIRST = f"{INSTANT_KEY}(iif(typeof(t.created_at) = 'text', CAST(t.created_at AS BLOB), NULL)) DESC, t.id"
"""# Trap: a function in Python cannot be given text that is no UTF-8."""

ENTRY_TAIL = f"""WHERE t.agent_id = :id ORDER BY {_NEWEST_FIRST}"""
"""Archival entries of an owner where none has a parent: newest first."""

ENTRY_TREE_TAIL = f"""LEFT JOIN (WITH RECURSIVE tree(id, depth) AS (
    SELECT e.id, 0 FROM archival_entries e WHERE e.agent_id = :id AND NOT EXISTS (
        SELECT 1 FROM archival_entries p WHERE p.id = e.parent_entry_id AND p.agent_id = :id)
    UNION ALL
    SELECT e.id, tree.depth + 1 FROM tree JOIN archival_entries e ON e.parent_entry_id = tree.id AND e.agent_id = :id)
    SELECT id, depth FROM tree) d ON d.id = t.id
    WHERE t.agent_id = :id ORDER BY d.depth IS NULL, d.depth, {_NEWEST_FIRST}"""
"""The same where some have: by depth below a root first; entries on a cycle, which have no depth, last."""

SUMMARY_TAIL = "WHERE t.agent_id = :id ORDER BY t.start_position, t.id"
"""Summaries of an agent where none has a predecessor."""

SUMMARY_TREE_TAIL = """LEFT JOIN (WITH RECURSIVE tree(id, depth, reach) AS (
    SELECT e.id, 0, e.start_position FROM archive_summaries e WHERE e.agent_id = :id AND NOT EXISTS (
        SELECT 1 FROM archive_summaries p WHERE p.id = e.previous_summary_id AND p.agent_id = :id)
    UNION ALL
    SELECT e.id, tree.depth + 1, max(tree.reach, e.start_position)
    FROM tree JOIN archive_summaries e ON e.previous_summary_id = tree.id AND e.agent_id = :id)
    SELECT id, depth, reach FROM tree) d ON d.id = t.id
    WHERE t.agent_id = :id
    ORDER BY d.depth IS NULL, coalesce(d.reach, t.start_position), d.depth, t.start_position, t.id"""
"""By start position, but a summary never before its predecessor: it waits for the furthest start on its chain."""


def carry_instant_key(connection: sqlite3.Connection) -> None:
    """Give a connection the function that the orders above use."""
    connection.create_function(INSTANT_KEY, 1, _instant_key, deterministic=True)


def _instant_key(raw: object) -> str:
    """# Trap: a database in UTF-16 gives its bytes so, which differ by zeros where the text is a timestamp."""
    return instant_sort_key(raw.replace(b"\0", b"").decode(errors="replace") if isinstance(raw, bytes) else None)
