"""Quick dataclasses behave as the standard library's in all that the package uses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field
from typing import Any

import pytest

from pattern_stream.quick_dataclass import dataclass as quick

OPTIONS: list[dict[str, bool]] = [
    {"frozen": True, "slots": True},
    {"frozen": True, "slots": True, "kw_only": True},
    {"slots": True},
    {},
]


def made(decorate: Callable[[type[Any]], type[Any]]) -> type[Any]:
    """A class with every kind of field that there is here."""

    class Sample:
        """A sample."""

        first: int
        second: str = "two"
        third: list[int] = field(default_factory=list)
        hidden: bytes = field(default=b"", repr=False)
        aside: int = field(default=0, compare=False)

        def __post_init__(self) -> None:
            if self.first < 0:
                raise ValueError(self.first)

    Sample.__qualname__ = "Sample"
    return decorate(Sample)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_as_the_standard_library(options: dict[str, bool]) -> None:
    """Values, defaults, order, equality, hashes, text, refusals."""
    ours, theirs = (made(decorate(**options)) for decorate in (quick, dataclasses.dataclass))

    def facts(cls: type[Any]) -> list[Any]:
        one, other = cls(first=1), cls(first=1, aside=9)
        far = cls(first=1, second="x", third=[3])
        found: list[Any] = [repr(one), repr(far), one == other, one == far, one == (1,), one.third is not other.third]
        found += [dataclasses.asdict(far), [f.name for f in dataclasses.fields(cls)], cls.__match_args__]
        found += [repr(dataclasses.replace(far, first=2)), hasattr(one, "__dict__"), cls.__hash__ is None]
        calls: list[Callable[[], Any]] = [
            lambda: cls(),
            lambda: cls(1, 2, 3, 4, 5, 6),
            lambda: cls(1),
            lambda: cls(first=-1),
        ]
        for call in calls:
            try:
                found.append(repr(call()))
            except (TypeError, ValueError) as error:
                found.append(type(error))
        return found

    assert facts(theirs) == facts(ours)


def test_frozen_means_frozen() -> None:
    """Nothing is set or deleted; equal values have equal hashes."""

    @quick(frozen=True, slots=True)
    class Frozen:
        number: int
        text: str = ""

    one = Frozen(1)
    with pytest.raises(FrozenInstanceError):
        one.number = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del one.number
    assert {one: "found"}[Frozen(1)] == "found"
    assert hash(one) != hash(Frozen(2))


def test_fields_of_a_base_come_first() -> None:
    """A subclass takes them over, with its own defaults."""

    @quick(frozen=True, slots=True)
    class Base:
        number: int
        text: str = "base"

    @quick(frozen=True, slots=True)
    class Derived(Base):
        text: str = "derived"
        more: int = 3

    assert (7, "derived", 3) == (Derived(7).number, Derived(7).text, Derived(7).more)
    assert Base(7) != Derived(7)
