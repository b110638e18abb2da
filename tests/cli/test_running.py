"""How a run ends: signals, closed pipes, full disks, closed streams, errors of our own."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.archives import agent_archive
from tests.cli.conftest import Cli
from tests.cli.terminal import COMMAND, Outcome, call, environment, interrupted, start

PROGRESS = b'"stage":"export"'


def leftovers(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"), (signal.SIGHUP, 143, "terminated")],
)
def test_a_signal_leaves_nothing(home: Path, tmp_path: Path, large: Path, number: int, code: int, word: str) -> None:
    """A signal in the midst of an export: its exit code, one line, no file, no partial file, no spool."""
    folder = tmp_path / "out"
    folder.mkdir()
    process = start(home, "export", "--db", large, "-o", folder / "o.car", "--progress", "json")
    outcome = interrupted(process, number, at=PROGRESS)

    assert code == outcome.code
    assert f"{word}: nothing was left half done" == outcome.said[-1]["error"]["message"]
    assert "Traceback" not in outcome.err
    assert [] == leftovers(folder)


def test_a_signal_keeps_the_old_file(home: Path, tmp_path: Path, large: Path) -> None:
    """With --force, an interrupted export leaves the file that was there."""
    old = tmp_path / "o.car"
    old.write_bytes(b"old")
    process = start(home, "export", "--db", large, "-o", old, "--force", "--progress", "json")
    outcome = interrupted(process, signal.SIGINT, at=PROGRESS)

    assert 130 == outcome.code
    assert b"old" == old.read_bytes()
    assert not (tmp_path / ".o.car.pattern-stream-partial").exists()


def test_a_signal_with_json(home: Path, tmp_path: Path, large: Path) -> None:
    """With --json an interrupted run says so on stdout too."""
    process = start(home, "export", "--db", large, "-o", tmp_path / "o.car", "--progress", "json", "--json")
    outcome = interrupted(process, signal.SIGTERM, at=PROGRESS)

    assert "terminated" == outcome.json["error"]["code"]


def test_a_signal_while_nobody_reads(home: Path, large: Path) -> None:
    """Ctrl-C while the pipe is full and its reader sleeps: the command does not wait for the reader."""
    process = start(home, "export", "--db", large, "--progress", "json")
    assert process.stderr is not None
    for line in process.stderr:
        if b'"stage":"write"' in line:
            break
    process.send_signal(signal.SIGINT)
    code = process.wait(timeout=20)
    process.communicate()

    assert 130 == code


def test_an_ignored_interrupt_stays_ignored(home: Path, tmp_path: Path, large: Path) -> None:
    """Started in the background with SIGINT ignored, as a shell does, the export goes on."""
    target = tmp_path / "o.car"
    process = start(
        home, "export", "--db", large, "-o", target, "--progress", "json",
        prepare=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )  # fmt: skip
    outcome = interrupted(process, signal.SIGINT, at=PROGRESS)

    assert 0 == outcome.code
    assert target.exists()


@pytest.mark.parametrize("reader", ["head -c 1", "true"])
def test_a_closed_pipe_is_quiet(home: Path, large: Path, reader: str) -> None:
    """A reader that has seen enough: exit 141, and not a word."""
    line = f'"$@" | {reader} > /dev/null; exit "${{PIPESTATUS[0]}}"'
    arguments = ["export", "--db", str(large), "-q"]
    run = subprocess.run(
        ["bash", "-c", line, "bash", *COMMAND, *arguments], env=environment(home), capture_output=True, check=False
    )

    assert (141, b"") == (run.returncode, run.stderr)


def test_a_pipe_closed_before_text_is_quiet(home: Path, small: Path) -> None:
    """The same for a command that prints text."""
    ours, theirs = os.pipe()
    os.close(ours)
    with start(home, "list", "--db", small, "-q", stdout=theirs) as process:
        os.close(theirs)
        _, err = process.communicate()

    assert (141, b"") == (process.returncode, err)


def test_errors_told_to_a_closed_pipe_keep_their_exit_code(home: Path) -> None:
    """`2>&1 | true`: nobody reads the message, the exit code still says what happened."""
    ours, theirs = os.pipe()
    os.close(ours)
    with start(home, "list", "--db", home / "none.db", "-q", stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        process.communicate()

    assert 6 == process.returncode


def test_a_full_device(home: Path, small: Path) -> None:
    """Text and archives that do not fit where stdout leads: exit 9, said in one line."""
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full is not there: it is a device of Linux")
    for arguments in (["list", "--db", small, "-q"], ["export", "--db", small, "-q"], ["export", "--help"]):
        with open("/dev/full", "wb") as full, start(home, *arguments, stdout=full) as process:
            _, err = process.communicate()

        assert 9 == process.returncode
        assert b"no space left on device" in err.lower()
        assert b"Traceback" not in err


def test_a_full_device_for_messages(home: Path, small: Path) -> None:
    """What cannot be said on stderr keeps nobody from doing what was asked."""
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full is not there: it is a device of Linux")
    with open("/dev/full", "wb") as full, start(home, "list", "--db", small, stderr=full) as process:
        out, _ = process.communicate()

    assert 0 == process.returncode
    assert out.startswith(b"agents: ")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_text_that_is_cut_is_not_done(home: Path, tmp_path: Path, unbuffered: str) -> None:
    """A system that takes a part of a line, as a disk that is nearly full does: exit 9, with and without buffers."""
    (tmp_path / "in.car").write_bytes(agent_archive().to_bytes())
    limit = 512
    with (tmp_path / "out").open("wb") as out:
        outcome = call(
            home, "inspect", tmp_path / "in.car", "--json", "-q", stdout=out, env={"PYTHONUNBUFFERED": unbuffered},
            prepare=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )  # fmt: skip

    assert limit == (tmp_path / "out").stat().st_size
    assert 9 == outcome.code
    assert ["error: writing to standard output: File too large"] == outcome.errors


def test_a_file_that_may_not_grow(home: Path, tmp_path: Path, large: Path) -> None:
    """RLIMIT_FSIZE, like a full disk: exit 9 and nothing left."""
    folder = tmp_path / "out"
    folder.mkdir()
    limit = 1024 * 1024
    process = start(
        home, "export", "--db", large, "-o", folder / "o.car", "-q", "--spool-dir", folder,
        prepare=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    _, err = process.communicate()

    assert 9 == process.returncode
    assert err.startswith(b"error: ")
    assert b"Traceback" not in err
    assert [] == leftovers(folder)


@pytest.mark.parametrize("closed", ["0<&-", "2>&-", "0<&- 2>&-"])
def test_closed_streams_harm_nothing(home: Path, small: Path, tmp_path: Path, closed: str) -> None:
    """stdin or stderr closed by the caller: no message ever lands in a database or an archive."""
    before, target = small.read_bytes(), tmp_path / "o.car"
    line = f'"$@" {closed}; exit $?'
    arguments = ["export", "--db", str(small), "-o", str(target)]
    run = subprocess.run(["bash", "-c", line, "bash", *COMMAND, *arguments], env=environment(home), check=False)

    assert 0 == run.returncode
    assert before == small.read_bytes()
    assert b"export" not in target.read_bytes()[:64]


def test_closed_stdout_takes_no_archive(home: Path, small: Path) -> None:
    """stdout closed by the caller: an archive has nowhere to go, exit 2."""
    run = subprocess.run(
        ["bash", "-c", '"$@" >&-; exit $?', "bash", *COMMAND, "export", "--db", str(small)],
        env=environment(home), capture_output=True, check=False,
    )  # fmt: skip

    assert 2 == run.returncode
    assert b"error: stdout is closed" in run.stderr


BROKEN = """
import sys
import time
from pattern_stream.cli import main, running
def fail(*_): raise {error}
running._invoke = fail
sys.argv = ["pattern-stream", "list"]
main.main()
"""


def _broken(home: Path, error: str) -> Outcome:
    run = subprocess.run(
        [sys.executable, "-c", BROKEN.format(error=error)], env=environment(home), capture_output=True, check=False
    )
    return Outcome(run.returncode, run.stdout, run.stderr.decode())


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ("ValueError('two\\nlines \\x1b[31m')", 1, "error: internal error: ValueError: two lines \\x1b[31m"),
        ("MemoryError()", 9, "error: there is not enough memory for this"),
        ('RuntimeError("can\'t start new thread")', 9, "error: no further thread can be started"),
        ("OSError(24, 'x')", 9, "error: too many open files"),
        ("RecursionError('deep')", 1, "error: internal error: RecursionError: deep"),
        ("KeyboardInterrupt()", 130, "error: interrupted: nothing was left half done"),
        ("PermissionError(13, 'x', 'f')", 9, "error: permission denied: f"),
        ("OSError(28, 'x')", 9, "error: no space left on device"),
        ("FileNotFoundError(2, 'x', 'f')", 6, "error: no such file or directory: f"),
    ],
)
def test_what_nobody_foresaw_is_one_line(home: Path, error: str, code: int, message: str) -> None:
    """Whatever is raised: an exit code and one line, never a traceback."""
    outcome = _broken(home, error)

    assert (code, b"") == (outcome.code, outcome.out)
    assert [message] == outcome.errors
    assert "Traceback" not in outcome.err


def test_an_internal_error_shows_its_traceback_with_v(home: Path) -> None:
    """-v adds the traceback of an internal error, and only then."""
    script = (
        "import sys\nfrom pattern_stream.cli import main, list_command\n"
        "def fail(*_): raise ValueError('odd')\n"
        "list_command.chosen_database = fail\n"
        "sys.argv = ['pattern-stream', 'list', *sys.argv[1:]]\nmain.main()"
    )
    runs = [
        subprocess.run([sys.executable, "-c", script, *more], env=environment(home), capture_output=True, check=False)
        for more in ([], ["-v"])
    ]

    assert [1, 1] == [run.returncode for run in runs]
    assert b"Traceback" not in runs[0].stderr
    assert b"Traceback" in runs[1].stderr


def test_quiet_is_silent(cli: Cli, small: Path, tmp_path: Path) -> None:
    """-q says nothing but errors."""
    outcome = cli("export", "--db", small, "-o", tmp_path / "o.car", "-q", "--progress", "plain")
    failed = cli("export", "--db", small, "-o", tmp_path / "o.car", "-q")

    assert (0, b"", "") == (outcome.code, outcome.out, outcome.err)
    assert 1 == len(failed.errors)


@pytest.mark.parametrize("pair", [(signal.SIGTERM, signal.SIGHUP), (signal.SIGINT, signal.SIGINT)])
@pytest.mark.parametrize("gap", [0.0, 0.003, 0.05])
def test_signals_close_together_are_one(
    home: Path, tmp_path: Path, large: Path, pair: tuple[int, int], gap: float
) -> None:
    """TERM and HUP, as service managers send them, or Ctrl-C twice: one clean end, nothing left, no internal error."""
    folder = tmp_path / "out"
    folder.mkdir()
    process = start(home, "export", "--db", large, "-o", folder / "o.car", "--progress", "json")
    assert process.stderr is not None
    for line in process.stderr:
        if PROGRESS in line:
            break
    for number in pair:
        process.send_signal(number)
        time.sleep(gap)
    _, err = process.communicate(timeout=20)

    assert process.returncode == (130 if pair[0] == signal.SIGINT else 143)
    assert b"internal error" not in err
    assert [] == leftovers(folder)


def test_a_later_signal_ends_at_once(home: Path, tmp_path: Path, large: Path) -> None:
    """Whoever asks again after a second does not wait for the clean-up of a line that cannot come to its end."""
    ours, theirs = os.pipe()
    process = start(home, "export", "--db", large, "-q", stdout=theirs, prepare=lambda: None)
    os.close(theirs)
    time.sleep(2.5)  # the pipe is full, and nobody reads it
    process.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    time.sleep(1.2)
    process.send_signal(signal.SIGTERM)
    code = process.wait(timeout=10)
    process.communicate()
    os.close(ours)

    assert 143 == code


STUCK = """
import anyio
from pathlib import Path
from pattern_stream.cli.running import INTERRUPTION
from pattern_stream.db.connection.new_database import open_new
from pattern_stream.transport.files import open_output

async def work():
    async with open_output(Path("o.car")) as out, open_new(Path("n.db")) as connection:
        await out.write(b"half")
        await connection.execute("PRAGMA journal_mode = WAL")
        await connection.execute("CREATE TABLE t (x)")
        print("stuck", flush=True)
        with anyio.CancelScope(shield=True):
            await anyio.sleep(60)

INTERRUPTION.install()
anyio.run(INTERRUPTION.supervise, work)
"""


def test_a_later_signal_removes_what_was_under_way(home: Path, tmp_path: Path) -> None:
    """An archive and a database with its WAL, of a line whose clean-up hangs: nothing of them stays."""
    folder = tmp_path / "out"
    folder.mkdir()
    process = subprocess.Popen([sys.executable, "-c", STUCK], env=environment(home), cwd=folder, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert b"stuck" in process.stdout.readline()
    during = leftovers(folder)
    process.send_signal(signal.SIGTERM)
    time.sleep(1.2)
    process.send_signal(signal.SIGHUP)
    code = process.wait(timeout=10)
    process.communicate()

    assert 5 == len(during), during
    assert 143 == code
    assert [] == leftovers(folder)


def test_a_slow_reader_of_a_non_blocking_pipe_gets_all(home: Path, small: Path, tmp_path: Path) -> None:
    """stdout in non-blocking mode, as a parent may have set it: no line of a dump is lost or cut."""
    archive = tmp_path / "o.car"
    assert 0 == call(home, "export", "--db", small, "-o", archive, "-q").code
    whole = call(home, "dump", archive, "-q").out
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    process = start(home, "dump", archive, "-q", stdout=theirs)
    os.close(theirs)
    arrived = b""
    while data := os.read(ours, 4096):
        arrived += data
        time.sleep(0.001)
    process.communicate()
    os.close(ours)

    assert 0 == process.returncode
    assert whole == arrived


def test_a_summary_that_has_no_place_stops_before_the_work(home: Path, small: Path, tmp_path: Path) -> None:
    """--json with stdout closed: exit 9 before anything is made."""
    archive, made = tmp_path / "o.car", tmp_path / "n.db"
    assert 0 == call(home, "export", "--db", small, "-o", archive, "-q").code
    commands: list[list[str | Path]] = [["import", archive], ["init"], ["demo"]]
    for command in commands:
        outcome = call(home, *command, "--db", made, "--json", prepare=lambda: os.close(1))

        assert 9 == outcome.code
        assert "stdout is closed" in outcome.err
        assert not made.exists()


def test_a_summary_that_is_lost_after_the_work(home: Path, small: Path, tmp_path: Path) -> None:
    """--json into a full device or a closed pipe: exit 3, and the word that the work is done."""
    archive = tmp_path / "o.car"
    assert 0 == call(home, "export", "--db", small, "-o", archive, "-q").code
    ours, theirs = os.pipe()
    os.close(ours)
    full = os.open("/dev/full", os.O_WRONLY) if Path("/dev/full").exists() else theirs
    for number, stream in enumerate((theirs, full)):
        made = tmp_path / f"n{number}.db"
        outcome = call(home, "import", archive, "--db", made, "--json", stdout=stream)

        assert 3 == outcome.code
        assert "error: the import is done, but its summary could not be told" in outcome.err
        assert 0 == call(home, "list", "--db", made, "-q").code


@pytest.mark.parametrize("most", [12, 14, 16])
def test_too_few_descriptors(home: Path, small: Path, tmp_path: Path, most: int) -> None:
    """Each command says so with exit 9 and a hint, or does its work."""
    archive = tmp_path / "o.car"
    assert 0 == call(home, "export", "--db", small, "-o", archive, "-q").code
    commands: list[list[str | Path]] = [
        ["verify", archive], ["import", archive, "--db", tmp_path / "n.db"], ["list", "--db", small],
        ["export", "--db", small, "-o", tmp_path / "p.car"], ["dump", archive, "blocks"],
        ["demo", "--db", tmp_path / "d.db"],
    ]  # fmt: skip
    for command in commands:
        outcome = call(home, *command, "-q", prepare=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)))

        assert outcome.code in (0, 9), outcome
        assert not outcome.code or ("ulimit -n" in outcome.err and "oo many open files" in outcome.err)


@pytest.mark.skipif(sys.platform != "linux", reason="an address-space limit binds on Linux")
@pytest.mark.parametrize("most", [50_000, 110_000, 140_000])
def test_too_little_memory(home: Path, small: Path, tmp_path: Path, most: int) -> None:
    """Where the whole program has too little, no document is called damaged for it: exit 9 and a hint."""
    archive = tmp_path / "o.car"
    assert 0 == call(home, "export", "--db", small, "-o", archive, "-q").code
    commands: list[list[str | Path]] = [
        ["verify", archive], ["export", "--db", small, "-o", tmp_path / "p.car"], ["demo", "--db", tmp_path / "d.db"],
    ]  # fmt: skip
    for command in commands:
        outcome = call(
            home, *command, "-q", prepare=lambda: resource.setrlimit(resource.RLIMIT_AS, (most * 1024, most * 1024))
        )

        assert outcome.code in (0, 9), outcome
        assert not outcome.code or "ulimit -v" in outcome.err, outcome
