"""The tests, on one mutant after the other, each in a process of its own: forked where the tests are collected already.

First all tests run once on the code as it is, to see which lines each of them comes to. A mutant then gets the tests
that come to the lines changed, quick ones first, until one fails. A change inside functions is put into them in place;
for one outside, such as a constant or a default, the package and the tests are imported anew.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from multiprocessing import get_context
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, Final

import pytest

from tests.mutation.planning import PACKAGE, Mutant

MOST_BYTES: Final = 4 << 30
"""Address space of a mutant: some of them allocate without end."""

_OPTIONS: Final = (
    "-x", "-p", "no:cacheprovider", "-p", "no:terminalreporter", "-p", "no:faulthandler", "-o", "timeout=0",
    "-W", "ignore::pytest.PytestAssertRewriteWarning",  # plugins are imported once, for all mutants
)  # fmt: skip

Outcome = str
KILLED, SURVIVED, TIMED_OUT = "killed", "survived", "timed out"


def try_mutants(mutants: Sequence[Mutant], tell: Callable[[Mutant, Outcome], None]) -> int:
    """Try every mutant, and tell what became of it. Returns pytest's exit code: of the tests on the code as it is."""
    arguments = [*_OPTIONS, "--capture=no", *sorted({mutant.tests for mutant in mutants})]
    return int(pytest.main(arguments, plugins=[_Profile(), _Trials(mutants, tell)]))


class _Profile:
    """The same examples every time, and no search for a smaller one, so that a run can be repeated."""

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        from hypothesis import Phase, settings  # pytest wants to import it first

        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("mutants", deadline=None, derandomize=True, database=None, phases=phases)
        settings.load_profile("mutants")


class _Clock:
    """Stops the process where a test takes far more of the processor than it did on the code as it is."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        signal.setitimer(signal.ITIMER_PROF, 2 + 8 * self._seconds.get(item.nodeid, 0))
        result = yield
        signal.setitimer(signal.ITIMER_PROF, 0)
        return result


class _Selection(_Clock):
    """Of the tests collected, these and no others, in this order."""

    def __init__(self, names: Sequence[str], seconds: dict[str, float]) -> None:
        super().__init__(seconds)
        self._places = {name: place for place, name in enumerate(names)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self._places), key=lambda item: self._places[item.nodeid]
        )


class _Trials:
    """In place of one run of the tests: a run that looks where they come, and then a run for each mutant."""

    def __init__(self, mutants: Sequence[Mutant], tell: Callable[[Mutant, Outcome], None]) -> None:
        self._mutants = mutants
        self._tell = tell
        self._lines: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
        self._seconds: dict[str, float] = {}
        self._items: dict[str, pytest.Item] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._items = {item.nodeid: item for item in session.items}
        self._look(session)
        if session.testsfailed:
            return True
        code = _LiveCode({mutant.path for mutant in self._mutants})
        context = get_context("fork")
        gc.freeze()
        for mutant in self._mutants:
            names = self._tests_of(mutant)
            process = context.Process(target=self._try, args=(session, mutant, names, code))
            process.start()
            process.join(300)
            if process.is_alive():
                process.kill()
                process.join()
            self._tell(mutant, _outcome(process.exitcode))
        return True

    # --- where the tests come -----------------------------------------------------------------------------------

    def _look(self, session: pytest.Session) -> None:
        paths = {mutant.path for mutant in self._mutants}
        for name, item in self._items.items():
            began = time.process_time()
            with _Tracer(paths) as seen:
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            self._seconds[name] = time.process_time() - began
            for place in seen:
                self._lines[place].add(name)
            if session.testsfailed:
                return

    def _tests_of(self, mutant: Mutant) -> list[str]:
        """The tests to try on a mutant: those that come to what is changed.

        Of code that runs on import: those that come to the file at all, and those of the module, which may only look
        at a constant.
        """
        span = range(mutant.first_line, mutant.last_line + 1)
        names = set[str]().union(*(self._lines.get((mutant.path, line), ()) for line in span))
        if not names or mutant.function == "module":
            names = {name for (path, _), found in self._lines.items() if path == mutant.path for name in found}
            names |= {name for name in self._items if name.startswith(mutant.own_tests)}
        names = {name for name in names if name.startswith(mutant.tests)}
        return sorted(names, key=lambda name: (self._seconds[name], name))

    # --- in the mutant's process --------------------------------------------------------------------------------

    def _try(self, session: pytest.Session, mutant: Mutant, names: list[str], code: _LiveCode) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        if code.replace(mutant):
            sys.exit(self._run(session, names))
        _import_anew(mutant)
        options = [*_OPTIONS, *sorted({name.partition("::")[0] for name in names})]
        sys.exit(pytest.main(options, plugins=[_Profile(), _Selection(names, self._seconds)]))

    def _run(self, session: pytest.Session, names: list[str]) -> int:
        session.config.pluginmanager.register(_Clock(self._seconds))
        for name in names:
            item = self._items[name]
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            if session.testsfailed:
                return 1
        return 0


def _outcome(exit_code: int | None) -> Outcome:
    if exit_code == 0:
        return SURVIVED
    return TIMED_OUT if exit_code in (None, -signal.SIGPROF, -signal.SIGKILL) else KILLED


class _Tracer:
    """The lines of some files that are come to meanwhile, on any thread."""

    def __init__(self, paths: set[str]) -> None:
        self._paths = paths
        self._seen: set[tuple[str, int]] = set()

    def __enter__(self) -> set[tuple[str, int]]:
        threading.settrace(self._enter)
        sys.settrace(self._enter)
        return self._seen

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        threading.settrace(None)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in self._paths:
            return None
        self._seen.add((frame.f_code.co_filename, frame.f_lineno))
        return self._step

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        self._seen.add((frame.f_code.co_filename, frame.f_lineno))
        return self._step


class _LiveCode:
    """The functions of some files as they are now, by their code."""

    def __init__(self, paths: set[str]) -> None:
        self._functions: defaultdict[CodeType, list[FunctionType]] = defaultdict(list)
        for found in gc.get_objects():
            if type(found) is FunctionType and found.__code__.co_filename in paths:
                self._functions[found.__code__].append(found)

    def replace(self, mutant: Mutant) -> bool:
        """Put a mutant's functions in the place of what they were. False where that is not all of the change."""
        with open(mutant.path, encoding="utf-8") as file:
            before = compile(file.read(), mutant.path, "exec", dont_inherit=True)
        after = compile(mutant.source, mutant.path, "exec", dont_inherit=True)
        changed = changed_functions(before, after)
        if changed is None or not all(old in self._functions for old, _ in changed):
            return False  # outside functions, or in a comprehension there
        try:
            for old, new in changed:
                for function in self._functions[old]:
                    function.__code__ = new
        except ValueError:  # another number of names from around the function
            return False
        return True


def changed_functions(before: CodeType, after: CodeType) -> list[tuple[CodeType, CodeType]] | None:
    """Functions that differ, old and new; None where the code around them does."""
    old, new = _inner(before), _inner(after)
    if _outer(before) != _outer(after) or len(old) != len(new):
        return None
    changed: list[tuple[CodeType, CodeType]] = []
    for one, other in zip(old, new, strict=True):
        if one.co_flags & _IS_FUNCTION:
            changed += [(one, other)] if one != other else []
            continue
        inside = changed_functions(one, other)
        if inside is None:
            return None
        changed += inside
    return changed


_IS_FUNCTION: Final = 0x02
"""CO_NEWLOCALS: what functions have, and modules and bodies of classes have not."""


def _inner(code: CodeType) -> list[CodeType]:
    return [constant for constant in code.co_consts if isinstance(constant, CodeType)]


def _outer(code: CodeType) -> tuple[Any, ...]:
    """What a module or the body of a class does itself."""
    constants = [repr(constant) for constant in code.co_consts if not isinstance(constant, CodeType)]
    return code.co_code, constants, code.co_names


class _Finder(MetaPathFinder):
    """Gives the mutant where its file is imported."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._name = f"{PACKAGE.name}.{mutant.file.removesuffix('.py').replace('/', '.')}"

    def find_spec(self, name: str, path: object, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != self._name:
            return None
        loader = _Loader(name, self._mutant.path)
        loader.source = self._mutant.source
        return spec_from_file_location(name, self._mutant.path, loader=loader)


class _Loader(SourceFileLoader):
    source = ""

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.source, self.path, "exec", dont_inherit=True)


def _import_anew(mutant: Mutant) -> None:
    """Forget the package and the tests, so that they are imported again, with the mutant in its place."""
    for name in [name for name in sys.modules if name.partition(".")[0] in (PACKAGE.name, "tests")]:
        del sys.modules[name]
    sys.meta_path.insert(0, _Finder(mutant))
