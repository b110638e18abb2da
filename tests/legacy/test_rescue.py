"""Documents that Pattern's export emptied, rebuilt from their previews: by schema where that shows them again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pattern_stream import ImportOptions, import_archive, inspect_archive, verify_archive
from pattern_stream.errors import UsageError
from pattern_stream.memory.unrendering import unrender
from pattern_stream.pipelines.converting import ConversionResult, ConvertOptions, convert_archive
from pattern_stream.pipelines.dumping import dump_archive
from tests.drive import collect, dribble
from tests.legacy.emptied import SCHEMAS, UNSHOWN, emptied
from tests.legacy.test_truth import FIXTURES, Kept

pytestmark = pytest.mark.anyio

RESCUE = ConvertOptions(rescue=True)


async def blocks(data: bytes) -> dict[str, dict[str, Any]]:
    """The memory blocks of an archive, by label."""
    return {block["label"]: block async for block in dump_archive(dribble(data, 1000), "blocks")}


async def rescued(data: bytes) -> bytes:
    """The archive that a rescue makes of another one."""
    out = Kept()
    await convert_archive(dribble(data, 1000), out, options=RESCUE)
    return out.data


async def test_documents_show_their_previews_again() -> None:
    """Each by its schema, where that can be, else as text without one; how stands in the metadata; the bytes repeat."""
    data = await emptied()
    found = await blocks(await rescued(data))

    assert await rescued(data) == await rescued(data)
    for label, (schema, preview) in SCHEMAS.items():
        assert preview == found[label]["text"], label
        assert {"rescued": "schema"} == found[label]["metadata"]["pattern_stream"]
        assert schema == found[label]["metadata"].get("schema")
    for label, (schema, preview) in UNSHOWN.items():
        assert preview == found[label]["text"], label
        assert {"rescued": "text", "schema": schema} == found[label]["metadata"]["pattern_stream"]
        assert {"kept", "pattern_stream"} == found[label]["metadata"].keys()


async def test_a_rescue_changes_nothing_else() -> None:
    """All other records are equal, and what was rescued is not rescued again."""
    data = await emptied()
    once = await rescued(data)
    before = await collect(dump_archive(dribble(data, 1000)))
    after = await collect(dump_archive(dribble(once, 1000)))
    changing = {"memory_block": {"text", "frontier", "metadata", "snapshot_bytes"}}

    assert [_rest(record, changing) for record in before[1:]] == [_rest(record, changing) for record in after[1:]]
    assert "2026-01-05T00:00:00Z" == after[0]["exported_at"]
    with pytest.raises(UsageError, match="nothing to rescue"):
        await rescued(once)


def _rest(record: dict[str, Any], changing: dict[str, set[str]]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in changing.get(record["kind"], ())}


async def test_an_import_rescues_on_the_way(tmp_path: Path) -> None:
    """The same documents as by way of an archive, each told; without the option they stay empty."""
    data = await emptied()
    (tmp_path / "rescued.car").write_bytes(await rescued(data))
    result = await import_archive(dribble(data, 1000), tmp_path / "a.db", options=ImportOptions(rescue=True))
    await import_archive(dribble(data, 1000), tmp_path / "b.db")

    assert len(SCHEMAS) + len(UNSHOWN) == sum(finding.code == "rescued-document" for finding in result.findings)
    for name, differs in (("a.db", False), ("b.db", True)):
        found = await verify_archive(tmp_path / "rescued.car", against=tmp_path / name)
        assert found.against is not None
        assert differs == found.against.differs


async def test_what_is_whole_is_left_alone() -> None:
    """A document that holds something, and an empty one without a preview: no finding, no change."""
    shown = await inspect_archive(dribble(await rescued(await emptied()), 1000))

    assert [] == [finding for finding in shown.findings if finding.code == "emptied-document"]


@pytest.mark.parametrize(
    ("schema", "text"),
    [("{}", "x"), ('{"schema": {"List": {"item_schema": null, "max_items": null}}}', "no item"), ("[]", "y")],
)
def test_any_text_has_edits_or_none(schema: str, text: str) -> None:
    """Nothing is raised, whatever the metadata and the text."""
    assert isinstance(unrender(schema, text), list)


async def test_the_archives_of_the_real_program() -> None:
    """All documents that inspect calls emptied are rescued, in every archive of the family."""
    if not FIXTURES.is_dir():
        pytest.skip("the archives of the real program are not here")
    for path in sorted((FIXTURES.parent / "family").glob("*.car*"))[:8]:
        before = await inspect_archive(path)
        out = Kept()
        result = await convert_archive(path, out, options=RESCUE)
        assert isinstance(result, ConversionResult)
        after = await inspect_archive(dribble(out.data, 1 << 16))

        count = sum(finding.code == "emptied-document" for finding in before.findings)
        assert count == sum(change.count for change in result.report.changed)
        assert [] == [finding for finding in after.findings if finding.code == "emptied-document"]
        assert before.stats["message_count"] == after.stats["message_count"]
