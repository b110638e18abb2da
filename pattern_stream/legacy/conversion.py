"""What a conversion says of itself: where the data is from, what was kept, changed and dropped, and the issues found.

A reader calls one method of `Conversion` for each fact; all of them count without limit and remember the first few.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any, Final, Literal

import orjson
from blake3 import blake3

from pattern_stream.quick_dataclass import dataclass

MOST_EXAMPLES: Final = 3
"""Examples that are kept of each change and each loss."""

MOST_ISSUES_PER_CODE: Final = 10_000
"""Issues of one code that are kept; further ones are counted."""

LONGEST_FOUND_CHARS: Final = 200
"""Characters of a text that are shown in an example or issue."""

IssueSeverity = Literal["info", "warning", "error", "critical"]
SEVERITIES: Final[tuple[IssueSeverity, ...]] = ("info", "warning", "error", "critical")
"""From least to most severe, as the original's audit log spells them."""

IssueCode = Literal[
    "duplicate-label",
    "orphaned-memory",
    "orphaned-message",
    "suspicious-attribution",
    "cross-contamination",
    "corrupt-content",
    "timestamp-anomaly",
    "unknown-model",
    "rule-not-translated",
    "lost-by-old-program",
    "misread-position",
    "missing-member",
]
"""What an issue may be; a code never changes its meaning."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where converted data is from. All of it comes from the source and is as true as the source is.

    `format`: a stable slug ("pattern-archive", "letta-agent-file"). `noun`: the format in words, for people. `version`
    and `variant`: of the format, where it has them. `exported_at`: the time that the new archive carries. `identity`:
    what names this very source, such as the CID of an archive's root; never a path.
    """

    format: str
    noun: str
    exported_at: str
    version: int | None = None
    variant: str | None = None
    identity: str | None = None

    def as_dict(self, *, for_people: bool = True) -> dict[str, Any]:
        """The known parts: for the report, or without words for the records of the new archive."""
        known = {
            "format": self.format,
            "noun": self.noun if for_people else None,
            "version": self.version,
            "variant": self.variant,
            "identity": self.identity,
            "exported_at": self.exported_at,
        }
        return {name: value for name, value in known.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Example:
    """One case of a change or loss: the id of the entity, what was found, and what stands in its place."""

    entity_id: str
    found: Any = None
    now: Any = None

    def as_dict(self) -> dict[str, Any]:
        """As in the report; long texts are cut."""
        shown = {"id": self.entity_id, "found": _in_short(self.found), "now": _in_short(self.now)}
        return {name: value for name, value in shown.items() if value is not None}


@dataclass(slots=True)
class Deviation:
    """All cases of one change or loss: how many, and the first of them. `why`: one sentence for people."""

    kind: str
    code: str
    why: str
    count: int = 0
    examples: list[Example] = field(default_factory=list)

    def add(self, example: Example) -> None:
        """Count one more case."""
        self.count += 1
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append(example)

    def as_dict(self) -> dict[str, Any]:
        """As in the report."""
        examples = [example.as_dict() for example in self.examples]
        return {"kind": self.kind, "code": self.code, "why": self.why, "count": self.count, "examples": examples}


@dataclass(frozen=True, slots=True)
class Issue:
    """Something that a person may want to decide. `done`: the conversion's own answer; `otherwise`: other answers.

    `kind` and `entity_id` name the record (`agent`, `memory_block`, `message`, ...). `evidence`: the values that the
    issue is about; an answer to it holds only while they are the same.
    """

    code: IssueCode
    severity: IssueSeverity
    kind: str
    entity_id: str
    found: str
    done: str
    otherwise: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """A short hash of what the issue is about: same source, same digest."""
        about = [self.code, self.kind, self.entity_id, dict(self.evidence)]
        return blake3(orjson.dumps(about, default=str, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]

    def as_dict(self) -> dict[str, Any]:
        """As in the report and in the file of --issues."""
        return {
            "id": self.digest,
            "code": self.code,
            "severity": self.severity,
            "entity": {"kind": self.kind, "id": self.entity_id},
            "found": self.found,
            "done": self.done,
            "otherwise": list(self.otherwise),
            "evidence": {name: _in_short(value) for name, value in self.evidence.items()},
        }


@dataclass(slots=True)
class Conversion:
    """The report of one conversion, which readers and stages fill. Memory: bounded, whatever the source holds.

    `facts`: of the source as a whole, for which the present format has no record.
    """

    kept: Counter[str] = field(default_factory=Counter)
    issues: list[Issue] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    issue_counts: Counter[tuple[IssueSeverity, IssueCode]] = field(default_factory=Counter)
    _changed: dict[tuple[str, str], Deviation] = field(default_factory=dict)
    _dropped: dict[tuple[str, str], Deviation] = field(default_factory=dict)

    def keep(self, kind: str, count: int = 1) -> None:
        """So many entities of a kind (`agent`, `message`, ...) are in the new archive."""
        self.kept[kind] += count

    def change(self, kind: str, code: str, why: str, entity_id: str, found: Any = None, now: Any = None) -> None:
        """A value of an entity stands in the new archive in another form. `code`: a stable slug; `why`: a sentence."""
        _deviation(self._changed, kind, code, why).add(Example(entity_id, found, now))

    def drop(self, kind: str, code: str, why: str, entity_id: str, found: Any = None) -> None:
        """A value of an entity, or the entity, is not in the new archive. `code`: a stable slug; `why`: a sentence."""
        _deviation(self._dropped, kind, code, why).add(Example(entity_id, found))

    def issue(self, issue: Issue) -> None:
        """Something that a person may want to decide."""
        self.issue_counts[issue.severity, issue.code] += 1
        if sum(count for (_, code), count in self.issue_counts.items() if code == issue.code) <= MOST_ISSUES_PER_CODE:
            self.issues.append(issue)

    @property
    def changed(self) -> list[Deviation]:
        """All changes, most frequent first."""
        return _most_first(self._changed.values())

    @property
    def dropped(self) -> list[Deviation]:
        """All losses, most frequent first."""
        return _most_first(self._dropped.values())

    def count_from(self, least: IssueSeverity) -> int:
        """How many issues are at least so severe."""
        grave = SEVERITIES[SEVERITIES.index(least) :]
        return sum(count for (severity, _), count in self.issue_counts.items() if severity in grave)

    def as_dict(self) -> dict[str, Any]:
        """The report, as the command line prints it."""
        counts = sorted(self.issue_counts.items(), key=lambda item: (-SEVERITIES.index(item[0][0]), item[0][1]))
        return {
            "facts": self.facts,
            "kept": dict(sorted(self.kept.items())),
            "changed": [deviation.as_dict() for deviation in self.changed],
            "dropped": [deviation.as_dict() for deviation in self.dropped],
            "issue_counts": [
                {"severity": severity, "code": code, "count": count} for (severity, code), count in counts
            ],
            "issues": [issue.as_dict() for issue in self.issues],
        }


def _deviation(deviations: dict[tuple[str, str], Deviation], kind: str, code: str, why: str) -> Deviation:
    found = deviations.get((kind, code))
    if found is None:
        found = deviations[kind, code] = Deviation(kind, code, why)
    return found


def _most_first(deviations: Iterable[Deviation]) -> list[Deviation]:
    return sorted(deviations, key=lambda deviation: (-deviation.count, deviation.kind, deviation.code))


def _in_short(value: Any) -> Any:
    """A value for people to look at: scalars as they are, text cut, containers as cut JSON."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return text if len(text) <= LONGEST_FOUND_CHARS else text[: LONGEST_FOUND_CHARS - 1] + "…"
