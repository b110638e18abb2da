"""Which version of the format a root block is of, and which type its data node has.
Source: docs/format.md#older-versions, #nodes, #version-4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pattern_stream.errors import MalformedNode, UnsupportedVersion, Where
from pattern_stream.format import FORMAT_VERSION, WIDE_VERSION
from pattern_stream.schema.model.nodes import (
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

_VERSIONS: Final = f"version {FORMAT_VERSION} or {WIDE_VERSION}"
_OLD_HINT: Final = "make one of today of it: pattern-stream convert OLD -o NEW.car"


def check_version(value: Any) -> None:
    """Refuse a root of any version but ours. Raises UnsupportedVersion, or MalformedNode for no root of this format."""
    keys = set(value) if type(value) is dict else set()
    for marks, what in _FIRST_ROOTS:
        if marks <= keys:
            raise UnsupportedVersion(
                f"archive is version 1 (its first form: {what} without a manifest), expected {_VERSIONS}",
                hint=_OLD_HINT,
            )
    if not {"version", "data_cid"} <= keys:
        raise MalformedNode("root is no manifest: found no version and data_cid", where=Where(field="version"))
    _check_number(value["version"])


def _check_number(version: Any) -> None:
    if type(version) is not int:
        raise MalformedNode("version is no integer", where=Where(field="version"))
    if version > WIDE_VERSION:
        raise UnsupportedVersion(
            f"archive is version {version}, newer than supported: expected {_VERSIONS}",
            hint="a newer release of pattern-stream may read it",
        )
    if version < FORMAT_VERSION:
        raise UnsupportedVersion(f"archive is version {version}, expected {_VERSIONS}", hint=_OLD_HINT)


def is_version_4(version: int) -> bool:
    """Whether an archive of this version may have what readers of version 3 cannot follow.
    Source: docs/format.md#version-4."""
    return version >= WIDE_VERSION


def check_data_version(manifest: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """The manifest and the data node must agree on a version that has one of its own. Raises MalformedNode.

    Older versions there were never looked at, and stay so.
    """
    version = data.get("version", manifest["version"])
    if version != manifest["version"] and WIDE_VERSION in (version, manifest["version"]):
        message = f"data node is version {version}, but the manifest says {manifest['version']}"
        raise MalformedNode(message, where=Where(field="version"))


def data_node_type(export_type: str, value: Any) -> type[NodeType]:
    """The type of the data node. # Trap: a full and a thin group differ by a key of the node alone."""
    if export_type == "Group":
        thin = isinstance(value, Mapping) and "member_agent_ids" in value
        return GroupConfigExport if thin else GroupExport
    return AgentExport if export_type == "Agent" else ConstellationExport
