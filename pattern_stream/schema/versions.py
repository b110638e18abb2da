"""Which version of the format a root block is of, and which type its data node has. Source: v3 5, 10; legacy A2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pattern_stream.errors import MalformedNode, UnsupportedVersion, Where
from pattern_stream.format import FORMAT_VERSION
from pattern_stream.schema.nodes import (
    AgentExport,
    ConstellationExport,
    GroupConfigExport,
    GroupExport,
    NodeType,
)

_FIRST_ROOTS: Final = (
    ({"base_instructions"}, "agent"),
    ({"member_agent_cids", "group"}, "group"),
    ({"agent_export_cids", "constellation"}, "constellation"),
)
"""Roots of the oldest archives, which have no manifest: the keys that tell them, and what they hold."""

_OLD_HINT: Final = "this release reads version 3; Pattern's own converter turns some older archives into version 3"


def check_version(value: Any) -> None:
    """Refuse a root of any version but ours. Raises UnsupportedVersion, or MalformedNode for no root of this format."""
    keys = set(value) if type(value) is dict else set()
    for marks, what in _FIRST_ROOTS:
        if marks <= keys:
            raise UnsupportedVersion(
                f"archive is version 1 (its first form: {what} without a manifest), expected version {FORMAT_VERSION}",
                hint=_OLD_HINT,
            )
    if not {"version", "data_cid"} <= keys:
        raise MalformedNode("root is no manifest: found no version and data_cid", where=Where(field="version"))
    _check_number(value["version"])


def _check_number(version: Any) -> None:
    if type(version) is not int:
        raise MalformedNode("version is no integer", where=Where(field="version"))
    if version > FORMAT_VERSION:
        raise UnsupportedVersion(
            f"archive is version {version}, newer than supported: expected version {FORMAT_VERSION}",
            hint="a newer release of pattern-stream may read it",
        )
    if version < FORMAT_VERSION:
        raise UnsupportedVersion(f"archive is version {version}, expected version {FORMAT_VERSION}", hint=_OLD_HINT)


def data_node_type(export_type: str, value: Any) -> type[NodeType]:
    """The type of the data node. # Trap: full and thin groups are told apart by a key, by nothing in the manifest."""
    if export_type == "Group":
        thin = isinstance(value, Mapping) and "member_agent_ids" in value
        return GroupConfigExport if thin else GroupExport
    return AgentExport if export_type == "Agent" else ConstellationExport
