"""The file of figures: parts that are measured apart, the README and the picture that are made from it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import picture, provenance, rendering
from benchmarks.growth import LINES
from benchmarks.lines import CONTENDERS, SMALL, languages, named
from benchmarks.results import KEPT, PARTS, Results, from_json, load, settled, to_json
from benchmarks.stages import STAGES
from benchmarks.targets import judged
from tests.benchmarks.figures import PLACE, complete, figure, part

MOST_PICTURE_BYTES = 150_000


# --- the committed figures ---------------------------------------------------------------------------------------


def test_the_readme_says_what_was_measured() -> None:
    """Its section is the rendering of the kept figures to the letter: no number there was typed."""
    found = rendering.MARKED.search(rendering.README.read_text(encoding="utf-8"))

    assert found is not None
    assert f"<!-- bench -->\n{rendering.section(load(KEPT))}\n<!-- /bench -->" == found[0]
    assert rendering.all_tables(load(KEPT)) == rendering.TABLES.read_text(encoding="utf-8")


def test_verdicts_and_fits_are_those_of_the_figures() -> None:
    """What the kept file says of targets and growth follows from its own figures."""
    text = KEPT.read_text(encoding="utf-8")
    results = from_json(text)

    assert set(PARTS) == set(results.parts)
    assert to_json(results, judged(results)) == text


def test_the_picture_shows_what_was_measured() -> None:
    """It bears the mark of the kept figures, and is of modest size."""
    text = rendering.PICTURE.read_text(encoding="utf-8")

    assert picture.mark_of(load(KEPT)) in text
    assert len(text.encode()) < MOST_PICTURE_BYTES


# --- parts -------------------------------------------------------------------------------------------------------


def test_a_part_replaces_its_own_figures_only() -> None:
    """Measured anew, one part changes; the others keep their figures and the place where they were measured."""
    before = complete()
    elsewhere = provenance.Provenance("2.0", "def", "9 x Abacus", "CPython 3.13")
    after = before.with_part("stages", part(figure("source"), place=elsewhere))

    assert list(PARTS) == list(after.parts)
    assert [before.parts[name] for name in PARTS if name != "stages"] == [
        after.parts[name] for name in PARTS if name != "stages"
    ]
    assert (elsewhere, 1) == (after.parts["stages"].provenance, len(after.parts["stages"].figures))
    text = rendering.section(after)
    others = ", ".join(f"{name} (3 rounds)" for name in PARTS if name != "stages")
    assert f"Measured on {PLACE}: {others}." in text
    assert f"Measured on {elsewhere}: stages (3 rounds)." in text


def test_figures_are_read_as_they_were_written() -> None:
    """There and back, and once more the same text."""
    results = settled(complete())
    text = to_json(results, judged(results))

    assert results == from_json(text)
    assert text == to_json(from_json(text), judged(from_json(text)))
    assert {"fits", "targets", *PARTS} == set(json.loads(text))


def test_no_file_is_no_figures(tmp_path: Path) -> None:
    """The first run begins with nothing, and nothing can be rendered."""
    assert Results() == load(tmp_path / "none.json")
    assert "not measured" in rendering.section(Results())
    assert Results().figure("lines", "select") is None


# --- the section -------------------------------------------------------------------------------------------------


def test_every_contender_stage_and_line_has_its_row() -> None:
    """All that was measured is shown: nothing that is slow can be left out."""
    text = rendering.all_tables(complete())
    labels = [*(each.label for each in CONTENDERS), *(named(name).label for name in SMALL), *languages()]

    assert [] == [label for label in labels if f"\n| {label} |" not in text]
    assert [] == [stage.label for stage in STAGES if f"\n| {stage.label} |" not in text]
    assert len(LINES) == len(re.findall(r"\| n\^1\.00 \|.*\| n\^-?0\.00 \|", text))


def test_who_did_not_run_is_named() -> None:
    """With the reason, and without a row."""
    results = Results({"lines": part(figure("select"), figure("verify"), node="node is not on this machine")})
    text = rendering.all_tables(results)

    assert "Not run: node is not on this machine." in text
    assert "@ipld/car" not in text


def test_only_the_section_is_rewritten(tmp_path: Path) -> None:
    """What stands around it stays; a README without a place for it is refused and stays too."""
    path = tmp_path / "README.md"
    path.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n", encoding="utf-8")
    rendering.into_readme("new \\1", path)

    assert "before\n<!-- bench -->\nnew \\1\n<!-- /bench -->\nafter\n" == path.read_text(encoding="utf-8")
    path.write_text("nothing\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="has no place marked <!-- bench -->"):
        rendering.into_readme("new", path)
    assert "nothing\n" == path.read_text(encoding="utf-8")


# --- the picture and the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize("results", [complete(), Results({"stages": complete().parts["stages"]}), Results()])
def test_the_same_figures_give_the_same_picture(tmp_path: Path, results: Results) -> None:
    """Byte for byte, all of them or some: a picture that differs shows other figures."""
    pytest.importorskip("matplotlib", reason="matplotlib draws the picture; it is in requirements.lock")
    for name in ("one.svg", "two.svg"):
        picture.draw(results, tmp_path / name)
    first, second = ((tmp_path / name).read_bytes() for name in ("one.svg", "two.svg"))

    assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()
    assert picture.mark_of(results).encode() in first


def test_without_matplotlib_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said at once, with a hint, not after twenty minutes."""
    monkeypatch.setattr(picture, "find_spec", lambda _: None)

    with pytest.raises(SystemExit, match=r"error: matplotlib is not installed.*\nhint: `make bench`"):
        picture.require_matplotlib()


def test_other_figures_leave_the_readme_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the kept figures go into the README: a quick run, or one with --results, keeps its own beside."""
    pytest.importorskip("matplotlib", reason="matplotlib draws the picture; it is in requirements.lock")
    written: list[str] = []
    monkeypatch.setattr(command, "into_readme", written.append)
    monkeypatch.setattr(command, "KEPT", tmp_path / "latest.json")
    kept = command.keep(complete(), tmp_path / "other.json")

    assert [] == written
    assert kept == load(tmp_path / "other.json")
    command.keep(kept, tmp_path / "latest.json")
    assert [rendering.section(kept)] == written
    assert {f"{name}.{kind}" for name in ("latest", "other") for kind in ("json", "md", "svg")} == {
        path.name for path in tmp_path.iterdir()
    }


def test_quick_is_small_and_kept_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small sizes, one round, nothing of the checkout touched; what was asked for beside it holds."""
    monkeypatch.setenv("PATTERN_STREAM_BENCH", str(tmp_path))
    quick = command.given(["--quick", "--only", "growth", "--messages", "300"])

    assert (["growth"], 1, 300, 10_000) == (quick.only, quick.rounds, quick.messages, quick.large)
    assert tmp_path / "quick.json" == quick.results
    assert (None, 5, 200_000, None) == tuple(
        vars(command.given([]))[name] for name in ("only", "rounds", "messages", "results")
    )


def test_code_has_a_name_that_changes_with_it(tmp_path: Path) -> None:
    """Any byte of any module, and its place, but no cache."""
    (tmp_path / "a.py").write_text("1")
    first = provenance.digest_of(tmp_path)
    (tmp_path / "a.pyc").write_text("1")
    same = provenance.digest_of(tmp_path)
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    moved = provenance.digest_of(tmp_path)

    assert first == same
    assert first != moved
