"""`make package`: build wheel and sdist, install each into an empty environment, and run there what a user runs first.

Usage: python -m tests.packaging.install
The dependencies come from where pip finds them, at their newest allowed versions; nothing of the checkout is used but
the two files, and the tour is the one inside the sdist.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
DIST: Final = ROOT / "dist"
TOUR_MESSAGES: Final = 2_000


def say(text: str) -> None:
    """A line on stdout."""
    sys.stdout.write(f"== package: {text}\n")
    sys.stdout.flush()


def run(folder: Path, *command: str | Path, show: bool = False) -> str:
    """Run a command in a folder, without anything of this environment; its stdout, or the end of everything."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "MAKE"))}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=keep, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if show or done.returncode:
        sys.stdout.write(done.stdout)
    if done.returncode:
        raise SystemExit(f"error: {' '.join(map(str, command))}: exit code {done.returncode}, expected 0")
    return done.stdout


def build() -> tuple[Path, Path]:
    """Wheel and sdist, new in dist/."""
    for old in (*DIST.glob("*.whl"), *DIST.glob("*.tar.gz")):
        old.unlink()
    run(ROOT, sys.executable, "-m", "hatchling", "build", "-d", DIST)
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    return wheel, sdist


def install(file: Path, folder: Path) -> Path:
    """An empty environment with one distribution and its dependencies; its folder of programs."""
    venv.create(folder, with_pip=True, clear=True)
    programs = folder / "bin"
    run(folder, programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", file)
    run(folder, programs / "python", "-m", "pip", "check", "--disable-pip-version-check")
    return programs


def try_out(programs: Path, folder: Path, unpacked: Path) -> None:
    """The version, where the package comes from, and the steps of `make demo`."""
    where = run(folder, programs / "python", "-c", "import pattern_stream; print(pattern_stream.__file__)").strip()
    if not Path(where).is_relative_to(programs.parent):
        raise SystemExit(f"error: the package is imported from {where}, expected from {programs.parent}")
    say(run(folder, programs / "pattern-stream", "--version").strip())
    run(folder, programs / "python", unpacked / "examples/tour.py", str(TOUR_MESSAGES))


def main() -> None:
    """Both distributions, one after the other."""
    with tempfile.TemporaryDirectory(prefix="pattern-stream-package-") as name:
        folder = Path(name)
        wheel, sdist = build()
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        unpacked = folder / sdist.name.removesuffix(".tar.gz")
        for file in (wheel, sdist):
            say(f"{file.name}, {file.stat().st_size} bytes, into an empty environment")
            try_out(install(file, folder / f"environment-{file.suffix[1:]}"), folder, unpacked)
    say("both install, start and run the tour")


if __name__ == "__main__":
    main()
