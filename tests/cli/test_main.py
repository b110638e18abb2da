"""The command as a whole: help, version, what it imports, how it takes nonsense."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import click
import pytest

from pattern_stream import __version__
from pattern_stream.cli.main import COMMANDS, commands
from tests.cli.conftest import Cli
from tests.cli.terminal import environment

HELP_SECONDS = 0.15


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_has_help_with_an_example(cli: Cli, name: str, option: str) -> None:
    """`COMMAND --help` and `-h` tell how it is used, with an example of that very command, on stdout."""
    outcome = cli(name, option)

    assert 0 == outcome.code
    assert outcome.out.decode().startswith(f"Usage: pattern-stream {name} ")
    assert "Example" in outcome.out.decode()
    assert f"  pattern-stream {name}" in outcome.out.decode().split("Example")[1]
    assert "" == outcome.err


def test_help_lists_commands_in_the_order_they_are_met(cli: Cli) -> None:
    """`--help` names every command once, in the order of COMMANDS."""
    lines = cli("--help").out.decode().split("Commands:")[1].split("Example")[0].splitlines()

    assert list(COMMANDS) == [line.split()[0] for line in lines if line.strip()]


def test_version(cli: Cli) -> None:
    """`--version` is the program's name and version."""
    assert f"pattern-stream {__version__}\n" == cli("--version").out.decode()


def test_the_console_script_is_the_same_command(home: Path) -> None:
    """`pattern-stream` and `python -m pattern_stream` say the same."""
    script = Path(sys.executable).with_name("pattern-stream")
    if not script.exists():
        pytest.skip(f"{script} is not there: the package is not installed in this environment")
    runs = [
        subprocess.run([*start, "list", "--nonsense"], env=environment(home), capture_output=True, check=False)
        for start in ([script], [sys.executable, "-m", "pattern_stream"])
    ]

    assert (2, 2) == (runs[0].returncode, runs[1].returncode)
    assert runs[0].stderr == runs[1].stderr


def test_no_command_is_a_usage_error(cli: Cli) -> None:
    """Without a command the help is shown on stderr, and the exit code is 2."""
    outcome = cli()

    assert (2, b"") == (outcome.code, outcome.out)
    assert "Commands:" in outcome.err


def test_help_imports_nothing_heavy(home: Path) -> None:
    """`--help` imports click and our own thin modules: no event loop, no database, no codec, no rich."""
    script = (
        "import sys; sys.argv = ['pattern-stream', '--help']\n"
        "from pattern_stream.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "import json; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})), file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", script], env=environment(home), capture_output=True, check=True)
    heavy = "aiosqlite anyio asyncio blake3 cbor2 libipld loro multiformats orjson platformdirs rich sqlalchemy sqlite3"

    assert set() == set(heavy.split()) & set(json.loads(run.stderr))


def test_help_is_quick(home: Path) -> None:
    """`--help` takes 0.15 s of processor time at most, all of it: what else the machine does is not our claim."""
    seconds = []
    for _ in range(5):
        before = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        run = [sys.executable, "-m", "pattern_stream", "--help"]
        subprocess.run(run, env=environment(home), stdout=subprocess.DEVNULL, check=True)
        seconds.append(sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before)

    assert HELP_SECONDS >= min(seconds)


def test_shell_completion(home: Path) -> None:
    """click's completion answers for commands and options, under either way of starting."""
    more = {"_PATTERN_STREAM_COMPLETE": "bash_complete", "COMP_WORDS": "pattern-stream export --sc", "COMP_CWORD": "2"}
    run = subprocess.run(
        [sys.executable, "-m", "pattern_stream"], env=environment(home, **more), capture_output=True, check=False
    )

    assert "plain,--scope" in run.stdout.decode().splitlines()


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["exprt"], "no such command 'exprt'", "see pattern-stream --help"),
        (["list", "--jsn"], "no such option", "see pattern-stream list --help"),
        (["list", "aggents"], "'aggents' is not one of", "see pattern-stream list --help"),
        (["export", "--max-chunk-bytes", "0"], "0 is not in the range x>=1", "see pattern-stream export --help"),
        (["export", "--max-messages-per-chunk", "x"], "'x' is not a valid integer range", "export --help"),
        (["export", "--progress", "loud"], "'loud' is not one of", "export --help"),
        (["inspect"], "missing argument 'FILE'", "see pattern-stream inspect --help"),
        (["init", "extra"], "unexpected extra argument", "see pattern-stream init --help"),
        (["demo", "--db"], "'--db' requires an argument", "--help"),
    ],
)
def test_nonsense_is_a_usage_error(cli: Cli, arguments: list[str], message: str, hint: str) -> None:
    """What the options cannot mean: exit 2, one error line, one hint line, nothing on stdout."""
    outcome = cli(*arguments)
    error, help_line = outcome.err.splitlines()

    assert (2, b"") == (outcome.code, outcome.out)
    assert error.startswith("error: ")
    assert message in error
    assert help_line.startswith("hint: ")
    assert hint in help_line


def test_a_usage_error_obeys_json(cli: Cli) -> None:
    """With --json a usage error is an object on stdout too, wherever --json stands."""
    outcome = cli("list", "--nonsense", "--json")
    later = cli("list", "aggents", "--json")

    assert {"code", "message", "where", "hint"} == set(later.json["error"])
    assert "usage-error" == later.json["error"]["code"]
    assert 2 == outcome.code == later.code


def test_every_option_is_explained() -> None:
    """No option without a help text."""
    context = click.Context(commands)
    silent = [
        f"{name} {option.opts[0]}"
        for name in COMMANDS
        for option in (commands.get_command(context, name) or commands).params
        if isinstance(option, click.Option) and not option.help
    ]

    assert [] == silent


def test_an_encoding_that_lacks_a_letter_is_no_error(cli: Cli, small: Path) -> None:
    """On a terminal that knows only ASCII, other letters come out escaped."""
    outcome = cli("list", "--db", small, env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})

    assert (0, []) == (outcome.code, outcome.errors)
    assert outcome.out.isascii()
    assert os.linesep.encode() in outcome.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("verify", "full.car", "--foo", "--json"), True),
        (("verify", "full.car", "--foo"), False),
        (("export", "--foo", "--json"), False),
        (("export", "--json", "--scope", "bad", "-o", "-"), False),
        (("export", "--json", "--max-chunk-bytes", "0", "--output=-"), False),
        (("export", "--json", "--scope", "bad", "-o-"), False),
        (("export", "--json", "--scope", "bad", "-o", "out.car"), True),
        (("export", "--json", "--scope", "bad", "-oout.car"), True),
        (("export", "--json", "--scope", "bad", "--dry-run"), True),
        (("dump", "full.car", "nonsense", "--", "--json"), False),
    ],
)
def test_errors_in_the_options_are_told_to_scripts(cli: Cli, arguments: tuple[str, ...], told: bool) -> None:
    """As JSON on stdout where --json is among them, but never where the archive would go."""
    outcome = cli(*arguments)

    assert 2 == outcome.code
    assert told == bool(outcome.out)
    assert not told or "usage-error" == outcome.json["error"]["code"]


@pytest.mark.parametrize("arguments", [("list", "agents"), ("list", "agents", "--json"), ("export",)])
def test_a_closed_stdout_takes_no_data(cli: Cli, small: Path, arguments: tuple[str, ...]) -> None:
    """What was asked for is lost: that is no success."""
    outcome = cli(*arguments, "--db", small, prepare=lambda: os.close(1))

    assert 2 == outcome.code
    assert "stdout is closed" in outcome.err
