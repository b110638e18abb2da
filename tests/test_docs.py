"""The documents say what is there: commands, options, exit codes, public names; what they show to type runs."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

import pattern_stream
from pattern_stream.cli.main import COMMANDS, commands
from pattern_stream.errors import ExitCode
from tests.cli.terminal import call, environment
from tests.legacy.emptied import emptied
from tests.legacy.test_versions_1_and_2 import variants
from tests.transport.test_sshsig import saved

ROOT: Final = Path(__file__).resolve().parents[1]
SECONDS: Final = 120
OURS: Final = frozenset({"pattern-stream", "gzip", "gunzip", "zcat", "head", "jq", "export", "set"})
"""What a block may call to be run. A block that calls anything else (git, make, pipx) is read only."""


def text_of(name: str) -> str:
    """A document of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def shell_commands(block: str) -> list[str]:
    """The commands of a block without comments; continued lines are one, pipelines and lists are taken apart."""
    lines = block.replace("\\\n", " ").splitlines()
    whole = [re.sub(r"(^|\s)#.*", "", line).strip() for line in lines]
    return [part.strip() for line in whole for part in re.split(r"\|\||&&|[|;]", line) if part.strip()]


def first_words(block: str) -> set[str]:
    """The programs that a block calls; settings before a program's name are not the name."""
    return {re.sub(r"^(\w+=(\"[^\"]*\"|\S*)\s+)+", "", command).split()[0] for command in shell_commands(block)}


def parameters() -> Iterator[tuple[str, click.Parameter]]:
    """Every parameter of every command."""
    context = click.Context(commands)
    for name in COMMANDS:
        command = commands.get_command(context, name)
        assert command is not None
        yield from ((name, parameter) for parameter in command.params)


def long_options() -> list[tuple[str, str]]:
    """(command, option) for every option, by its long name."""
    return [(name, opt) for name, parameter in parameters() for opt in parameter.opts if opt.startswith("--")]


# --- what is there is said ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name: str) -> None:
    """Each command by its full name."""
    assert f"pattern-stream {name}" in text_of("README.md")


@pytest.mark.parametrize("option", sorted({option for _, option in long_options()}))
def test_every_option_is_in_the_readme(option: str) -> None:
    """Each option by its long name, as a word of its own."""
    assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text_of("README.md"))


@pytest.mark.parametrize("code", [int(code) for code in ExitCode])
def test_every_exit_code_is_in_the_readme(code: int) -> None:
    """Each exit code in a cell of a table."""
    cells = re.findall(r"\|\s*([\d`, ]+?)\s*(?=\|)", text_of("README.md"))

    assert str(code) in {number for cell in cells for number in re.findall(r"\d+", cell)}


@pytest.mark.parametrize("name", [name for name in pattern_stream.__all__ if not name.startswith("__")])
def test_every_public_name_is_documented(name: str) -> None:
    """Each name of `__all__` is there, has a docstring or is a type, and stands in README or ARCHITECTURE."""
    thing = getattr(pattern_stream, name)

    assert thing.__doc__
    assert re.search(rf"\b{re.escape(name)}\b", text_of("README.md") + text_of("ARCHITECTURE.md"))


@pytest.mark.parametrize("room", sorted(path.name for path in (ROOT / "pattern_stream").iterdir() if path.is_dir()))
def test_every_room_is_in_the_tour(room: str) -> None:
    """ARCHITECTURE goes through every room."""
    if room != "__pycache__":
        assert f"{room}/" in text_of("ARCHITECTURE.md")


def test_the_version_is_in_the_changelog() -> None:
    """The version that the package says it is has its entry."""
    assert re.search(rf"^## .*{re.escape(pattern_stream.__version__)}", text_of("CHANGELOG.md"), re.MULTILINE)


# --- what is said is there ---------------------------------------------------------------------------------------


def test_documented_options_exist() -> None:
    """An option in code quotes in the README belongs to some command."""
    known = {option for _, option in long_options()} | {"--help", "--version"}
    said = set(re.findall(r"`(--[a-z][a-z-]*)[^`]*`", text_of("README.md")))

    assert set() == said - known


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "docs/coming-from.md"])
def test_links_lead_somewhere(document: str) -> None:
    """A relative link leads to a file of the project."""
    targets = re.findall(r"\]\((?!\w+:)([^)#]+)", text_of(document))

    folder = (ROOT / document).parent
    assert [] == [target for target in targets if not (folder / target).exists()]


def test_named_make_targets_exist() -> None:
    """`make X` in the README is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", text_of("Makefile"), re.MULTILINE))
    said = set(re.findall(r"(?:`|^)make ([a-z]+)", text_of("README.md"), re.MULTILINE))

    assert set() == said - targets


# --- what is shown runs ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a demo, `constellation.db`, in which the documents' blocks are run one after another."""
    folder = tmp_path_factory.mktemp("desk")
    assert 0 == call(folder, "demo", "--db", "constellation.db", "--messages", "60", "-q").code
    (folder / "emptied.car").write_bytes(asyncio.run(emptied()))
    (folder / "old.car").write_bytes(variants()["2b constellation"])
    (folder / "passphrase.txt").write_text("geheim\n")
    (folder / ".ssh").mkdir()
    public = saved(ed25519.Ed25519PrivateKey.generate(), folder / ".ssh/id_ed25519")
    (folder / "id_ed25519.pub").write_text(f"{public}\n")
    (folder / "allowed_signers").write_text(f"me@example.org {public}\n")
    script = folder / "bin/pattern-stream"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pattern_stream "$@"\n')
    script.chmod(0o755)
    return folder


def _run(desk: Path, *command: str) -> None:
    path = f"{desk / 'bin'}{os.pathsep}{os.environ['PATH']}"
    env = environment(desk, PATH=path, PATTERN_DB=str(desk / "constellation.db"))
    run = subprocess.run(command, cwd=desk, env=env, capture_output=True, timeout=SECONDS, check=False)

    assert (0, "") == (run.returncode, run.stderr.decode() if run.returncode else "")


@pytest.mark.parametrize("block", [block for block in blocks(text_of("README.md"), "sh") if first_words(block) <= OURS])
def test_shell_blocks_run(desk: Path, block: str) -> None:
    """A block of our own commands does what it says, on a demo, from top to bottom of the README."""
    _run(desk, "bash", "-euo", "pipefail", "-c", block)


@pytest.mark.parametrize("block", blocks(text_of("docs/coming-from.md"), "sh"))
def test_recipes_run(desk: Path, block: str) -> None:
    """Each recipe does what it says, on a small source of its kind."""
    for made in ("new.car", "converted.db"):
        (desk / made).unlink(missing_ok=True)
    _run(desk, "bash", "-euo", "pipefail", "-c", block)


@pytest.mark.parametrize("block", blocks(text_of("README.md"), "python"))
def test_python_blocks_run(desk: Path, block: str) -> None:
    """A Python block of the README is a whole program."""
    _run(desk, sys.executable, "-W", "error", "-c", block)


def _usage(example: Path) -> list[str]:
    """The arguments of an example's `Usage: python examples/NAME.py ...`, what is in brackets left out."""
    found = re.search(rf"Usage: python examples/{example.name}(.*)", example.read_text(encoding="utf-8"))
    assert found, f"{example.name} has no line 'Usage: python examples/{example.name} ...'"
    return re.sub(r"\[[^]]*\]", "", found[1]).rstrip('".').split()


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_examples_run(desk: Path, tmp_path: Path, example: Path) -> None:
    """Each example runs as its usage line says, beside a demo, and stays within the house's length."""
    shutil.copy(desk / "constellation.db", tmp_path)
    assert 0 == call(tmp_path, "export", "--db", "constellation.db", "-o", "out.car", "-q").code
    env = environment(tmp_path)
    command = [sys.executable, "-W", "error", str(example), *_usage(example)]
    run = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, timeout=SECONDS, check=False)

    assert (0, "") == (run.returncode, run.stderr.decode() if run.returncode else "")
    assert run.stdout
