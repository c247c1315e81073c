"""What a package offers by name: each of its modules may hold an `ENTRY`, or several `ENTRIES`.

So a new method or sampler is a new file, and no list has to be edited. Modules that begin with an
underscore are not looked at.
"""

import importlib
import pkgutil
from collections.abc import Container, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import TypeVar


@dataclass(frozen=True)
class Named:
    """Something that is chosen by name."""

    name: str


T = TypeVar("T", bound=Named)


def entries_of(package: str, kind: type[T], apart: Container[str]) -> dict[str, T]:
    """The entries of a package's modules by name, in the order of the modules' names.

    Args:
        apart: names of modules that are not looked at: the one that asks, and what imports it.

    Raises:
        TypeError: an entry of another type, or two of one name.
    """
    found: dict[str, T] = {}
    for module in _modules(importlib.import_module(package), apart):
        own = getattr(module, "ENTRIES", ())
        own = (*own, module.ENTRY) if hasattr(module, "ENTRY") else own
        for entry in own:
            if not isinstance(entry, kind):
                raise TypeError(f"{module.__name__} has an entry that is no {kind.__name__}")
            if entry.name in found:
                raise TypeError(f"{module.__name__}: there is another entry named {entry.name!r}")
            found[entry.name] = entry
    return found


def _modules(package: ModuleType, apart: Container[str]) -> Iterator[ModuleType]:
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda each: each.name):
        if not info.name.startswith("_") and info.name not in apart:
            yield importlib.import_module(f"{package.__name__}.{info.name}")
