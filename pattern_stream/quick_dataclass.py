"""`dataclass` of the standard library, made in a third of its time: these classes were a sixth of every start.

The library compiles each method of each class by itself, up to Python 3.12 six of a frozen one. Here only `__init__` is
compiled; what compares, hashes and shows is the same few functions for all of them. Fields, slots, `replace` and
`fields` are the library's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, fields
from dataclasses import dataclass as _standard
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

Class = TypeVar("Class", bound=type)

_NOT_GIVEN: Final = object()

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(
        *, frozen: bool = False, slots: bool = False, kw_only: bool = False
    ) -> Callable[[type[Any]], type[Any]]:
        """As the library's. Its other options are not here, since nothing has them."""

        def make(cls: type[Any]) -> type[Any]:
            made = _standard(cls, init=False, repr=False, eq=False, slots=slots, kw_only=kw_only)
            own = {"__init__": _init(made, frozen), **_comparing(made, frozen)}
            if frozen:
                own |= {"__setattr__": _refuse, "__delattr__": _refuse}
                own |= {"__setstate__": _unpickle} if slots else {}
            for name, method in own.items():
                if name not in vars(cls):
                    setattr(made, name, method)
            return made

        return make


def _refuse(self: object, name: str, *_: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _unpickle(self: object, state: tuple[None, dict[str, object]]) -> None:
    """The fields of a frozen class with slots, which pickle would else set one by one."""
    for name, value in state[1].items():
        object.__setattr__(self, name, value)


def _init(made: Any, frozen: bool) -> Any:
    """`__init__`: the only method that is compiled, since its parameters are the class's."""
    scope: dict[str, Any] = {"_put_": object.__setattr__, "_not_given_": _NOT_GIVEN}
    positional, by_keyword, body = list[str](), list[str](), list[str]()
    for field in fields(made):
        name, value = field.name, field.name
        if field.default is not MISSING:
            scope[f"_default_{name}"] = field.default
            parameter = f"{name}=_default_{name}"
        elif field.default_factory is not MISSING:
            scope[f"_factory_{name}"] = field.default_factory
            parameter, value = f"{name}=_not_given_", f"_factory_{name}() if {name} is _not_given_ else {name}"
        else:
            parameter = name
        (by_keyword if field.kw_only else positional).append(parameter)
        body.append(f"_put_(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(made, "__post_init__"):
        body.append("self.__post_init__()")
    parameters = ", ".join(["self", *positional, *(["*", *by_keyword] if by_keyword else [])])
    exec(f"def __init__({parameters}):\n  " + "\n  ".join(body or ["pass"]), scope)  # noqa: S102  our own text, see ARCHITECTURE
    return scope["__init__"]


def _comparing(made: Any, frozen: bool) -> dict[str, Any]:
    """`__eq__`, `__hash__` and `__repr__` over the fields that take part."""
    found: tuple[Field[Any], ...] = fields(made)
    compared = [field.name for field in found if field.compare]
    shown = [field.name for field in found if field.repr]
    values: Callable[[Any], Any] = attrgetter(*compared) if compared else len

    def __eq__(self: object, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return not compared or bool(values(self) == values(other))

    def __hash__(self: object) -> int:
        return hash(values(self) if compared else self.__class__)

    def __repr__(self: object) -> str:
        parts = (f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{self.__class__.__qualname__}({', '.join(parts)})"

    return {"__eq__": __eq__, "__hash__": __hash__ if frozen else None, "__repr__": __repr__}
