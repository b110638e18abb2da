"""The house: what a checkout promises beside the package."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
LOCK: Final = ROOT / "requirements.lock"
TARGETS: Final = (
    "help", "demo", "test", "format", "lint", "types", "bench", "interop", "matrix", "package", "check", "clean",
)  # fmt: skip


def project() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def named(requirement: str) -> str:
    """The name in a requirement, in its normal form."""
    match = re.match(r"[\w.-]+", requirement)
    assert match is not None
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def test_no_class_name_occurs_twice() -> None:
    """One word, one thing: in the whole package, leading underscores aside."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "pattern_stream").rglob("*.py")]
    names = Counter(
        node.name.lstrip("_") for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    )

    assert [] == [name for name, count in names.items() if count > 1]


def test_the_lock_covers_what_is_needed() -> None:
    """Every dependency, every tool and the build backend are locked, by hash, without an address to fetch from."""
    text = LOCK.read_text(encoding="utf-8")
    given = project()
    needed = [*given["project"]["dependencies"], *given["dependency-groups"]["dev"], *given["build-system"]["requires"]]
    locked = {named(line) for line in text.splitlines() if "==" in line}

    assert set() == {named(requirement) for requirement in needed} - locked
    assert "://" not in text
    assert text.count("==") <= text.count("--hash=sha256:")


def test_make_explains_itself() -> None:
    """`make` without a target lists every target with what it does."""
    run = subprocess.run(["make", "-C", ROOT], capture_output=True, text=True, check=True)
    listed = dict(re.findall(r"^  ([a-z]+) +(\S.*)$", run.stdout, re.MULTILINE))

    assert set() == set(TARGETS) - set(listed)


def test_make_names_what_is_missing(tmp_path: Path) -> None:
    """Without a suitable Python: one error, one hint, no half-made environment."""
    run = subprocess.run(
        ["make", "-C", ROOT, "test", "PYTHON=/none/python3", f"VENV={tmp_path / 'venv'}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert 2 == run.returncode
    assert "error: no suitable Python: tried /none/python3; expected 3.11 or newer" in run.stderr
    assert "hint: " in run.stderr
    assert not (tmp_path / "venv").exists()


def test_ci_can_be_started() -> None:
    """`.ci/run` is executable and runs lint, types and tests."""
    script = ROOT / ".ci/run"

    assert script.stat().st_mode & 0o111
    assert re.search(r"^make lint types\nmake test$", script.read_text(encoding="utf-8"), re.MULTILINE)
