"""SQL that puts parents before children, in constant memory, for tables whose rows refer to each other.

The original writes entries newest first, so its own import meets children before their parents. Rows on a cycle, and
rows whose parent is elsewhere, still go out. Source: v3 11 (I6), 13.3.
"""

from __future__ import annotations

INSTANT_KEY = "pattern_stream_instant"
"""SQL function that the reading connection carries: a timestamp as text that sorts as the instant does."""

ENTRY_TAIL = f"""WHERE t.agent_id = :id ORDER BY {INSTANT_KEY}(t.created_at) DESC, t.id"""
"""Archival entries of an owner where none has a parent: newest first."""

ENTRY_TREE_TAIL = f"""LEFT JOIN (WITH RECURSIVE tree(id, depth) AS (
    SELECT e.id, 0 FROM archival_entries e WHERE e.agent_id = :id AND NOT EXISTS (
        SELECT 1 FROM archival_entries p WHERE p.id = e.parent_entry_id AND p.agent_id = :id)
    UNION ALL
    SELECT e.id, tree.depth + 1 FROM tree JOIN archival_entries e ON e.parent_entry_id = tree.id AND e.agent_id = :id)
    SELECT id, depth FROM tree) d ON d.id = t.id
    WHERE t.agent_id = :id ORDER BY d.depth IS NULL, d.depth, {INSTANT_KEY}(t.created_at) DESC, t.id"""
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
