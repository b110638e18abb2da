"""The worker process: what it answers, and that nothing it dies of reaches this process."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from itertools import permutations
from pathlib import Path

import anyio
import pytest

from pattern_stream.errors import DamagedDocument, DamagedMemory, LimitExceeded, OutOfResources, WorkerFailed
from pattern_stream.memory import process
from pattern_stream.memory.sandbox import Sandbox
from tests.drive import child_pids
from tests.memory.forging import ABORTS, forge, forge_bomb, forge_edits, forge_nested, forge_nulls

pytestmark = pytest.mark.anyio

LIST = json.dumps({"schema": {"List": {"item_schema": None, "max_items": None}}})
EMPTY = bytes.fromhex(
    "6c6f726f000000000000000000000000532e0cfc00032f0000004c4f524f0000000200767600000001000200e762c96c0100000005000000"
    "020066720002007676dbd8c9c8160000000000000000000000"
)
"""What the original stores for a new document."""


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc to count processes in")


def stop(pid: int) -> None:
    """Stop a child, and wait until all of its threads stand still."""
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(seconds=10) as made:
        yield made


@pytest.fixture
async def salvaging() -> AsyncIterator[Sandbox]:
    async with Sandbox(salvage=True, seconds=10) as made:
        yield made


# --- folding -----------------------------------------------------------------------------------------------------


async def test_untouched_snapshot_goes_out_as_it_is(sandbox: Sandbox) -> None:
    """Without updates the stored bytes come back, with the version of nothing."""
    folded = await sandbox.fold(EMPTY, [], None)

    assert (EMPTY, b"\0", False, "") == (folded.snapshot, folded.frontier, folded.changed, folded.rendered)


async def test_no_snapshot_is_a_new_document(sandbox: Sandbox) -> None:
    """Zero bytes and no updates stay zero bytes."""
    folded = await sandbox.fold(b"", [], None)

    assert (b"", b"\0", False, "") == (folded.snapshot, folded.frontier, folded.changed, folded.rendered)


async def test_updates_are_folded_in(sandbox: Sandbox) -> None:
    """The folded document holds every update, and stands without them."""
    updates = list(enumerate(forge_edits("one ", "two ", "three"), 1))

    folded = await sandbox.fold(EMPTY, updates, None)
    again = await sandbox.fold(folded.snapshot, [], None)

    assert (True, "one two three", b"\x01\x07\x1a") == (folded.changed, folded.rendered, folded.frontier)
    assert (False, "one two three", folded.frontier) == (again.changed, again.rendered, again.frontier)


async def test_updates_that_bring_nothing_leave_the_bytes(sandbox: Sandbox) -> None:
    """A persist without changes, and edits that the snapshot holds already, do not change the stored bytes."""
    stored, repeated, nothing = forge("text.push_str('x')\nsnapshot()\nupdate(VersionVector())\nupdate(doc.oplog_vv)")

    folded = await sandbox.fold(stored, [(1, repeated), (2, nothing)], None)

    assert 22 == len(nothing)
    assert (stored, False, "x") == (folded.snapshot, folded.changed, folded.rendered)


async def test_versions_are_sorted_by_peer(sandbox: Sandbox) -> None:
    """The frontier is canonical whatever order the edits came in."""
    steps = """
for peer in (900, 3, 41, 2**63 + 5, 128):
    doc.peer_id = peer
    text.push_str("x")
    doc.commit()
snapshot()
"""
    (stored,) = forge(steps)

    folded = await sandbox.fold(stored, [], None)

    assert "05030229028001028407028580808080808080800102" == folded.frontier.hex()


async def test_values_and_text_of_a_schema(sandbox: Sandbox) -> None:
    """`show` gives values by container name, in forms JSON can hold; nested containers are left out."""
    steps = """
from loro import LoroText
fields = doc.get_map("fields")
for key, value in {"name": "x", "raw": b"\\x01\\xff", "far": float("inf"), "deep": [1, {"a": None}]}.items():
    fields.insert(key, value)
fields.insert_container("nested", LoroText())
doc.get_counter("counter_n").increment(2)
snapshot()
"""
    (stored,) = forge(steps)
    described = {"description": "", "required": False, "default": None}
    fields = [{"name": "name", "field_type": "Text", **described}, {"name": "n", "field_type": "Counter", **described}]

    shown = await sandbox.show(stored, [], json.dumps({"schema": {"Map": {"fields": fields}}}))

    expected = {"name": "x", "raw": [1, 255], "far": None, "deep": [1, {"a": None}]}
    assert {"fields": expected, "counter_n": 2.0} == shown.values
    assert "name: x\nn: 2" == shown.rendered


async def test_check_tells_what_a_document_holds(sandbox: Sandbox) -> None:
    """A readable document: its version, its text, and whether anything was ever written to it."""
    (stored,) = forge("text.push_str('words')\nsnapshot()")

    written, empty = await sandbox.check(stored, None), await sandbox.check(EMPTY, None)

    assert (False, b"\x01\x07\x0a", "words") == (written.empty, written.frontier, written.rendered)
    assert (True, b"\0", "") == (empty.empty, empty.frontier, empty.rendered)


# --- damage ------------------------------------------------------------------------------------------------------


async def test_missing_edits_are_named(sandbox: Sandbox) -> None:
    """An update whose predecessor is missing would be kept aside silently; here it is an error that names the seq."""
    first, _, third = forge_edits("one", "two", "three")

    with pytest.raises(DamagedMemory, match=r"update with seq 9 .* edits 6 to 10 of peer 7 build on .* missing"):
        await sandbox.fold(EMPTY, [(4, first), (9, third)], None)


async def test_snapshot_with_missing_edits_is_damaged(sandbox: Sandbox) -> None:
    """The same in a stored snapshot, and in one from an archive."""
    _, second = forge_edits("one", "two")

    with pytest.raises(DamagedMemory, match=r"stored snapshot cannot be read: .*missing"):
        await sandbox.fold(second, [], None)
    with pytest.raises(DamagedDocument, match=r"stored snapshot cannot be read: .*missing"):
        await sandbox.check(second, None)


@pytest.mark.parametrize("blob", [b"x", b"loro", EMPTY[:-1], EMPTY[:40] + b"\xff" + EMPTY[41:], b"loro" + bytes(200)])
async def test_broken_bytes_are_damaged(sandbox: Sandbox, blob: bytes) -> None:
    """Bytes that are no document are refused with a reason, and the worker lives on."""
    with pytest.raises(DamagedDocument, match="stored snapshot cannot be read"):
        await sandbox.check(blob, None)
    assert (await sandbox.check(EMPTY, None)).empty


async def test_oversize_is_refused_before_it_is_sent() -> None:
    """Sizes are limits of their own, not damage."""
    async with Sandbox(max_document_bytes=100) as small:
        with pytest.raises(LimitExceeded, match="memory document is 101 bytes, limit is 100 bytes"):
            await small.check(bytes(101), None)
        with pytest.raises(LimitExceeded, match="updates is 402 bytes, limit is 400 bytes"):
            await small.fold(b"", [(1, bytes(201)), (2, bytes(201))], None)


async def test_updates_may_be_stored_in_any_order(sandbox: Sandbox) -> None:
    """What builds on a later one waits for it: the document is whole in every order, and nothing is damage."""
    updates = list(enumerate(forge_edits("one ", "two ", "three"), 1))

    for order in permutations(updates):
        folded = await sandbox.fold(EMPTY, list(order), None)

        assert ("one two three", None) == (folded.rendered, folded.damage)


async def test_salvage_keeps_what_does_not_build_on_a_bad_update(salvaging: Sandbox) -> None:
    """Bad updates go alone, wherever they stand; what is missing is said."""
    one, two, three = forge_edits("one ", "two ", "three")
    updates = [(1, one), (2, two), (5, two[:-3]), (6, three), (7, b"")]

    folded = await salvaging.fold(EMPTY, updates, None)

    assert ("one two three", 5) == (folded.rendered, folded.damaged_seq)
    assert folded.damage is not None
    assert "update with seq 5" in folded.damage
    assert "3 of 5 updates kept" in folded.damage


async def test_salvage_leaves_out_what_builds_on_a_bad_update(salvaging: Sandbox) -> None:
    """The edits after one that is lost wait for it for ever: they are left out together, in one further round."""
    one, two, *rest = forge_edits("one ", "two ", *(f"{number} " for number in range(60)))
    updates = [(1, one), (2, two[:-3]), *enumerate(rest, 3)]

    folded = await salvaging.fold(EMPTY, updates, None)

    assert ("one ", 2) == (folded.rendered, folded.damaged_seq)
    assert "1 of 62 updates kept" in str(folded.damage)


async def test_salvage_survives_an_update_that_kills(salvaging: Sandbox) -> None:
    """An update that takes the worker down is found by where it died, and left out."""
    one, two = forge_edits("one ", "two")

    folded = await salvaging.fold(EMPTY, [(1, one), (2, ABORTS), (3, two)], None)

    assert ("one two", 2) == (folded.rendered, folded.damaged_seq)


async def test_salvage_goes_on_without_a_broken_snapshot(salvaging: Sandbox) -> None:
    """Updates that need nothing of the broken snapshot survive it; a valid snapshot goes out in any case."""
    updates = list(enumerate(forge_edits("one ", "two"), 1))

    folded = await salvaging.fold(b"rubbish", updates, None)
    lost = await salvaging.fold(b"rubbish", [], None)

    assert ("one two", True, None) == (folded.rendered, folded.changed, folded.damaged_seq)
    assert (EMPTY, True) == (lost.snapshot, lost.changed)
    assert lost.damage is not None
    assert "stored snapshot lost" in lost.damage


async def test_salvage_halves_its_way_to_the_last_usable_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no single update is at fault, the longest run of updates that leads to a usable document is found."""
    texts = [random.Random(number).randbytes(12).hex() for number in range(12)]
    updates = list(enumerate(forge_edits(*texts), 1))

    async with Sandbox(salvage=True, max_document_bytes=150) as small:
        monkeypatch.setattr(small, "_measure", lambda task: None)
        with pytest.raises(LimitExceeded, match=r"document grows to .* limit is 600 bytes"):  # no damage in itself
            await small.fold(b"", updates, None)
        monkeypatch.setattr(process, "DocumentGrown", process.DocumentRefused)
        folded = await small.fold(b"", updates, None)

    kept = (len(folded.rendered or "")) // 24
    assert 0 < kept < 12
    assert "".join(texts[:kept]) == folded.rendered
    assert f"limit is 600 bytes; {kept} of 12 updates kept" in str(folded.damage)
    async with Sandbox() as unlimited:
        assert len((await unlimited.fold(b"", updates[: kept + 1], None)).snapshot) > 600


async def test_salvage_lets_go_of_a_text_that_cannot_be_shown(salvaging: Sandbox) -> None:
    """A document whose values are too deep to read goes out whole, without a text."""
    stored = forge_nested(20_000)

    folded = await salvaging.fold(stored, [], LIST)

    assert (stored, None, False) == (folded.snapshot, folded.rendered, folded.changed)
    assert folded.damage is not None
    assert "nested deeper than 128 levels" in folded.damage


# --- hostile documents -------------------------------------------------------------------------------------------


async def test_aborting_blob_is_damage(sandbox: Sandbox) -> None:
    """86 bytes that abort whoever imports them: named as snapshot and as update, and the next document is served."""
    reason = r"(needed more than 1024 MiB|crashed \(signal 6\))"

    with pytest.raises(DamagedDocument, match=f"stored snapshot cannot be read: {reason}"):
        await sandbox.check(ABORTS, None)
    with pytest.raises(DamagedMemory, match=f"update with seq 3 cannot be read: {reason}"):
        await sandbox.fold(EMPTY, [(3, ABORTS)], None)
    assert (await sandbox.check(EMPTY, None)).empty


@pytest.mark.parametrize("levels", [200, 20_000, 300_000])
async def test_nested_values_are_refused(sandbox: Sandbox, levels: int) -> None:
    """Values nested beyond reason are refused: counted, or by the death of the worker where the stack ends."""
    with pytest.raises(DamagedDocument, match=r"nested deeper than 128 levels|crashed \(signal 11\)"):
        await sandbox.check(forge_nested(levels), LIST)


async def test_null_list_ends_at_a_limit() -> None:
    """Two million nulls are quadratic to import as updates: time or memory ends it. As a snapshot they are too many."""
    updates, stored = forge_nulls(2_000_001)

    async with Sandbox(seconds=1) as hasty:
        with pytest.raises(DamagedMemory, match=r"took longer than 1 s|needed more than 1024 MiB"):
            await hasty.fold(b"", [(1, updates)], LIST)
    async with Sandbox(seconds=20) as patient:
        with pytest.raises(DamagedDocument, match="list items has 2000001 items, limit is 2000000 values"):
            await patient.check(stored, LIST)


async def test_text_bombs_do_not_reach_this_process(sandbox: Sandbox) -> None:
    """A text a hundred times its snapshot: refused where absurd, else checked but not handed out."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    huge, long = forge_bomb(100_000_000), forge_bomb(40_000_000)

    with pytest.raises(DamagedDocument, match="text content is 100000000 bytes, limit is 67108864 bytes"):
        await sandbox.check(huge, None)
    checked = await sandbox.check(long, None)

    assert checked.rendered is None
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000


@needs_proc
async def test_a_machine_that_stands_still_damages_nothing() -> None:
    """A worker that is stopped for longer than a document may take is waited for, as it has done nothing meanwhile."""
    before = child_pids()
    async with Sandbox(seconds=1) as sandbox, anyio.create_task_group() as tasks:
        await sandbox.show(EMPTY, (), None)
        (pid,) = child_pids() - before
        stop(pid)

        async def go_on() -> None:
            await anyio.sleep(1.5)
            os.kill(pid, signal.SIGCONT)

        tasks.start_soon(go_on)
        checked = await sandbox.check(EMPTY, None)

    assert checked.empty


STOPPED_JOB = """
import anyio, os, signal, sys
from pattern_stream.memory import process
from pattern_stream.memory.sandbox import Sandbox
from tests.drive import child_pids

process.START_SECONDS = 0.5

async def main():
    async with Sandbox(seconds=0.5) as sandbox:
        await sandbox.prepare()
        if sys.argv[1] == "asked":
            await sandbox.check(b"", None)
        [pid] = child_pids()
        os.kill(pid, signal.SIGSTOP)
        print("waits", flush=True)
        print((await sandbox.check(b"", None)).empty, flush=True)

anyio.run(main)
"""
"""Waits for a worker that stands still: for its start, or for an answer. 1.5 s would be too long."""


@needs_proc
@pytest.mark.parametrize("what", ["starting", "asked"])
def test_a_stopped_job_goes_on(what: str) -> None:
    """A job that is stopped whole for longer than it would wait (Ctrl-Z and fg) goes on as if nothing had been."""
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED_JOB, what],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as job:
        assert job.stdout is not None
        assert b"waits\n" == job.stdout.readline()
        time.sleep(0.3)  # until it waits
        os.killpg(job.pid, signal.SIGSTOP)
        time.sleep(2.5)  # longer than it would wait
        os.killpg(job.pid, signal.SIGCONT)
        told = job.communicate(timeout=60)

    assert (b"True\n", b"") == told


@needs_proc
async def test_slow_document_runs_out_of_time() -> None:
    """A document that keeps the worker busy is ended, and the message says how long it had."""
    before = child_pids()
    async with Sandbox(seconds=0.2) as hasty:
        await hasty.check(EMPTY, None)
        (pid,) = child_pids() - before
        stop(pid)
        started = time.monotonic()
        with pytest.raises(DamagedDocument, match=r"took longer than 0\.2 s"):
            await hasty.check(EMPTY, None)
        assert time.monotonic() - started < 5
        assert before == child_pids()


async def test_restart_budget_is_finite() -> None:
    """Documents that keep killing workers end the work instead of costing for ever."""
    async with Sandbox(restarts=2) as poor:
        for _ in range(2):
            with pytest.raises(DamagedDocument):
                await poor.check(ABORTS, None)
        with pytest.raises(WorkerFailed, match="died too often"):
            await poor.check(ABORTS, None)


# --- the process itself ------------------------------------------------------------------------------------------


@needs_proc
async def test_many_documents_share_one_worker(sandbox: Sandbox) -> None:
    """A worker lives on from document to document; equal empty ones are not even asked about twice."""
    before = child_pids()
    for number in range(50):
        await sandbox.fold(EMPTY, [], None)
        await sandbox.check(EMPTY, json.dumps({"number": number}))

    assert 1 == len(child_pids()) - len(before)


async def test_concurrent_callers_wait_for_each_other(sandbox: Sandbox) -> None:
    """Tasks may share a sandbox: answers go to whoever asked."""
    texts = [f"text {number}" for number in range(8)]
    forged = [forge_edits(text) for text in texts]
    answers: dict[str, str | None] = {}

    async def ask(text: str, updates: list[bytes]) -> None:
        answers[text] = (await sandbox.fold(EMPTY, list(enumerate(updates, 1)), None)).rendered

    async with anyio.create_task_group() as tasks:
        for text, updates in zip(texts, forged, strict=True):
            tasks.start_soon(ask, text, updates)

    assert {text: text for text in texts} == answers


@needs_proc
async def test_cancelling_ends_the_worker(sandbox: Sandbox) -> None:
    """A cancelled question leaves no process behind, and the sandbox can be asked again."""
    before = child_pids()
    await sandbox.check(EMPTY, None)
    (pid,) = child_pids() - before
    stop(pid)

    with anyio.move_on_after(0.3) as scope:
        await sandbox.check(EMPTY, None)

    assert scope.cancelled_caught
    assert before == child_pids()
    assert (await sandbox.check(EMPTY, None)).empty


@needs_proc
async def test_a_worker_is_not_worn_by_what_its_parent_once_used() -> None:
    """A parent that has been large, as any that holds much else, keeps its worker from document to document."""
    large = b"x" * 300_000_000
    del large
    before = child_pids()
    async with Sandbox() as brief:
        await brief.check(EMPTY, None)

        assert 1 == len(child_pids()) - len(before)


@needs_proc
async def test_leaving_ends_the_worker() -> None:
    """After the block there is no process, not even a dead one."""
    before = child_pids()
    async with Sandbox() as brief:
        await brief.check(EMPTY, None)

        assert before != child_pids()
    assert before == child_pids()


async def test_worker_that_cannot_start_is_said_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A missing interpreter or a worker that ends at once is our failure, not the document's."""
    monkeypatch.setattr(process, "WORKER", tmp_path / "absent.py")
    async with Sandbox() as lame:
        with pytest.raises(WorkerFailed, match="does not start"):
            await lame.check(EMPTY, None)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    async with Sandbox() as lame:
        with pytest.raises(WorkerFailed, match="does not start"):
            await lame.check(EMPTY, None)


async def test_a_worker_needs_no_temporary_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last words come through a pipe: no folder need be writable for them, and only their end is told."""

    def read_only(*arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for name in ("TemporaryFile", "mkstemp", "NamedTemporaryFile"):
        monkeypatch.setattr(tempfile, name, read_only)
    async with Sandbox() as made:
        with pytest.raises(DamagedDocument):
            await made.check(ABORTS, None)
        assert (await made.check(EMPTY, None)).empty


async def test_a_worker_that_never_stops_talking_is_not_held_up(tmp_path: Path) -> None:
    """More words than the pipe has room for are lost, and the answer comes all the same."""
    script = tmp_path / "worker.py"
    script.write_text(TALKATIVE)
    worker = process.DocumentWorker.start(script)
    answer = await worker.request({}, [], process.RequestLimits(10, 1 << 30, 100))
    with pytest.raises(process.DocumentWorkerDied, match=r"crashed \(exit status 3\) last words$"):
        await worker.request({}, [], process.RequestLimits(10, 1 << 30, 100))

    assert [] == answer.blobs


TALKATIVE = """
import os, struct, sys
HEAD = struct.Struct(">cIQ")
def reply():
    body = b'{"blobs": []}'
    os.write(1, HEAD.pack(b"r", len(body), 0) + body)
def request():
    _, size, _ = HEAD.unpack(sys.stdin.buffer.read(HEAD.size))
    sys.stdin.buffer.read(size)
def say(text):
    try:
        os.write(2, text)
    except BlockingIOError:
        pass
reply()
request()
for _ in range(100_000):
    say(b"thread panicked ")
reply()
request()
say(b"a line\\nlast words\\n")
os._exit(3)
"""


@pytest.mark.parametrize(
    ("number", "hint"), [(errno.EMFILE, "ulimit -n"), (errno.EAGAIN, "ulimit -u"), (errno.ENOMEM, "ulimit -v")]
)
async def test_a_worker_that_the_system_refuses(number: int, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No descriptors, processes or memory: exit 9 with the cause and what helps."""

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(subprocess, "Popen", refuse)
    async with Sandbox() as lame:
        with pytest.raises(OutOfResources, match=os.strerror(number)) as caught:
            await lame.check(EMPTY, None)

    assert 9 == caught.value.exit_code
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("words", [
    "RuntimeError: can't start new thread", "OSError: [Errno 24] Too many open files",
    "ImportError: loro.so: failed to map segment from shared object", "MemoryError",
])  # fmt: skip
async def test_a_worker_that_finds_no_room_when_it_starts(tmp_path: Path, words: str) -> None:
    """It ends with a traceback, and its last line is the cause."""
    script = tmp_path / "worker.py"
    script.write_text(f"import sys; sys.stderr.write('Traceback\\n' + {words!r} + '\\n'); sys.exit(1)")
    worker = process.DocumentWorker.start(script)
    with pytest.raises(OutOfResources, match="does not start: crashed") as caught:
        await worker.request({}, [], process.RequestLimits(10, 1 << 30, 100))

    assert words in caught.value.message
    assert "Traceback" not in caught.value.message


@pytest.mark.parametrize("greeted", [True, False])
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
async def test_a_worker_that_somebody_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, greeted: bool
) -> None:
    """As the system does when memory is short: exit 9 with a hint, and never the document's fault, salvage or not."""
    script, hello = tmp_path / "worker.py", b'{"blobs":[]}'
    greeting = struct.pack(">cIQ", b"r", len(hello), 0) + hello
    serving = f"os.write(1, {greeting!r})\nos.read(0, 13)\n" if greeted else ""
    script.write_text(f"import os, signal\n{serving}os.kill(os.getpid(), signal.{name})\n")
    monkeypatch.setattr(process, "WORKER", script)
    async with Sandbox(salvage=True) as lame:
        with pytest.raises(OutOfResources, match=f"ended by {name}") as caught:
            await lame.fold(EMPTY, [(1, b"x")], None)

    assert 9 == caught.value.exit_code
    assert "memory" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "said",
    [
        'HEAD.pack(b"r", 2**32 - 1, 0)',
        'HEAD.pack(b"r", 2, 2**60) + b"{}"',
        'HEAD.pack(b"r", 2, 0) + b"[]"',
        'HEAD.pack(b"r", 2, 0) + b"{{"',
        'HEAD.pack(b"r", 13, 2) + b\'{"blobs":[1]}\' + b"xx"',
        'HEAD.pack(b"r", 17, 0) + b\'{"blobs":[-1, 1]}\'',
        'HEAD.pack(b"r", 12, 0) + b\'{"blobs":[]}\'',
    ],
)
async def test_answers_are_not_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str) -> None:
    """A worker that a document took over can claim any size or shape; nothing is allocated or kept for it."""
    taken_over = tmp_path / "worker.py"
    hello = b'{"blobs":[]}'
    taken_over.write_text(
        "import struct, sys\nHEAD = struct.Struct('>cIQ')\nout = sys.stdout.buffer\n"
        f"out.write(HEAD.pack(b'r', {len(hello)}, 0) + {hello!r})\nout.flush()\n"
        f"sys.stdin.buffer.read(13)\nout.write({said})\nout.flush()\nsys.stdin.buffer.read()\n"
    )
    monkeypatch.setattr(process, "WORKER", taken_over)
    async with Sandbox(seconds=5) as sandbox:
        with pytest.raises((DamagedDocument, WorkerFailed)):
            await sandbox.check(EMPTY, None)
