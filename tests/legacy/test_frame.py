"""The frame of a conversion, driven by a reader that a test invents: recognition, documents, report, severities."""

from __future__ import annotations

import gzip
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from pattern_stream import import_archive, inspect_archive
from pattern_stream.errors import ExitCode, GraveIssues, UnknownFormat, UsageError
from pattern_stream.items import Close, Open, OpenMemoryBlock, RowEvent, Rows
from pattern_stream.legacy import detect
from pattern_stream.legacy.conversion import (
    LONGEST_FOUND_CHARS,
    MOST_EXAMPLES,
    MOST_ISSUES_PER_CODE,
    Conversion,
    Issue,
    Provenance,
)
from pattern_stream.legacy.source import LegacyInput, ReadOptions
from pattern_stream.pipelines.converting import ConvertOptions, analyze_source, convert_archive
from pattern_stream.schema.model.nodes import AgentExport
from pattern_stream.schema.model.records import Agent, MemoryBlock, Message, Record
from tests.drive import dribble

pytestmark = pytest.mark.anyio

MAGIC = b"note of one agent: "
AT = "2025-07-30T12:00:00+00:00"
PLAIN: dict[str, Any] = {
    "text": "", "integer": 0, "flag": 1, "json": "{}", "instant": AT, "strings": "[]", "octets": None, "blob": b"",
}  # fmt: skip


def row(record: type[Record], **cells: Any) -> tuple[Any, ...]:
    """A row of the type with the given cells, and something plain in all others."""
    return tuple(cells.get(f.column, None if f.nullable else PLAIN.get(f.kind)) for f in record.fields)


class Notes:
    """A source with one agent, one memory block and one message."""

    def __init__(self, text: str, conversion: Conversion) -> None:
        self.provenance = Provenance("note", "a note", "2025-07-30T12:00:00Z")
        self.text, self.conversion = text, conversion

    async def rows(self) -> AsyncGenerator[RowEvent]:
        yield Open(AgentExport, row(Agent, id="a", name="Anchor", model_provider="p", model_name="m", status="active"))
        cells = {"id": "b", "agent_id": "a", "label": "note", "block_type": "core", "permission": "append"}
        yield OpenMemoryBlock(row(MemoryBlock, **cells, content_preview=self.text))
        yield Close()
        yield Rows(Message, [row(Message, id="m", agent_id="a", position="1", role="user", content_json='{"Text":""}')])
        self.conversion.drop("messages", "mood", "a note has no mood", "m", "glad")
        self.conversion.issue(Issue("corrupt-content", "warning", "memory_block", "b", "it is torn", "kept as it is"))
        yield Close()


class NoteReader:
    """Reads files that begin with MAGIC."""

    noun = "a note"

    def recognise(self, given: LegacyInput) -> bool:
        return given.head.startswith(MAGIC)

    async def open(self, given: LegacyInput, options: ReadOptions, conversion: Conversion) -> Notes:
        text = (await given.file()).read().removeprefix(MAGIC).decode()
        return Notes(text, conversion)


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, "READERS", (NoteReader(),))


@pytest.mark.parametrize("form", ["file", "gzip", "pipe", "gzip pipe"])
async def test_a_source_is_recognised_in_any_wrapping(tmp_path: Path, form: str) -> None:
    """A plain file, one inside gzip and bytes that come once give the same archive, whose memory shows the text."""
    content = MAGIC + "Tea at four. 🫖".encode()
    packed = gzip.compress(content) if "gzip" in form else content
    old = tmp_path / "old"
    old.write_bytes(packed)
    source = dribble(packed, 3) if "pipe" in form else old

    result = await convert_archive(source, tmp_path / "new.car")
    plain = await analyze_source(dribble(content, 100))
    found = await inspect_archive(tmp_path / "new.car")

    assert "Tea at four. 🫖" == found.agents[0]["memory_blocks"][0]["preview"]
    assert [] == [finding for finding in found.findings if finding.severity != "info"]
    assert "2025-07-30T12:00:00Z" == found.exported_at
    assert (plain.root, plain.bytes, plain.sections) == (result.root, result.bytes, result.sections)
    assert {"agents": 1, "memory_blocks": 1, "messages": 1} == result.as_dict()["kept"]
    assert (await import_archive(tmp_path / "new.car", tmp_path / "new.db")).rows["messages"] == 1


async def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    """A file and a folder that nobody reads: exit 5, with what could be read, and no file made."""
    (tmp_path / "old").write_bytes(b"something else")
    for source in (tmp_path / "old", tmp_path):
        with pytest.raises(UnknownFormat, match="a note") as caught:
            await convert_archive(source, tmp_path / "new.car")

        assert ExitCode.UNSUPPORTED == caught.value.exit_code
    assert ["old"] == [path.name for path in tmp_path.iterdir()]


async def test_grave_issues_write_nothing(tmp_path: Path) -> None:
    """`fail_on` stops at the severity it names and above it, and only there; the target is untouched."""
    (tmp_path / "old").write_bytes(MAGIC)
    with pytest.raises(GraveIssues, match="1 issue is of severity warning or more") as caught:
        await convert_archive(tmp_path / "old", tmp_path / "new.car", options=ConvertOptions(fail_on="warning"))

    assert ExitCode.CONFLICT == caught.value.exit_code
    assert not (tmp_path / "new.car").exists()
    await convert_archive(tmp_path / "old", tmp_path / "new.car", options=ConvertOptions(fail_on="error"))


async def test_the_source_is_never_the_target(tmp_path: Path) -> None:
    """Even where replacing is allowed."""
    (tmp_path / "old").write_bytes(MAGIC)
    with pytest.raises(UsageError, match="is what is converted"):
        await convert_archive(tmp_path / "old", tmp_path / "old", options=ConvertOptions(force=True))

    assert MAGIC == (tmp_path / "old").read_bytes()


def test_the_report_counts_all_and_keeps_few() -> None:
    """Counts are exact, examples and issues bounded, long texts cut."""
    conversion = Conversion()
    for number in range(MOST_ISSUES_PER_CODE + 7):
        conversion.change("messages", "cut", "too long", f"m{number}", "x" * 1000, 1)
        conversion.issue(Issue("duplicate-label", "info", "memory_block", f"b{number}", "twice", "kept"))

    found = conversion.as_dict()

    assert MOST_ISSUES_PER_CODE + 7 == found["changed"][0]["count"] == found["issue_counts"][0]["count"]
    assert MOST_EXAMPLES == len(found["changed"][0]["examples"])
    assert LONGEST_FOUND_CHARS == len(found["changed"][0]["examples"][0]["found"])
    assert MOST_ISSUES_PER_CODE == len(found["issues"])
    assert 0 == conversion.count_from("warning")


def test_an_issue_is_named_by_what_it_is_about() -> None:
    """The digest follows code, entity and evidence, and not the words."""
    issue = Issue("duplicate-label", "info", "memory_block", "b", "twice", "kept", evidence={"value": "x"})

    assert issue.digest == Issue("duplicate-label", "error", "memory_block", "b", "?", "!", (), {"value": "x"}).digest
    assert issue.digest != Issue("duplicate-label", "info", "memory_block", "b", "twice", "kept").digest
