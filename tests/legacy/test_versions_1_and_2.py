"""Small archives of versions 1 and 2, written by the tests' own encoder: each variant, each fault, each damage."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import cbor2
import pytest

from pattern_stream import import_archive
from pattern_stream.errors import ArchiveError, ExitCode, LegacyError, MissingBlock, PatternStreamError, UsageError
from pattern_stream.legacy.pattern_archive import cbor
from pattern_stream.legacy.pattern_archive.records import UNKNOWN_PROVIDER, preview_of
from pattern_stream.legacy.pattern_archive.root import root_kind
from pattern_stream.pipelines.converting import ConvertOptions, analyze_source, convert_archive
from tests.drive import dribble
from tests.legacy.old_archives import Found, archive, encode, link
from tests.legacy.test_truth import converted, held_against

pytestmark = pytest.mark.anyio

AT = "2025-08-01T10:00:00.123456789Z"
EXPORTED = "2025-09-01T00:00:00Z"
KEY = "pattern_stream"
Value = dict[str, Any]


def agent(name: str = "Anchor", **fields: Any) -> Value:
    """An agent's record without lists."""
    return {
        "id": name.lower(), "name": name, "agent_type": "generic", "model_id": "claude-x", "model_config": {},
        "base_instructions": "Be kind.", "max_messages": 50, "max_message_age_hours": -1, "compression_threshold": 30,
        "memory_char_limit": 700, "enable_thinking": True, "compression_strategy": {"type": "truncate"},
        "tool_rules": [], "total_messages": 0, "total_tool_calls": 1, "context_rebuilds": 2, "compression_events": 3,
        "created_at": AT, "updated_at": AT, "last_active": AT, "owner_id": "u", **fields,
    }  # fmt: skip


def message(number: int, owner: str = "anchor", **fields: Any) -> list[Value]:
    """A message and its relation. A key of a relation is given as `relation_KEY`."""
    relation = {k.removeprefix("relation_"): v for k, v in fields.items() if k.startswith("relation_")}
    own = {key: value for key, value in fields.items() if not key.startswith("relation_")}
    position = str(30_000_000_000_000_000 + number)
    return [
        {"id": f"msg_{number}", "role": "user", "content": {"Text": f"line {number}"}, "metadata": {}, "created_at": AT,
         "options": {"cache_control": None}, "has_tool_calls": False, "word_count": 2, "position": position, **own},
        {"id": "r", "in_id": owner, "out_id": f"msg_{number}", "message_type": "active", "position": position,
         "added_at": AT, **relation},
    ]  # fmt: skip


def memory(name: str, owner: str = "anchor", **fields: Any) -> list[Value]:
    """A memory block and its relation."""
    relation = {"id": "0" * 32, "in_id": owner, "out_id": name, "access_level": "append", "created_at": EXPORTED}
    return [
        {"id": name, "owner_id": "u", "label": name, "value": f"I am {name}", "memory_type": "core", "pinned": False,
         "permission": "read_write", "metadata": {}, "embedding_model": None, "created_at": AT, "updated_at": AT,
         "is_active": True, **fields},
        relation | ({"access_level": "human"} if owner != "anchor" else {}),
    ]  # fmt: skip


def group(**fields: Any) -> Value:
    """A group's record."""
    return {
        "id": "g", "name": "Pair", "description": "Two.", "created_at": AT, "updated_at": AT, "is_active": True,
        "coordination_pattern": {"type": "round_robin", "current_index": 0, "skip_unavailable": True},
        "state": {"pattern": "pipeline", "active_executions": [{"id": bytes(range(16)), "current_stage": 1}]},
        "members": [], **fields,
    }  # fmt: skip


def member(of: str, role: Any = "regular", **fields: Any) -> Value:
    """A membership in the group."""
    return {"id": "0" * 32, "in_id": of, "out_id": "g", "joined_at": AT, "role": role, "is_active": True,
            "capabilities": ["x"], **fields}  # fmt: skip


def manifest(data: bytes, version: int, kind: str = "Agent", messages: int = 0) -> bytes:
    """The block of a manifest."""
    stats = {"memory_count": 0, "message_count": messages, "chunk_count": 0, "total_blocks": 1, "uncompressed_size": 1,
             "compressed_size": None}  # fmt: skip
    return encode(
        {"version": version, "exported_at": EXPORTED, "export_type": kind, "stats": stats, "data_cid": link(data)}
    )


def chunk(kind: str, pairs: list[Any]) -> bytes:
    """A block of messages or memories."""
    ends = {"start_position": "", "end_position": ""} if kind == "messages" else {}
    return encode({"chunk_id": 0, kind: pairs, "next_chunk": None, **ends})


def slim(record: Value, messages: list[Any], memories: list[Any]) -> tuple[bytes, list[bytes]]:
    """An AgentExport of version 2, and the blocks behind it."""
    chunks = [chunk("messages", messages), chunk("memories", memories)]
    lists: Value = {"message_chunks": [link(chunks[0])], "memory_chunks": [link(chunks[1])]}
    own = encode(record | lists)
    links = {"message_chunk_cids": lists["message_chunks"], "memory_chunk_cids": lists["memory_chunks"]}
    return encode({"agent_cid": link(own), **links}), [*chunks, own]


def version_2(record: Value, messages: list[Any] = [], memories: list[Any] = []) -> bytes:  # noqa: B006
    """An agent's archive of version 2."""
    data, rest = slim(record, messages, memories)
    return archive(manifest(data, 2), data, *rest)


def variants() -> dict[str, bytes]:
    """An archive of each variant."""
    notes = memory("notes", memory_type="archival", description="", pinned=True)
    lists: Value = {"memories": [memory("persona"), notes],
             "messages": [message(1), message(2, content={"Parts": [{"Text": "a"}, {"Text": "b"}]})]}  # fmt: skip
    inline = agent(**lists, state="ready", assigned_task_ids=["t"], scheduled_event_ids=[], message_summary="Long ago.")
    first = encode(inline)
    wrapped = encode({"agent": inline, "message_chunk_cids": [], "memory_chunk_cids": []})
    other = agent("Flux", memories=[memory("persona", "flux")], messages=[message(3, "flux")])
    both = [[inline, member("anchor", "supervisor")], [other, member("flux", {"specialist": {"domain": "tea"}})]]
    export = encode({"agent": other, "message_chunk_cids": [], "memory_chunk_cids": []})
    old_group = encode(
        {"group": group(members=both), "member_agent_cids": [["anchor", link(wrapped)], ["flux", link(export)]]}
    )
    anchor, anchor_blocks = slim(agent(), lists["messages"], lists["memories"])
    flux, flux_blocks = slim(agent("Flux"), other["messages"], other["memories"])
    links = [["anchor", link(anchor)], ["flux", link(flux)]]
    members = [["anchor", member("anchor")], ["flux", member("flux", is_active=False)]]
    new_group = encode({"group": group(), "member_agent_cids": links, "member_memberships": members})
    own = {"id": "c", "owner_id": "u", "name": "Home", "description": None, "created_at": AT, "updated_at": AT,
           "is_active": True, "agents": [], "groups": ["g"]}  # fmt: skip
    joined = [["flux", {"id": "0" * 32, "in_id": "c", "out_id": "flux", "joined_at": AT, "is_primary": True}]]
    nested = {"group": group(), "member_agent_cids": links, "member_memberships": members}
    whole = encode(
        {"constellation": own, "groups": [nested], "agent_export_cids": [links[1]], "agent_memberships": joined}
    )
    return {
        "1a": archive(first, chunk("memories", lists["memories"]), chunk("messages", lists["messages"])),
        "1b": archive(manifest(wrapped, 1), wrapped, first),
        "1b group": archive(manifest(old_group, 1, "Group"), old_group, wrapped, export),
        "2": version_2(agent(), lists["messages"], lists["memories"]),
        "2b group": archive(manifest(new_group, 2, "Group"), new_group, anchor, flux, *anchor_blocks, *flux_blocks),
        "2b constellation": archive(
            manifest(whole, 2, "Constellation"), whole, flux, *flux_blocks, anchor, *anchor_blocks
        ),
    }


@pytest.mark.parametrize("name", variants())
async def test_every_variant_comes_in_whole(tmp_path: Path, name: str) -> None:
    """Everything of each variant is in the archive that it becomes, and in the database that takes it in."""
    data = variants()[name]
    result, records = await converted(data)

    assert [] == held_against(Found.of(data), result, records, {})
    await convert_archive(dribble(data, 1000), tmp_path / "new.car")
    rows = (await import_archive(tmp_path / "new.car", tmp_path / "new.db")).rows
    kept = {table: count for table, count in result.report.kept.items() if count}
    assert kept == {table: count for table, count in rows.items() if count}


@pytest.mark.parametrize("name", variants())
async def test_sections_in_any_order_give_the_same_archive(name: str) -> None:
    """The old archive's order decides nothing but which of two agents owns what they share."""
    header, *framed = sections(variants()[name])
    plain = await analyze_source(dribble(header + b"".join(framed)))
    for seed in range(3):
        shuffled = framed.copy()
        random.Random(seed).shuffle(shuffled)

        found = await analyze_source(dribble(header + b"".join(shuffled)))
        assert found.root == plain.root


def sections(data: bytes) -> list[bytes]:
    """The header and every section of an archive whose lengths take up to two bytes."""
    parts, at = list[bytes](), 0
    while at < len(data):
        start = at
        length = data[at] & 0x7F
        at += 1
        for shift in (7, 14):
            if data[at - 1] < 0x80:
                break
            length |= (data[at] & 0x7F) << shift
            at += 1
        at += length
        parts.append(data[start:at])
    return parts


async def test_a_large_block_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block of 3 MB with everything inline comes in whole through a window of a few bytes, embeddings too."""
    monkeypatch.setattr(cbor, "WINDOW_BYTES", 100)
    messages = [message(n, content={"Text": "x" * 4000}, embedding=[0.5] * 50) for n in range(600)]
    data = archive(encode(agent(memories=[memory("persona", value="y" * 300_000)], messages=messages)))

    result, records = await converted(data)

    assert [] == held_against(Found.of(data), result, records, {})
    assert {("messages", "embedding", 600)} == {(d.kind, d.code, d.count) for d in result.report.dropped}


async def test_a_shared_memory_stands_once() -> None:
    """The first agent owns it, the other is attached with its own access."""
    result, records = await converted(variants()["2b group"])

    assert ["persona"] == [block["id"] for block in records["memory_block"]]
    assert [("persona", "flux", "human")] == [
        (each["block_id"], each["agent_id"], each["permission"]) for each in records["attachment"]
    ]
    assert 1 == result.report.kept["shared_block_agents"]


async def test_what_the_old_program_lost_is_told() -> None:
    """An agent that says it has messages and exports none; a manifest that counts more than there is."""
    data, rest = slim(agent(total_messages=7), [], [])
    found = await analyze_source(dribble(archive(manifest(data, 2, messages=3), data, *rest)))

    assert ["lost-by-old-program"] * 2 == [issue.code for issue in found.report.issues]


async def test_positions_are_taken_respelled_or_minted() -> None:
    """The relation's, else the message's own; base32 in decimal; none: by the time of creation, in order."""
    pairs = [
        message(1, relation_position=None),
        message(2, relation_position="0006Q1BZZZZZZ", position=None),
        message(3, relation_position="0", position=None, created_at="2025-08-01T10:00:01Z"),
        message(4, relation_position=None, position=None, created_at="2025-08-01T10:00:02Z"),
        message(5, relation_position="1753900000000"),
    ]
    result, records = await converted(version_2(agent(), pairs))
    positions = {record["id"]: record["position"] for record in records["message"]}

    assert "30000000000000001" == positions["msg_1"]
    assert positions["msg_2"].isdecimal()
    assert int(positions["msg_1"]) < int(positions["msg_3"]) < int(positions["msg_4"])
    assert "1753900000000" == positions["msg_5"]
    assert ["misread-position"] == [issue.code for issue in result.report.issues]
    assert {"position-respelled": 1, "position-minted": 2} == {c.code: c.count for c in result.report.changed}


async def test_one_message_of_two_agents_has_two_ids() -> None:
    """An id may occur once; the further copy knows the old one."""
    data, rest = slim(agent(), [message(1)], [])
    flux, more = slim(agent("Flux"), [message(1, "flux")], [])
    whole = encode({"group": group(), "member_agent_cids": [["anchor", link(data)], ["flux", link(flux)]]})
    old = archive(manifest(whole, 2, "Group"), whole, data, flux, *rest, *more)

    result, records = await converted(old)

    assert [] == held_against(Found.of(old), result, records, {})
    ids = {record["agent_id"]: record["id"] for record in records["message"]}
    assert "msg_1" == ids["anchor"] != ids["flux"]


@pytest.mark.parametrize(
    ("model_id", "provider", "model"),
    [
        ("claude-3-7-sonnet", "anthropic", "claude-3-7-sonnet"),
        ("gpt-4o", "openai", "gpt-4o"),
        ("o3", "openai", "o3"),
        ("gemini-2.5-flash", "gemini", "gemini-2.5-flash"),
        ("openrouter/a/b", "openrouter", "a/b"),
        ("llama", UNKNOWN_PROVIDER, "llama"),
    ],
)
async def test_the_provider_follows_the_model(model_id: str, provider: str, model: str) -> None:
    """Known families, an explicit provider, and an issue where nobody knows."""
    result, records = await converted(version_2(agent(model_id=model_id)))

    assert (provider, model) == (records["agent"][0]["model_provider"], records["agent"][0]["model_name"])
    assert (provider == UNKNOWN_PROVIDER) == bool(result.report.issues)


async def test_settings_stand_where_the_program_looks() -> None:
    """Under `config.context`, with the defaults of fields that older agents lack; archival memory by choice."""
    old = agent()
    del old["memory_char_limit"], old["enable_thinking"]
    data = version_2(old, [], [memory("notes", memory_type="archival")])

    _, records = await converted(data)
    _, blocks = await converted(data, ConvertOptions(archival="blocks"))

    expected = {"max_messages": 50, "max_message_age_hours": -1, "compression_threshold": 30,
                "memory_char_limit": 5000, "enable_thinking": True}  # fmt: skip
    assert expected == records["agent"][0]["config"]["context"]
    assert "notes" == records["archival_entry"][0]["metadata"][KEY]["memory_block"]["label"]
    assert ("archival", "I am notes") == (blocks["memory_block"][0]["block_type"], blocks["memory_block"][0]["text"])


async def test_a_message_too_large_with_its_preview_keeps_its_content() -> None:
    """The copy for searching is cut, so that a block of version 3 holds the message."""
    text = "é" * 300_000
    result, records = await converted(version_2(agent(), [message(1, content={"Text": text})]))

    assert 3 == result.version
    assert {"Text": text} == records["message"][0]["content_json"]
    assert text.startswith(records["message"][0]["content_preview"])


@pytest.mark.parametrize(
    ("content", "preview"),
    [
        ({"Text": ""}, ""),
        ({"Parts": [{"Text": "a"}, {"Image": {}}, {"Text": "b"}]}, "a\nb"),
        ({"ToolCalls": [{"fn_name": "f"}]}, None),
        ({"ToolResponses": [{"content": "x"}, {"content": "y"}]}, "x\ny"),
        ({"Blocks": [{"Text": {"text": "t"}}, {"Thinking": {"text": "h"}}, {"ToolUse": {}}]}, "t\nh"),
    ],
)
def test_previews_are_as_the_program_builds_them(content: Value, preview: str | None) -> None:
    """For each of the five variants of a message's content."""
    assert preview == preview_of(content)


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["1a", "2"])
async def test_every_cut_and_every_flipped_byte_is_an_error(tmp_path: Path, name: str) -> None:
    """Refused with an exit code of its own, the target untouched: no byte of a section is believed unhashed."""
    data = variants()[name]
    for at in range(0, len(data), 29):
        for broken in (data[:at], data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]):
            with pytest.raises(PatternStreamError) as caught:
                await convert_archive(dribble(broken, 500), tmp_path / "new.car")

            assert caught.value.exit_code in (ExitCode.CORRUPT, ExitCode.UNSUPPORTED)
    assert [] == list(tmp_path.iterdir())


FAULTS: dict[str, tuple[bytes, type[PatternStreamError], str]] = {
    "a missing chunk": (
        archive(manifest(slim(agent(), [], [])[0], 2), slim(agent(), [], [])[0]), MissingBlock, "not in the archive",
    ),
    "no id": (version_2({**agent(), "id": 3}), LegacyError, "found int in id of an old record, expected text"),
    "no time": (version_2(agent(created_at="soon")), LegacyError, "created_at of an old record"),
    "a message that is none": (version_2(agent(), [[1, 2]]), LegacyError, "expected a message and its relation"),
    "a role that is none": (version_2(agent(), [message(1, role="ghost")]), LegacyError, "expected one of assistant"),
    "a memory that is none": (version_2(agent(), [], [[1, 2]]), LegacyError, "no pair of a memory block"),
    "a number beyond 64 bits": (
        version_2(agent(), [message(1, sequence_num=2**64 - 1)]), LegacyError, "number beyond 64 bits",
    ),
    "an agent that is a list": (archive(manifest(encode([1]), 2), encode([1])), ArchiveError, "expected a map"),
    "a link that is none": (archive(encode({"version": 2, "stats": {}, "data_cid": 1})), LegacyError, "a link"),
    "an empty root": (archive(encode({})), LegacyError, "empty map"),
    "a version before all": (archive(encode({"version": 0, "stats": {}, "data_cid": 1})), ArchiveError, "version 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
async def test_each_fault_is_named(name: str) -> None:
    """What was found and what was expected, with a code of the right family."""
    data, kind, words = FAULTS[name]
    with pytest.raises(kind, match=words) as caught:
        await analyze_source(dribble(data))

    assert caught.value.exit_code in (ExitCode.CORRUPT, ExitCode.UNSUPPORTED)


async def test_depth_is_bounded() -> None:
    """100,000 levels of nesting in free JSON are refused, in a small block and in a large one."""
    deep: Any = None
    nested = b"\x81" * 100_000 + b"\xf6"
    head, tail = cbor2.dumps(agent(model_config={"deep": "HERE"})).split(cbor2.dumps("HERE"))
    del deep
    with pytest.raises(ArchiveError):
        await analyze_source(dribble(archive(head + nested + tail), 10_000))


async def test_an_archive_of_today_is_not_converted() -> None:
    """Version 3 says so itself: there is nothing to do, exit 2."""
    data = encode({"version": 3, "stats": {}, "data_cid": 1})
    with pytest.raises(UsageError, match="nothing to convert"):
        await analyze_source(dribble(archive(data)))


def test_roots_are_told_by_their_content() -> None:
    """The root decides, wherever it stands among the first bytes; of a larger one its first key."""
    old, new = encode(agent()), encode({"version": 3, "stats": {}, "data_cid": 1})
    header, first, *_ = sections(archive(new))
    shuffled = header + sections(archive(old))[1] + first

    assert "old" == root_kind(archive(old)) == root_kind(archive(old)[:-10])
    assert "today" == root_kind(archive(new)) == root_kind(shuffled)
    assert "neither" == root_kind(archive(encode({"version": 3}))) == root_kind(archive(encode([1] * 99))[:-10])
    assert root_kind(header) is None
    assert root_kind(header + sections(archive(old))[1][:-10]) is None
