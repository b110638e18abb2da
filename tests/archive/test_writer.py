"""An archive is header, root and depth-first sections, the same bytes on every way out, and nothing before success."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pattern_stream.archive import writer
from pattern_stream.archive.spool import Area, Spool
from pattern_stream.archive.writer import CarDraft, write_car
from pattern_stream.budget import Budget
from pattern_stream.codec.cid import cid_of
from pattern_stream.errors import FileMissing, PatternStreamError, ProtocolError, StorageFull
from pattern_stream.items import Begin, Block, BlockEvent, Progress, Root
from pattern_stream.transport.files import open_output
from tests.archive.lines import RangeSink, Sink, Tree, big_line, leaf, wide
from tests.contracts import Upstream, UpstreamBroke
from tests.drive import feed

pytestmark = pytest.mark.anyio

LEAF = Block(cid_of(b"leaf"), b"leaf")
CLOSING = Block(cid_of(b"root"), b"root", closes=True)
ROOT = Root(cid_of(b"root"), {})


def trees() -> st.SearchStrategy[Tree]:
    """Any nesting of small blocks; the root is a node or a leaf."""
    data = st.binary(max_size=40)
    return st.recursive(
        st.builds(Tree, data),
        lambda inner: st.builds(Tree, data, st.lists(inner, max_size=5).map(tuple)),
        max_leaves=40,
    )


def assembled(events: Iterable[BlockEvent], *, memory_bytes: int) -> bytes:
    """The sections in output order, put together without an event loop, both forward and from the end."""
    with Spool([Path("/var/tmp")], budget=Budget(spool_memory_bytes=memory_bytes)) as spool:
        draft = CarDraft(spool)
        for event in events:
            draft.add(event)
            if spool.is_due:
                spool.flush()
        draft.finish()
        if spool.is_on_disk:
            spool.flush()
        forward = b"".join(_bytes_of(*piece) for piece in draft.pieces())
        assert forward == _from_the_end(spool, draft)
        return forward


def _from_the_end(spool: Spool, draft: CarDraft) -> bytes:
    """Each area from its end, without a gap, as the spool is cut."""
    filled = bytearray(spool.size)
    for area, placements in (
        (spool.leaves, draft.leaves_from_the_end(spool.size)),
        (spool.inserts, draft.inserts_from_the_end()),
    ):
        left = area.size
        for offset, size, place in placements:
            assert left == offset + size
            left = offset
            filled[place : place + size] = _bytes_of(area, offset, size)
        assert left == 0
    return bytes(filled)


def _bytes_of(area: Area, offset: int, count: int) -> bytes:
    found = area.peek(offset, count)
    if found is None:
        assert area.file is not None
        return area.load(area.file, offset, count)
    return found


@settings(deadline=None)
@given(trees())
async def test_order_is_depth_first(tree: Tree) -> None:
    """Any tree comes out parents first, children in listed order, as the recursive oracle has it."""
    sink = Sink()
    result = await write_car(feed(tree.line()), sink)

    assert tree.archive() == sink.data
    assert cid_of(tree.data) == result.root
    assert len(sink.data) == result.bytes
    assert sum(isinstance(event, Block) for event in tree.line()) == result.sections
    assert {"message_count": 7} == result.stats


@settings(deadline=None)
@given(trees(), st.integers(1, 60))
def test_order_is_the_same_from_disk(tree: Tree, memory_bytes: int) -> None:
    """Wherever the spool goes to disk, the sections come out the same."""
    assert tree.sections() == assembled(tree.line(), memory_bytes=memory_bytes)


def test_deep_nesting() -> None:
    """A chain of 20,000 nodes, each with a leaf before and after its child, is no matter of recursion."""
    depth = 20_000
    events: list[BlockEvent] = []
    for index in range(depth):
        data = b"before %d" % index
        events += [Begin(), Block(cid_of(data), data)]
    nodes = [b"node %d" % index for index in range(depth)]
    events += [Block(cid_of(data), data, closes=True) for data in reversed(nodes)]
    expected = b"".join(Tree(data).sections() + Tree(b"before %d" % i).sections() for i, data in enumerate(nodes))
    events.append(Root(cid_of(nodes[0]), {}))

    assert expected == assembled(events, memory_bytes=1000)


@pytest.mark.parametrize("memory_bytes", [1, 10_000_000], ids=["disk", "memory"])
async def test_same_bytes_on_every_path(tmp_path: Path, memory_bytes: int) -> None:
    """A file, a FIFO, a plain writer and a writer of ranges get the same bytes, from memory and from disk."""
    budget, tree = Budget(spool_memory_bytes=memory_bytes), wide(8, 300_000)
    plain, ranges = Sink(), RangeSink()
    await write_car(feed(tree.line()), plain, budget=budget)
    await write_car(feed(tree.line()), ranges, budget=budget)
    async with open_output(tmp_path / "out.car") as file:
        await write_car(feed(tree.line()), file, near=file.folder, budget=budget)
    piped = await _through_fifo(tmp_path / "fifo", tree, budget)

    assert tree.archive() == plain.data
    assert tree.archive() == ranges.data
    assert (memory_bytes == 1) == (ranges.ranges > 0)
    assert tree.archive() == (tmp_path / "out.car").read_bytes()
    assert tree.archive() == piped


async def _through_fifo(path: Path, tree: Tree, budget: Budget) -> bytes:
    if not hasattr(os, "mkfifo"):
        return tree.archive()
    os.mkfifo(path)
    got: list[bytes] = []

    async def read() -> None:
        got.append(await anyio.to_thread.run_sync(path.read_bytes))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        async with open_output(path) as out:
            await write_car(feed(tree.line()), out, budget=budget)
    return got[0]


async def test_writes_are_large() -> None:
    """100,000 small sections under 1,000 nodes cost a few writes, not one each."""
    tree = wide(100, 60, agents=1000)
    sink = Sink()
    await write_car(feed(tree.line()), sink)

    assert tree.archive() == sink.data
    assert all(len(piece) >= 256 * 1024 for piece in sink.pieces[:-1])


async def test_nothing_before_success() -> None:
    """An upstream that breaks after a full archive's worth of blocks, even after Root, has emitted nothing."""
    lines: list[list[BlockEvent]] = [[Begin(), LEAF], [Begin(), LEAF, CLOSING, ROOT]]
    for events in lines:
        sink, upstream = Sink(), Upstream[BlockEvent](events, breaks=True)
        with pytest.raises(UpstreamBroke):
            await write_car(upstream.stream(), sink)

        assert [] == sink.pieces
        assert upstream.closed


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([], "without Root"),
        ([LEAF], "without Root"),
        ([Begin(), LEAF, ROOT], "1 nodes began and never closed"),
        ([CLOSING, ROOT], "closes a node, but none is open"),
        ([Begin(), CLOSING, CLOSING, ROOT], "closes a node, but none is open"),
        ([Begin(), CLOSING, ROOT, LEAF], "Block came after Root"),
        ([Begin(), CLOSING, ROOT, ROOT], "Root came after Root"),
        ([LEAF, Begin(), CLOSING, ROOT], "not the first block"),
        ([Begin(), CLOSING, Root(LEAF.cid, {})], "not the first block"),
        ([ROOT], "not the first block"),
    ],
)
async def test_events_out_of_order(events: list[BlockEvent], reason: str) -> None:
    """Events that no tree gives are a failure of ours, with nothing emitted."""
    sink = Sink()
    with pytest.raises(ProtocolError, match=reason) as caught:
        await write_car(feed(events), sink)

    assert [] == sink.pieces
    assert 1 == caught.value.exit_code
    assert issubclass(ProtocolError, PatternStreamError)


async def test_cancel_leaves_nothing(tmp_path: Path) -> None:
    """Cancelled while its spool is on disk, a writer closes upstream, emits nothing and leaves no file."""
    sink, upstream = Sink(), Upstream[BlockEvent](wide(20, 900_000).events())

    async def endless() -> AsyncGenerator[BlockEvent]:
        try:
            async for event in (stream := upstream.stream()):
                yield event
            await anyio.sleep_forever()
        finally:
            await stream.aclose()

    with anyio.move_on_after(0.5) as scope:
        await write_car(endless(), sink, spool_dir=tmp_path)

    assert scope.cancelled_caught
    assert upstream.closed
    assert [] == sink.pieces
    assert [] == list(tmp_path.iterdir())


async def test_writer_errors_pass_through() -> None:
    """What `out` raises comes out as it is."""

    class Broken:
        async def write(self, data: bytes, /) -> None:
            raise BrokenPipeError("nobody reads")

    with pytest.raises(BrokenPipeError, match="nobody reads"):
        await write_car(feed(leaf(1, 10).line()), Broken())


async def test_spool_folder_must_be_there(tmp_path: Path) -> None:
    """A spool folder that was asked for and is missing refuses at once, however small the archive."""
    with pytest.raises(FileMissing, match="missing is not there"):
        await write_car(feed(leaf(1, 10).line()), Sink(), spool_dir=tmp_path / "missing")


async def test_full_spool_emits_nothing(tmp_path: Path) -> None:
    """A spool that cannot grow is StorageFull, exit 9, and nothing was emitted."""
    sink, budget = Sink(), Budget(spool_reserve_bytes=1 << 60)
    with pytest.raises(StorageFull, match=f"spool in {tmp_path} holds 0 bytes and needs .* bytes are free") as caught:
        await write_car(big_line(12, 900_000), sink, spool_dir=tmp_path, budget=budget)

    assert [] == sink.pieces
    assert 9 == caught.value.exit_code


async def test_progress_is_told() -> None:
    """Progress is in bytes: growing without a total while spooling, then up to the length of the archive."""
    told: list[Progress] = []
    result = await write_car(big_line(12, 900_000), Sink(), progress=told.append)
    spooled = [p for p in told if p.stage == "spool"]
    written = [p for p in told if p.stage == "write"]

    assert spooled
    assert {None} == {p.total for p in spooled}
    assert sorted(p.done for p in written) == [p.done for p in written]
    assert (result.bytes, result.bytes) == (written[-1].done, written[-1].total)


def test_a_node_costs_24_bytes() -> None:
    """A node that began costs three numbers and nothing else once it has closed."""
    with Spool([]) as spool:
        draft = CarDraft(spool)
        for _ in range(1000):
            draft.add(Begin())
            draft.add(CLOSING)

        assert 3000 == len(draft._numbers)
        assert 8 == draft._numbers.itemsize
        assert ([], {}, []) == (draft._open, draft._places, draft._kept)


PEAK = """
    import asyncio, sys
    from pathlib import Path
    from tests.archive.lines import big_line
    from pattern_stream.archive.writer import write_car
    from pattern_stream.transport.files import open_output

    async def main():
        async with open_output(Path(sys.argv[2])) as out:
            await write_car(big_line(int(sys.argv[1]), 900_000), out, near=out.folder)

    asyncio.run(main())
    print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory of a process is read from /proc")
def test_memory_does_not_grow(tmp_path: Path) -> None:
    """Peak RSS is the same for 15 MB and for 180 MB."""

    def peak_kib(leaf_count: int) -> int:
        target = tmp_path / f"{leaf_count}.car"
        command = [sys.executable, "-c", textwrap.dedent(PEAK), str(leaf_count), str(target)]
        root = Path(writer.__file__).parents[2]
        done = subprocess.run(
            command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, check=True
        )
        target.unlink()
        return int(done.stdout)

    small, large = peak_kib(17), peak_kib(200)

    assert large <= small * 1.1 + 1024


# --- places that are kept ----------------------------------------------------------------------------------------


def sections_of(*events: BlockEvent) -> list[bytes]:
    """The data of the sections in output order; the events are inside a root."""
    data = assembled([Begin(), *events, CLOSING, ROOT], memory_bytes=10**6)
    found = []
    while data:
        length = data[0] - 36
        found.append(data[37 : 37 + length])
        data = data[37 + length :]
    return found


def block(data: bytes, place: int | None = None, *, closes: bool = False) -> Block:
    """A block of a few bytes."""
    return Block(cid_of(data), data, closes, place)


def test_a_page_stands_where_its_place_was_kept() -> None:
    """However late it comes, and whatever began since; what is not used leaves no trace."""
    found = sections_of(
        Begin(page=True), block(b"one"), Begin(page=True), Begin(), block(b"two"), block(b"node", closes=True),
        Begin(page=True), block(b"three"), block(b"page", 1), block(b"late", 4),
    )  # fmt: skip

    assert [b"root", b"page", b"one", b"node", b"two", b"late", b"three"] == found


def test_several_blocks_for_one_place_stand_in_a_row() -> None:
    """Pieces of one value are made together."""
    found = sections_of(Begin(page=True), block(b"leaf"), block(b"a", 1), block(b"b", 1), block(b"c", 1))

    assert [b"root", b"a", b"b", b"c", b"leaf"] == found


def test_places_of_nodes_that_closed_are_forgotten() -> None:
    """A thousand nodes with four unused places each cost what they cost without."""
    numbers = []
    for kept in (4, 0):
        with Spool([]) as spool:
            draft = CarDraft(spool)
            events: list[BlockEvent] = [Begin(), *[Begin(page=True)] * kept, CLOSING]
            for event in [Begin(), *events * 1000]:
                draft.add(event)

            numbers.append(len(draft._numbers))
            assert {} == draft._places

    assert [3003, 3003] == numbers


@pytest.mark.parametrize(
    "events",
    [
        [block(b"page", 1)],
        [block(b"page", 0)],
        [Begin(), Begin(page=True), block(b"node", closes=True), block(b"page", 2)],
        [Begin(page=True), Begin(page=True), block(b"a", 1), block(b"b", 2), block(b"c", 1)],
    ],
)
def test_a_block_for_no_place_is_refused(events: list[BlockEvent]) -> None:
    """A place that nobody kept, that is a node's own, that went with its node, or that something else followed."""
    with pytest.raises(ProtocolError, match="place"):
        sections_of(*events)


def test_a_place_outside_every_node_is_refused() -> None:
    """There is nothing that a page could be of."""
    with pytest.raises(ProtocolError, match="no node is open"):
        assembled([Begin(page=True)], memory_bytes=10)
