"""Memory blocks in every state of editing: what goes out is the document as it is now."""

from __future__ import annotations

import pytest

from tests.acceptance.car import encode
from tests.acceptance.documents import make_documents, read_documents, vector_bytes
from tests.acceptance.oracle import Stored
from tests.acceptance.running import Export, export
from tests.acceptance.world import TIME, World, making


def _memory_world(world: World) -> dict[str, Stored]:
    big = "x".join(map(str, range(400_000)))
    texts = [["base", "one ", "two "], ["base"], ["base"], ["", "only "], ["small", big]]
    plain, same, twin, begun, large = make_documents(texts)
    whole: bytes = read_documents([Stored(plain.base, plain.updates[:1])])[0]["again"]
    world.add("agents", id="a")

    def block(id: str, document: Stored, base: bytes, active: tuple[int, ...] = ()) -> Stored:
        world.block(id, "a", loro_snapshot=base, last_seq=len(document.updates))
        for seq, blob in enumerate(document.updates, 1):
            world.add("memory_block_updates", block_id=id, seq=seq, update_blob=blob, is_active=int(seq in active))
        return Stored(base, [document.updates[seq - 1] for seq in active])

    found = {
        "both": block("both", plain, plain.base, (1, 2)),
        "undone": block("undone", plain, plain.base, (1,)),
        "all undone": block("all undone", plain, plain.base),
        "same": block("same", same, same.base),
        "twin": block("twin", twin, twin.base),
        "never": block("never", Stored(b""), b""),
        "no base": block("no base", begun, b"", (1,)),
        "large": block("large", large, large.base, (1,)),
        "repeated": block("repeated", Stored(b"", plain.updates[:1]), whole, (1,)),
    }
    world.block("from checkpoint", "a")
    later, earlier = make_documents([["later"], ["earlier"]])
    for at, document in (("2026-01-03T00:00:00+00:00", later), (TIME, earlier)):
        world.add("memory_block_checkpoints", block_id="from checkpoint", snapshot=document.base, created_at=at)
    return {**found, "from checkpoint": later}


@pytest.fixture(scope="session")
def memory(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Stored], Export]:
    """Memory blocks in every state of editing."""
    folder = tmp_path_factory.mktemp("memory")
    with making(folder / "memory.db") as world:
        stored = _memory_world(world)
    return stored, export(folder / "memory.db", folder / "out.car")


def test_every_state_of_editing_is_folded(memory: tuple[dict[str, Stored], Export]) -> None:
    """Active updates are in, undone ones are not; an empty column starts from the newest checkpoint or from nothing."""
    stored, run = memory
    parts = run.flat.memory
    folded = dict(zip(stored, read_documents(stored.values()), strict=True))
    found = dict(zip(parts, read_documents(Stored(part.snapshot) for part in parts.values()), strict=True))

    assert 0 == run.code, run.stderr
    assert set(stored) == set(found)
    for key, document in found.items():
        assert (folded[key]["deep"], folded[key]["vv"]) == (document["deep"], document["vv"]), key
        assert list(vector_bytes(document["vv"])) == parts[key].record["frontier"]
    texts = {key: found[key]["deep"].get("content") for key in ("both", "undone", "all undone", "from checkpoint")}
    assert {"both": "two one base", "undone": "one base", "all undone": "base", "from checkpoint": "later"} == texts


def test_what_needs_no_fold_keeps_its_bytes(memory: tuple[dict[str, Stored], Export]) -> None:
    """No active update, or none that says anything new; equal snapshots are one section; nothing stays nothing."""
    stored, run = memory
    for key in ("all undone", "same", "twin", "repeated"):
        assert stored[key].base == run.flat.memory[key].snapshot
    pieces = [data for _, data in run.archive.sections if encode("next_cid") in data]

    assert b"" == run.flat.memory["never"].snapshot
    assert len(pieces) == len({bytes(piece) for piece in pieces})
    assert 4 == run.summary["folded_blocks"]


def test_a_large_document_is_cut_every_900000_bytes(memory: tuple[dict[str, Stored], Export]) -> None:
    """The pieces of a folded snapshot, in order, each within the limit."""
    sizes = memory[1].flat.memory["large"].piece_bytes

    assert len(sizes) > 1
    assert [900_000] * (len(sizes) - 1) == sizes[:-1]
