"""`make matrix`: the tests on every Python that the project names, with the oldest and the newest allowed dependencies.

Usage: python -m tests.packaging.matrix [VERSION[:oldest|:newest] ...] [-- PYTEST ARGUMENTS]
Needs uv, which resolves the oldest versions; where it is not on PATH it is installed into the folder of environments.
Each combination has an environment, a list of what is in it, and a log there. A Python that is neither on the machine
nor to be had is named and left out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / ".matrix"
RESOLUTIONS: Final = {"oldest": "lowest-direct", "newest": "highest"}


def say(text: str) -> None:
    """A line on stdout."""
    sys.stdout.write(f"== matrix: {text}\n")
    sys.stdout.flush()


def versions() -> list[str]:
    """The minor versions of Python that the project names in its classifiers."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    classifiers = tomllib.loads(text)["project"]["classifiers"]
    return [
        found[1] for each in classifiers if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", each))
    ]


def find_uv() -> str:
    """uv of the machine, or one of our own."""
    if found := shutil.which("uv"):
        return found
    programs = FOLDER / "uv" / "bin"
    if not (programs / "uv").exists():
        say("installing uv")
        venv.create(FOLDER / "uv", with_pip=True, clear=True)
        pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"]
        subprocess.run([str(programs / "python"), *pip], check=True)
    return str(programs / "uv")


def candidates(version: str, uv: str) -> Iterator[list[str]]:
    """Commands that may be a Python of that version: on PATH, of pyenv, of uv."""
    yield [f"python{version}"]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    yield from ([str(path / "bin/python3")] for path in sorted(pyenv.glob(f"{version}.*"), reverse=True))
    yield [uv, "run", "--quiet", "--no-project", "--python", version, "python"]


def find_python(version: str, uv: str) -> str | None:
    """The path of a CPython of that version; uv may download one."""
    tell = "import platform, sys; print(platform.python_implementation(), *sys.version_info[:2], sys.executable)"
    for command in candidates(version, uv):
        try:
            said = subprocess.run([*command, "-c", tell], capture_output=True, text=True, check=False).stdout.split(
                None, 3
            )
        except OSError:
            continue
        if ["CPython", *version.split(".")] == said[:3]:
            return said[3].strip()
    return None


def prepare(uv: str, python: str, name: str, resolution: str) -> Path:
    """A new environment with the project and its development tools; its Python."""
    folder = FOLDER / name
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", python, folder], check=True)
    into = folder / "bin/python"
    wanted = ["--resolution", RESOLUTIONS[resolution], "--group", "dev", "--editable", "."]
    subprocess.run([uv, "pip", "install", "--quiet", "--python", into, *wanted], cwd=ROOT, check=True)
    listed = subprocess.run([uv, "pip", "freeze", "--python", into], cwd=ROOT, check=True, capture_output=True)
    (FOLDER / f"{name}.txt").write_bytes(listed.stdout)
    return into


def test(python: Path, name: str, arguments: list[str]) -> bool:
    """Run the tests into a log; whether they passed."""
    log, started = FOLDER / f"{name}.log", time.monotonic()
    with log.open("wb") as out:
        line = [str(python), "-m", "pytest", "-p", "no:cacheprovider", *arguments]
        code = subprocess.run(line, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, check=False).returncode
    text = log.read_text(encoding="utf-8", errors="replace")
    if code:
        sys.stdout.write(text)
    (last,) = text.splitlines()[-1:] or [f"exit code {code}"]
    say(f"{name}: {last.strip('= ')} ({time.monotonic() - started:.0f} s)")
    return code == 0


def chosen(arguments: list[str]) -> list[tuple[str, str]]:
    """The combinations of the command line, by default all."""
    every = [(version, resolution) for version in versions() for resolution in RESOLUTIONS]
    wanted = [pair for pair in every if not arguments or pair[0] in arguments or ":".join(pair) in arguments]
    if not wanted:
        raise SystemExit(f"error: {' '.join(arguments)} is none of {', '.join(map(':'.join, every))}")
    return wanted


def try_out(uv: str, python: str, version: str, resolution: str, arguments: list[str]) -> bool:
    """One combination from nothing to the last test; whether it passed. A set that does not install has failed."""
    name = f"{version}-{resolution}"
    try:
        return test(prepare(uv, python, name, resolution), name, arguments)
    except subprocess.CalledProcessError as error:
        say(f"{name}: {error}")
        return False


def main(arguments: list[str]) -> None:
    """One combination after the other; at the end those that failed, and the Pythons that were not to be had."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    FOLDER.mkdir(exist_ok=True)
    uv = find_uv()
    pairs = chosen(arguments[:at])
    pythons = {version: find_python(version, uv) for version in dict.fromkeys(version for version, _ in pairs)}
    results: dict[str, bool] = {}
    for version, resolution in pairs:
        if python := pythons[version]:
            results[f"{version}-{resolution}"] = try_out(uv, python, version, resolution, arguments[at + 1 :])
    report(results, [version for version, python in pythons.items() if python is None])


def report(results: dict[str, bool], missing: list[str]) -> None:
    """What came of it; the end is bad where anything failed or nothing ran."""
    failed = [name for name, passed in results.items() if not passed]
    if missing:
        say(f"left out, neither on this machine nor to be had: {', '.join(missing)}")
    say(f"{len(results) - len(failed)} passed, {len(failed)} failed{': ' if failed else ''}{', '.join(failed)}")
    if failed or not results:
        raise SystemExit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
