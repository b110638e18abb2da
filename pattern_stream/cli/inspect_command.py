"""`pattern-stream inspect`: what is in an archive, for a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from pattern_stream.cli.options import PATH, document_limit, examples, json_output, presets, talking
from pattern_stream.cli.output import document, held, human_bytes, plain, shortened, show, table
from pattern_stream.cli.places import binary_input
from pattern_stream.cli.running import run
from pattern_stream.cli.session import Session
from pattern_stream.cli.wrapping import opening_options, unwrapping

Item = Mapping[str, Any]


@click.command(
    short_help="Show what an archive holds.",
    epilog=examples("pattern-stream inspect constellation.car.gz", "pattern-stream export | pattern-stream inspect -"),
)
@click.argument("file", type=PATH)
@opening_options
@click.option("--full", is_flag=True, help="Decode and check messages, entries and rows too, not only count them.")
@document_limit
@json_output("Everything as one JSON document on stdout.")
@presets
@talking
@click.pass_obj
def inspect(session: Session, file: Path, full: bool, max_document_bytes: int) -> None:
    """Show what the archive FILE holds: agents, groups, memory blocks, counts, times, and what looks wrong.

    FILE may be compressed or encrypted; "-" is stdin. Every block is checked against its hash on the way. Messages,
    archival entries, summaries and rows beyond version 3 are counted without looking into them, unless --full is given.
    """
    source, keys = binary_input(file), unwrapping(session)
    from pattern_stream.pipelines.inspecting import inspect_archive

    inspection = run(
        session,
        lambda progress: inspect_archive(
            source, full=full, max_document_bytes=max_document_bytes, unwrapping=keys, progress=progress
        ),
    )
    found = inspection.as_dict()
    if session.json:
        document(found)
        return
    for line in report(found):
        show(line)


def report(found: Item) -> Iterator[str]:
    """The lines that a person reads. `found` is the JSON form, all of it from the archive and not to be trusted."""
    kind, version, date = (plain(str(found[key])) for key in ("type", "version", "exported_at"))
    if (old := found.get("converted_from")) is not None:
        yield plain(f"input is {old['noun']}; `pattern-stream convert` makes of it, and this is:")
    yield f"{kind} archive, version {version}, exported {date}"
    yield f"root {found['root']}"
    yield "holds " + (held(found["stats"]) or "nothing")
    yield from _section("agents", _AGENT_HEADERS, [_agent_cells(agent) for agent in found["agents"]])
    names = {entry["id"]: entry["name"] for entry in (*found["agents"], *found["groups"])}
    yield from _section("groups", _GROUP_HEADERS, [_group_cells(group, names) for group in found["groups"]])
    yield from _section("memory blocks", _BLOCK_HEADERS, list(_block_rows(found, names)))
    if found["attachments"]:
        yield from ("", f"attachments of shared blocks: {found['attachments']:,}")
    yield from _section("rows beyond version 3", _TABLE_HEADERS, list(found["tables_beyond_version_3"].items()))
    if edits := sum(_edits(block) for block in _blocks(found)):
        yield from ("", f"rows of memory history: {edits:,}")
    if found["blocks_with_deleted_text"]:
        yield from ("", f"memory blocks whose history holds deleted text: {found['blocks_with_deleted_text']:,}")
    if found["decoded"] == "shown":
        yield from ("", _NOT_DECODED)
    if found["findings"]:
        yield from ("", f"looks wrong: {len(found['findings'])}", *map(_finding_line, found["findings"]))


_NOT_DECODED = (
    "messages, archival entries, summaries and rows beyond version 3 were hashed and counted, not decoded: "
    "--full decodes them, verify checks all"
)

_AGENT_HEADERS = (
    "name",
    "status",
    "model",
    "messages",
    "deleted",
    "first",
    "last",
    "archival",
    "summaries",
    "blocks",
    "id",
)
_GROUP_HEADERS = ("name", "pattern", "members", "shared blocks", "id")
_TABLE_HEADERS = ("table", "rows")
_BLOCK_HEADERS = ("owner", "label", "type", "permission", "size", "first line")


def _section(title: str, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    if rows:
        yield ""
        yield f"{title}: {len(rows)}"
        yield from table(headers, rows)


def _agent_cells(agent: Item) -> tuple[object, ...]:
    first, last = (_day(agent[key]) for key in ("first_message_at", "last_message_at"))
    entries, summaries = agent["archival_entries"], agent["archive_summaries"]
    named = agent["name"], agent["status"], agent["model"]
    messages = agent["messages"], agent["deleted_messages"]
    return *named, *messages, first, last, entries, summaries, len(agent["memory_blocks"]), agent["id"]


def _group_cells(group: Item, names: Mapping[str, str]) -> tuple[object, ...]:
    members = ", ".join(names.get(member["agent_id"], member["agent_id"]) for member in group["members"])
    return group["name"], group["pattern_type"], members, group["shared_blocks"], group["id"]


def _block_rows(found: Item, names: Mapping[str, str]) -> Iterator[tuple[object, ...]]:
    for agent in found["agents"]:
        yield from (_block_cells(agent["name"], block) for block in agent["memory_blocks"])
    yield from (
        _block_cells(names.get(block["owner_id"], block["owner_id"]), block) for block in found["unowned_blocks"]
    )


def _blocks(found: Item) -> Iterator[Item]:
    for agent in found["agents"]:
        yield from agent["memory_blocks"]
    yield from found["unowned_blocks"]


def _edits(block: Item) -> int:
    return sum(block.get("history", {}).values())


def _block_cells(owner: object, block: Item) -> tuple[object, ...]:
    size = human_bytes(block["snapshot_bytes"] or 0)
    first_line = next(iter(str(block["preview"] or "").split("\n")), "")
    return owner, block["label"], block["block_type"], block["permission"], size, shortened(first_line)


def _finding_line(finding: Item) -> str:
    where = ", ".join(f"{name} {value}" for name, value in finding["where"].items())
    return plain(f"{finding['severity']}: {finding['message']}" + (f" ({where})" if where else ""))


def _day(instant: object) -> str:
    return str(instant)[:10] if instant else ""
