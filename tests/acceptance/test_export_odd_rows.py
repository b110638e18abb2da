"""A database of rows that the fixtures do not have: broken references, cycles, ties, odd ids and values."""

from __future__ import annotations

import pytest

from tests.acceptance.comparing import differences
from tests.acceptance.flat import Flat, GroupPart
from tests.acceptance.oracle import Database, Expected, statistics
from tests.acceptance.running import Export, export_all
from tests.acceptance.wire import real_program_float
from tests.acceptance.world import TIME, World, making

ODD_IDS = ("b", "aa", "Z", "é", "long agent id", "\U0001f9e0", "ab", "-x", "0")
JSON_TEXTS = (
    '{"b":1,"a":{"bb":[],"c":{}},"aaa":null,"b":2}', '[-0, -0.0, 0, 1.0, 1e3, 18446744073709551615]',
    '[18446744073709551616, -9223372036854775808, -9223372036854775809]', '"text"', "null", "true", "[]",
    '[0.1234567890123456789, 8.41e21, 9.007199254740993e15, 5e-324, 2.2250738585072011e-308, 1.7976931348623157e308]',
    '[123456789012345678901234567890e-20, 4.35e-30, 1.00000000000000011102230246251565]',
    ' { "spaced" : [ 1 , "\\u00e9\\ud83e\\udde0\\n" ] } ',
    "[1e-400, -1e-400, 1E5, 1e+5, -0e0]", '{"a\\u0000b":"\\u0000"}', '{"é":1,"z":2,"":3,"aa":4}',
)  # fmt: skip


def _agents(world: World) -> None:
    for agent in ODD_IDS:
        world.add("agents", id=agent, status="archived" if agent == "Z" else "active")
    world.add("agents", id="plain", name="aa", config='{"temperature":0.1}', tool_rules="null", description="")
    for group in ("g1", "g2", "empty"):
        world.add("agent_groups", id=group, pattern_config='{"x":1.5}')
    for agent in ("b", "aa", "é", "long agent id"):
        world.add("group_members", group_id="g1", agent_id=agent, role='{"type":"specialist","domain":"x","extra":1}')
    world.add("group_members", group_id="g2", agent_id="aa", role="null", capabilities=None)
    world.add("group_members", group_id="g2", agent_id="Z", role=None, capabilities='["a","b"]')


def _blocks(world: World) -> None:
    world.block("own", "b", attached=("aa", "b"))
    world.block("own inactive", "b", attached=("aa",), is_active=0)
    world.block("outsider", "plain", attached=("b",))
    world.block("outsider inactive", "plain", attached=("b", "0"), is_active=0)
    world.block("nobody's inactive", "plain", attached=("0",), is_active=0)
    world.block("everybody's", "_constellation_", attached=("b", "Z", "0"))
    world.block("everybody's inactive", "_constellation_", attached=("0",), is_active=0)
    world.block("group's", "g1", attached=("b",))
    world.block("group's inactive", "g1", attached=("aa",), is_active=0)
    world.block("group's quiet", "g1", is_active=0)
    world.block("group's own", "g1", pinned=1, permission="admin", metadata="null")
    world.block("other group's", "g2", attached=("é",))
    world.block("left", "gone agent", attached=("0",), content_preview="", frontier=b"\x00")
    world.block("left twice", "gone agent", label="", last_seq=9)
    world.add("shared_block_agents", block_id="no such block", agent_id="b", permission="append")


def _entries(world: World) -> None:
    def entry(id: str, parent: str | None, at: str = TIME, owner: str = "b", **cells: object) -> None:
        world.add("archival_entries", id=id, agent_id=owner, parent_entry_id=parent, created_at=at, **cells)

    entry("self", "self", "2026-05-01T00:00:00+00:00")
    entry("ring 1", "ring 2")
    entry("ring 2", "ring 1", "2026-05-02T00:00:00+00:00")
    entry("foreign", "aa's", "2026-01-02T03:04:05.000000001+00:00")
    entry("no parent there", "no such entry", "2026-01-02 03:04:05")
    entry("aa's", None, owner="aa")
    entry("child of foreign", "foreign", owner="aa")
    for n in range(12):
        entry(
            f"chain {n:02}", f"chain {n - 1:02}" if n else None, f"2026-03-{28 - n}T00:00:00+00:00" if n % 2 else TIME
        )
    entry("newest child", "chain 00", "2027-01-01T00:00:00+00:00", chunk_index=None, metadata='{"a":0.1}')
    entry("same instant", None, "2026-01-02T05:04:05+02:00")
    entry("same instant too", None, "2026-01-02 03:04:05")
    entry("nobody's", None, owner="_constellation_")


def _summaries(world: World) -> None:
    rows = [("late first", None, "9"), ("early second", "late first", "1"), ("third", "early second", "5"),
            ("apart", None, "4"), ("loop a", "loop b", "0"), ("loop b", "loop a", "2"), ("self", "self", "3"),
            ("foreign", "aa's", "6")]  # fmt: skip
    for key, previous, start in rows:
        world.add("archive_summaries", id=key, agent_id="b", previous_summary_id=previous, start_position=start)
    world.add("archive_summaries", id="aa's", agent_id="aa", depth=3)


def _messages(world: World) -> None:
    for n, position in enumerate(
        ["9", "10", "10", "100", "", "31358194177998848", "1e5", "é", "10", "00000000000000000001"]
    ):
        world.add("messages", id=f"m{9 - n}", agent_id="b", position=position, is_archived=n % 2, sequence_in_batch=n)
    times = ("2026-01-02 03:04", "9999-12-31T23:59:59.999999999+00:00", "1969-12-31 23:59:59.5", "2026-06-01t00:00:00z",
             "2026-01-02T03:04:05.1+00:00", "2026-01-02T03:04:05.123456+0130", "2026-01-02 03:04:05.123456789-11:00",
             "2024-02-29T12:00:00.120000000Z", "0001-01-01T00:00:00+00:00")  # fmt: skip
    for n, time in enumerate(times):
        world.add("messages", id=f"t{n}", agent_id="aa", position=str(n), created_at=time)
    for n, text in enumerate(JSON_TEXTS):
        world.add("messages", id=f"j{n}", agent_id="Z", position=str(n), content_json=text, source_metadata=text,
                  content_preview="\u2028\x00\t" if n else None, batch_id="x", batch_type="continuation")  # fmt: skip
    world.add("messages", id="deep", agent_id="Z", content_json="[" * 126 + "]" * 126)
    world.add("messages", id="deleted", agent_id="Z", is_deleted=1)


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Database, dict[str, Export]]:
    """A database with everything odd in it, and all its exports."""
    folder = tmp_path_factory.mktemp("odd")
    with making(folder / "odd.db") as world:
        for fill in (_agents, _blocks, _entries, _summaries, _messages):
            fill(world)
    scopes = {"all": (), "tiny chunks": ("--max-chunk-bytes", "1", "--owner", "me")}
    runs = {name: ("--scope", "constellation", *args) for name, args in scopes.items()}
    runs |= {f"agent {key}": ("--scope", "agent", "--", key) for key in ("b", "aa", "-x")}
    runs |= {f"group {key}": ("--scope", "group", "--", key) for key in ("g1", "g2", "empty")}
    runs |= {"thin g1": ("--scope", "group", "--thin", "g1")}
    return Database(folder / "odd.db"), export_all(folder / "odd.db", folder, runs)


ODD_SCOPES = ("all", "agent b", "agent aa", "agent -x", "group g1", "group g2", "group empty", "thin g1")


@pytest.mark.parametrize("name", ODD_SCOPES)
def test_odd_rows_go_out_as_the_oracle_says(name: str, odd: tuple[Database, dict[str, Export]]) -> None:
    """Cycles, foreign parents, inactive and missing blocks, ties, odd ids, odd values: every record and list."""
    build, run = Expected(odd[0]), odd[1][name]
    kind, _, key = name.partition(" ")
    scopes = {"agent": build.agent_scope, "group": build.group_scope, "thin": build.thin_scope}
    expected = scopes[kind](key) if key else build.constellation_scope()

    assert 0 == run.code, run.stderr
    assert [] == list(differences(expected, run.flat))
    beside = {run.archive.root, run.archive.manifest["data_cid"]}
    sections = [data for link, data in run.archive.sections if link not in beside]
    assert statistics(run.flat, sections) == run.archive.manifest["stats"]


def _whole(odd: tuple[Database, dict[str, Export]]) -> Flat:
    return odd[1]["all"].flat


def test_agents_are_ordered_as_map_keys(odd: tuple[Database, dict[str, Export]]) -> None:
    """By byte length, then bytes; and sections follow (depth-first is checked when the archive is read)."""
    order = ["0", "Z", "b", "-x", "aa", "ab", "é", "\U0001f9e0", "plain", "long agent id"]

    assert order == list(_whole(odd).agents)
    assert ["b", "aa", "é", "long agent id"] == list(odd[1]["group g1"].flat.agents)
    assert ["0", "-x", "ab", "\U0001f9e0", "plain"] == _whole(odd).standalone


def test_no_entry_comes_before_its_parent(odd: tuple[Database, dict[str, Export]]) -> None:
    """Unless it is on a cycle; all entries go out once, whoever their parent is."""
    entries = [entry["id"] for entry in _whole(odd).agents["b"].entries]
    chain = [entries.index(f"chain {n:02}") for n in range(12)]

    assert len(odd[0].rows("archival_entries", agent_id="b")) == len(set(entries)) == len(entries)
    assert sorted(chain) == chain
    assert entries.index("newest child") > chain[0]
    assert {"self", "ring 1", "ring 2"} == set(entries[-3:])


def test_no_summary_comes_before_its_predecessor(odd: tuple[Database, dict[str, Export]]) -> None:
    """Start position decides where no predecessor does; a loop goes out last."""
    found = [summary["id"] for summary in _whole(odd).agents["b"].summaries]

    assert ["apart", "foreign", "late first", "early second", "third", "loop a", "loop b", "self"] == found


def test_no_attachment_dangles(odd: tuple[Database, dict[str, Export]]) -> None:
    """Attachments go out exactly where their block does; an inactive block only where a group reaches it: E4."""
    for run in odd[1].values():
        parts: list[Flat | GroupPart] = [run.flat, *run.flat.groups.values()]
        assert all(each["block_id"] in run.flat.memory for part in parts for each in part.attachments)

    held = {"outsider inactive", "group's inactive", "own inactive"}
    assert held == {key for key, part in _whole(odd).memory.items() if not part.record["is_active"]}
    assert {"b", "0"} == {
        each["agent_id"] for each in _whole(odd).attachments if each["block_id"] == "outsider inactive"
    }


def test_a_block_of_many_roads_stands_once(odd: tuple[Database, dict[str, Export]]) -> None:
    """Shared by two groups and left over: one section, and in each list once: E11."""
    whole = _whole(odd)

    assert "everybody's" in whole.groups["g1"].shared
    assert "everybody's" in whole.groups["g2"].shared
    assert "everybody's" in whole.leftover
    assert 1 == whole.groups["g1"].shared.count("group's")
    assert len(whole.memory) == odd[1]["all"].archive.manifest["stats"]["memory_block_count"]


def test_positions_that_tie_are_ordered_by_id(odd: tuple[Database, dict[str, Export]]) -> None:
    """Position descending as text, then id."""
    found = [(message["position"], message["id"]) for message in _whole(odd).agents["b"].messages]

    assert found[0][0] == "é"
    assert ["m1", "m7", "m8"] == [key for position, key in found if position == "10"]
    assert [position for position, _ in found] == sorted((position for position, _ in found), reverse=True)


def test_a_message_larger_than_the_target_has_a_chunk_of_its_own(odd: tuple[Database, dict[str, Export]]) -> None:
    """--max-chunk-bytes 1: as many chunks as messages; --owner is in the data node."""
    flat = odd[1]["tiny chunks"].flat

    assert all(1 == chunk.count for part in flat.agents.values() for chunk in part.chunks)
    assert "me" == flat.owner


def test_floats_are_rounded_correctly(odd: tuple[Database, dict[str, Export]]) -> None:
    """As Python reads them; the real program is one unit off for some of these texts: docs/format.md#json-values."""
    text = JSON_TEXTS[7]
    (message,) = [m for m in _whole(odd).agents["Z"].messages if m["id"] == "j7"]

    assert [float(part) for part in text.strip("[]").split(",")] == message["content_json"]
    assert message["content_json"] != [real_program_float(part.strip()) for part in text.strip("[]").split(",")]
