"""The short form of the harness: a few points of each kind. The long form is `make soak`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from tests.soak.faulting import FAULTS, Fault, break_storage
from tests.soak.kills import calls, kill, moments
from tests.soak.living import call, live
from tests.soak.runner import Unavailable, compiled, running
from tests.soak.scenes import SCENES, Scene, Stage, Wrong, furnish, scenes
from tests.soak.signals import send_pairs
from tests.soak.states import Torn, state_of
from tests.soak.stopping import stop_commands
from tests.soak.writer import Writer

pytestmark = pytest.mark.skipif("sys.platform != 'linux'", reason="the harness needs Linux: /proc and a preloaded shim")

STRIDE: Final = 61
POINTS: Final = 2
"""Each kind of fault starts at another call: together they come to many places."""

FEWEST_CALLS: Final = 11
"""What a command that only reads makes at least."""

KILLED: Final = ("export over a file", "import, missing", "import, living")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A runner with the shim, and what the scenes start from."""
    folder = tmp_path_factory.mktemp("soak")
    try:
        shim = compiled(folder)
    except Unavailable as reason:
        pytest.skip(str(reason))
    with running(folder, shim=shim) as runner:
        yield furnish(runner, folder / "store")


def test_each_archive_is_one_committed_state(tmp_path: Path) -> None:
    """Exports beside a program that commits hundreds of transactions a second: none is torn, each is fresh."""
    lived = live(tmp_path, exports=2, messages=30)

    assert 2 == len(lived.states)
    assert 0 < lived.states[0] < lived.states[1] < lived.transactions


@pytest.mark.parametrize("scene", scenes(KILLED), ids=lambda scene: scene.name)
def test_kills_leave_old_or_new(stage: Stage, scene: Scene) -> None:
    """Killed at any moment, a command leaves the old or the new target; done again, it cleans up."""
    by_clock = kill(stage, scene, moments(stage, scene, 2, seed=3))
    by_call = kill(stage, scene, calls(stage, scene, 3))

    assert [] == by_clock.wrong + by_call.wrong
    assert 4 <= by_clock.points + by_call.points
    assert by_call.verdicts["old"]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_faults_of_the_storage(stage: Stage, scene: Scene) -> None:
    """A call that fails leaves the old target, nothing beside it, no process, exit 9 and a line that says what."""
    stage.rehearse(scene)
    tallies = [
        break_storage(stage, scene, fault, start=start_of(scene, fault), stride=STRIDE, most=POINTS) for fault in FAULTS
    ]

    assert [] == [fact for tally in tallies for fact in tally.wrong]
    assert sum(tally.points for tally in tallies)


def test_two_signals(tmp_path: Path) -> None:
    """Close together they are one wish, and later ones end the run at once: nothing is left either way."""
    assert [] == send_pairs(tmp_path, 4, seed=2, messages=4000)


def test_stopped_commands_go_on(tmp_path: Path) -> None:
    """For a second here, which nobody minds: that the harness stops and continues what it started."""
    assert [] == stop_commands(tmp_path, seconds=1, moments=[0.3])


def start_of(scene: Scene, fault: Fault) -> int:
    """The first call that fails."""
    return 1 + (5 * SCENES.index(scene) + 9 * FAULTS.index(fault)) % (STRIDE if scene.target else FEWEST_CALLS)


# --- the harness itself ------------------------------------------------------------------------------------------


def test_a_change_beside_the_target_is_seen(stage: Stage) -> None:
    """What was given to a command must stay as it was, and nothing may be added."""
    scene = scenes(["import, missing"])[0]
    stage.rehearse(scene)
    place = stage.runner.folder

    assert "new" == stage.verdict(scene)
    (place / ".new.db.pattern-stream-partial").touch()
    assert [".new.db.pattern-stream-partial"] == stage.strangers(scene)
    (place / "in.car").write_bytes(b"")
    with pytest.raises(Wrong, match=r"in\.car was changed"):
        stage.verdict(scene)


def test_half_a_database_is_seen(stage: Stage) -> None:
    """A target that is neither old nor new is told from both."""
    scene = scenes(["import, living"])[0]
    stage.rehearse(scene)
    stage.set(scene)

    assert "old" == stage.verdict(scene)
    lose_a_row(stage.runner.folder / "new.db")
    with pytest.raises(Wrong, match="neither old nor new"):
        stage.verdict(scene)


def lose_a_row(database: Path) -> None:
    """Delete one message."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM messages WHERE rowid = (SELECT min(rowid) FROM messages)")


def test_half_a_transaction_is_seen(tmp_path: Path) -> None:
    """An archive that lacks one row of a transaction is no committed state."""
    database, out = tmp_path / "living.db", tmp_path / "out.car"
    call("init", "--db", str(database), "-q")
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        writer = Writer(connection)
        connection.execute("BEGIN")
        writer.move_in()
        for _ in range(20):
            writer.commit_next()
    call("export", "--db", str(database), "-o", str(out), "-q")

    assert 20 == state_of(out.read_bytes())
    lose_a_row(database)
    call("export", "--db", str(database), "-o", str(out), "--force", "-q")
    with pytest.raises(Torn, match="tick says 20; messages"):
        state_of(out.read_bytes())
