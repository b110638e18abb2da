"""What an import is asked for, and what it gives back."""

from __future__ import annotations

from collections import Counter
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pattern_stream.budget import BUDGET, Budget
from pattern_stream.db.write.conflicts import OnConflict, Orphans
from pattern_stream.errors import Finding, UsageError
from pattern_stream.format import MAX_DOCUMENT_BYTES
from pattern_stream.pipelines.signatures import JudgedSignature, WantedSignature
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.ids.new_ids import KEY_BYTES
from pattern_stream.stages.edit.table_of_contents import part_of_archive
from pattern_stream.transport.wrapping import Unwrapping

if TYPE_CHECKING:
    from pattern_stream.pipelines.converting import ConversionResult


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How to import. `id_key`: 32 bytes that make new ids repeatable. `renames`: (old name or None, new name);
    None stands for the one agent or group of the archive, `block:LABEL` for
    memory blocks, `id:ID` for any of them.

    `rescue`: rebuild the empty documents of archives that the original emptied from their previews.

    `only`: `agent:NAME` or `group:NAME`. `drop_unknown`: leave
    out tables, columns and keys that nobody here knows, instead of refusing. `orphans`: keep or drop rows that refer to
    nothing, instead of refusing; an empty database takes those of a whole backup as they were."""

    new_ids: bool = False
    id_key: bytes | None = None
    renames: tuple[tuple[str | None, str], ...] = ()
    only: tuple[str, ...] = ()
    messages: bool = True
    archival: bool = True
    owner: str | None = None
    on_conflict: OnConflict = "fail"
    drop_unknown: bool = False
    orphans: Orphans | None = None
    dry_run: bool = False
    rescue: bool = False
    verify_documents: bool = True
    max_document_bytes: int = MAX_DOCUMENT_BYTES
    spool_dir: Path | None = None
    unwrapping: Unwrapping = Unwrapping()
    wanted: WantedSignature | None = None
    budget: Budget = BUDGET

    def __post_init__(self) -> None:
        if self.id_key is not None and not self.new_ids:
            raise UsageError("a key of new ids was given without --new-ids")
        if self.id_key is not None and len(self.id_key) != KEY_BYTES:
            raise UsageError(f"key of new ids is {len(self.id_key)} bytes, expected {KEY_BYTES}")
        counts = Counter(old for old, _ in self.renames)
        if counts[None] > 1:
            raise UsageError("--rename NAME was given more than once, expected once: it names the archive's one thing")
        for old, count in counts.items():
            if count > 1:
                raise UsageError(f"--rename {old}=NEW was given {count} times, expected once")
        for given in self.only:
            part_of_archive(given)


@dataclass(frozen=True, slots=True)
class Imported:
    """An agent or group: its id in the archive and here, and its name here."""

    old: str
    new: str
    name: str

    def as_dict(self) -> dict[str, str]:
        """As in the summary."""
        return {"old": self.old, "new": self.new, "name": self.name}


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What was imported. `locked_seconds`: how long nobody else could write; 0 for a database that was made here.

    `replaced`: those of `rows` that took the place of rows that were there. `not_carried`: rows by table that belong to
    what was asked for and stayed behind, or were left out by an option. `moved_blocks`: memory blocks that went to the
    owner that was asked for; None where none was. `converted`: how the input, where it was no archive of today, became
    what was imported.
    """

    db: Path
    created: bool
    type: str
    new_ids: bool
    dry_run: bool
    agents: list[Imported]
    groups: list[Imported]
    rows: dict[str, int]
    skipped: dict[str, int]
    seconds: float
    locked_seconds: float
    replaced: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    not_carried: dict[str, int] = field(default_factory=dict)
    moved_blocks: int | None = None
    findings: list[Finding] = field(default_factory=list)
    signatures: list[JudgedSignature] = field(default_factory=list)
    root: str | None = None
    converted: ConversionResult | None = None

    def as_dict(self) -> dict[str, Any]:
        """The summary, as the command line prints it."""
        summary = {
            "db": str(self.db),
            "created": self.created,
            "dry_run": self.dry_run,
            "type": self.type,
            "ids": "new" if self.new_ids else "kept",
            "agents": [agent.as_dict() for agent in self.agents],
            "groups": [group.as_dict() for group in self.groups],
            "rows": self.rows,
            "replaced": self.replaced,
            "skipped": self.skipped,
            "dropped": self.dropped,
            "not_carried": self.not_carried,
            "moved_blocks": self.moved_blocks,
            "warnings": [finding.as_dict() for finding in self.findings],
            "root": self.root,
            "signatures": [one.as_dict() for one in self.signatures],
            "seconds": round(self.seconds, 3),
            "locked_seconds": round(self.locked_seconds, 3),
        }
        return summary | ({"converted": self.converted.as_dict()} if self.converted is not None else {})
