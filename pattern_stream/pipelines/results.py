"""What pipelines give back, and the bounded log of findings that goes with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import field
from typing import TYPE_CHECKING

from pattern_stream.errors import Finding, Where
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.records import ArchiveSummary

if TYPE_CHECKING:
    from pattern_stream.pipelines.converting import ConversionResult

MOST_FINDINGS_PER_CODE = 100
"""Findings of one code that are kept; further ones are counted. An archive may hold a million odd rows."""


@dataclass(slots=True)
class FindingLog:
    """Collects findings in bounded memory. Pass `log.report` to stages."""

    kept: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def report(self, finding: Finding) -> None:
        """Keep or count one more."""
        self.counts[finding.code] += 1
        if self.counts[finding.code] <= MOST_FINDINGS_PER_CODE:
            self.kept.append(finding)

    def findings(self) -> list[Finding]:
        """What was kept, and a line for each code that had more."""
        more = [
            Finding("warning", code, f"and {count - MOST_FINDINGS_PER_CODE} more of {code}")
            for code, count in self.counts.items()
            if count > MOST_FINDINGS_PER_CODE
        ]
        return [*self.kept, *more]


def summaries_kept(count: int) -> Finding:
    """A warning: archive summaries are prose about messages, and go along where the messages stay behind."""
    summaries = "archive summaries that tell" if count != 1 else "archive summary that tells"
    message = f"messages are left out, but {count} {summaries} of them in prose {'are' if count != 1 else 'is'} not"
    return Finding("warning", "summaries-kept", message, Where(table=ArchiveSummary.table))


def conversion_findings(converted: ConversionResult | None) -> list[Finding]:
    """The issues and findings of a conversion, which none of them makes bad."""
    if converted is None:
        return []
    issues = [
        Finding(
            "info" if issue.severity == "info" else "warning",
            issue.code,
            f"{issue.found}; {issue.done}",
            Where("convert", table=issue.kind, row_id=issue.entity_id),
        )
        for issue in converted.report.issues
    ]
    return [*issues, *converted.findings]


def has_errors(findings: Iterable[Finding]) -> bool:
    """Whether one of them is more than a warning."""
    return any(finding.severity == "error" for finding in findings)
