"""What a package offers by name: each of its modules may hold an `ENTRY`, or several `ENTRIES`.

So a new method or sampler is a new file, and no list has to be edited, nor a text of help: help is
made of what the entries say of themselves. Modules without an entry are not imported.
"""

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TypeGuard, TypeVar

_ENTRY = re.compile(r"^ENTR(?:Y|IES)\b", re.MULTILINE)


@dataclass(frozen=True)
class Named:
    """Something that is chosen by name."""

    name: str
    summary: str = field(kw_only=True)
    """What it does, in the few words that help and the tables of docs/methods.md have of it."""


T = TypeVar("T", bound=Named)


def entries_of(package: str, kind: type[T]) -> dict[str, T]:
    """Import a package's entries; return them by name, in the order of the modules' names.

    Raises:
        TypeError: an entry of another type, or two of one name.
    """
    found: dict[str, T] = {}
    for name, _ in _modules(package):
        module = importlib.import_module(name)
        own = getattr(module, "ENTRIES", ())
        own = (*own, module.ENTRY) if hasattr(module, "ENTRY") else own
        for entry in own:
            if not isinstance(entry, kind):
                raise TypeError(f"{name} has an entry that is no {kind.__name__}")
            if entry.name in found:
                raise TypeError(f"{name}: there is another entry named {entry.name!r}")
            found[entry.name] = entry
    return found


def summaries_of(package: str) -> dict[str, str]:
    """Return what each entry says of itself, by its name, without importing anything.

    Help is made of it, and must not wait for torch. So an entry writes its name, which is its first
    argument, and its `summary` out as text.

    Raises:
        TypeError: an entry that does not.
    """
    found: dict[str, str] = {}
    for name, call in entry_calls(package):
        summary = next(each.value for each in call.keywords if each.arg == "summary")
        try:
            found[ast.literal_eval(call.args[0])] = ast.literal_eval(summary)
        except (IndexError, ValueError) as error:
            raise TypeError(f"{name}: name and summary must be written out") from error
    return found


def entry_calls(package: str) -> Iterator[tuple[str, ast.Call]]:
    """Yield each entry as its source makes it, with the name of its module, which is not imported.

    Raises:
        TypeError: a module has an entry without a `summary`.
    """
    for name, source in _modules(package):
        entries = [call for call in ast.walk(ast.parse(source)) if _says(call, "summary")]
        if not entries:
            raise TypeError(f"{name}: its entry must have summary=, written out as text")
        yield from ((name, call) for call in entries)


def in_words(package: str) -> str:
    """Return the entries of a package as help lists them: `name (summary); name (summary)`."""
    return "; ".join(f"{name} ({text})" for name, text in summaries_of(package).items())


def _says(node: ast.AST, keyword: str) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and keyword in [each.arg for each in node.keywords]


def _modules(package: str) -> Iterator[tuple[str, str]]:
    """Yield the name of each module that has an entry, and its source from the entry on.

    Modules that begin with an underscore are not looked at.
    """
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    for path in sorted(Path(spec.submodule_search_locations[0]).glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if not path.name.startswith("_") and (match := _ENTRY.search(text)):
            yield f"{package}.{path.stem}", text[match.start() :]
