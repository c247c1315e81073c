"""Settings as their dataclasses declare them: names, defaults, and the docstrings of fields.

`--help` and what Hydra composes are made of these. A method's settings stand beside its loss, whose
import takes torch, and help must be fast: so each class is made anew from its source, of its fields
alone, and nothing of ours is imported.
"""

import ast
import builtins
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from inspect import cleandoc
from itertools import pairwise
from pathlib import Path
from typing import Any

from didi_core.discovery import entry_calls

_OURS = "didi_"
"""Begins the names of the packages whose modules are read, not imported."""
_TEXTS = "_texts"
"""Name of what holds the docstrings of the fields in a class made here."""


@dataclass(frozen=True)
class Setting:
    """Holds one setting of a class."""

    name: str
    default: Any
    """What YAML can hold; of a group the `Setting` of each of its fields, in a tuple."""
    text: str
    """The docstring of the field; of a group without one, the first line of its class's."""


def settings_of(place: str, common: str | None = None) -> tuple[Setting, ...]:
    """Return the settings of a class: first what must be given, last what its bases declare.

    Args:
        place: the class, as `module:Class`.
        common: another, which explains the fields that have no docstring in the first.

    Raises:
        TypeError: a default is made of something whose source does not say what it is.
    """
    made = _made(place)
    found = _settings(made(), (*made.__mro__, *([_made(common)] if common else [])))
    declared = [vars(each).get("__annotations__", {}) for each in made.__mro__]

    def order(setting: Setting) -> tuple[bool, int]:
        last = max(at for at, names in enumerate(declared) if setting.name in names)
        return setting.default != "???", last

    return tuple(sorted(found, key=order))


def settings_of_entries(
    package: str, common: str | None = None
) -> Mapping[str, tuple[Setting, ...]]:
    """Return by name the settings of each entry whose class is the entry's second argument."""
    return {
        ast.literal_eval(call.args[0]): settings_of(f"{module}:{ast.unparse(call.args[1])}", common)
        for module, call in entry_calls(package)
    }


def defaults_of(settings: Iterable[Setting]) -> dict[str, Any]:
    """Return the defaults by name, groups as dictionaries."""
    return {
        each.name: defaults_of(each.default) if isinstance(each.default, tuple) else each.default
        for each in settings
    }


def _settings(values: Any, sources: Sequence[type]) -> tuple[Setting, ...]:
    """Return the settings of an instance, explained by the first of `sources` that does."""
    return tuple(
        _setting(each.name, getattr(values, each.name), sources) for each in fields(values)
    )


def _setting(name: str, value: Any, sources: Sequence[type]) -> Setting:
    texts = (vars(each).get(_TEXTS, {}).get(name) for each in sources)
    text = next((each for each in texts if each), "")
    if is_dataclass(value):
        kind: type = type(value)
        text = text or (kind.__doc__ or "").partition("\n")[0]
        return Setting(name, _settings(value, kind.__mro__), text)
    return Setting(name, list(value) if isinstance(value, tuple) else value, text)


@lru_cache
def _made(place: str) -> type:
    """Return the class `module:Class` with its fields alone: no methods, and no types."""
    module, _, name = place.partition(":")
    found = _top_level(module).get(name)
    if not isinstance(found, ast.ClassDef):
        made: type = _meaning(module, name)
        return made
    bare, declared = copy(found), [copy(x) for x in found.body if isinstance(x, ast.AnnAssign)]
    for each in declared:
        each.annotation = ast.Constant(...)
    head = ast.parse(f"{ast.get_docstring(found)!r}\n{_TEXTS} = {_texts(found)!r}").body
    bare.body = [*head, *declared]
    tree = ast.fix_missing_locations(ast.Module([bare], []))
    used = {each.id for each in ast.walk(tree) if isinstance(each, ast.Name)}
    used -= {*vars(builtins), _TEXTS, *(ast.unparse(each.target) for each in declared)}
    namespace = {"__name__": __name__} | {each: _meaning(module, each) for each in used}
    exec(compile(tree, module, "exec", dont_inherit=True), namespace)
    made = namespace[name]
    return made


def _texts(found: ast.ClassDef) -> dict[str, str]:
    """Return the docstring below each field, by the field's name."""
    return {
        ast.unparse(field.target): cleandoc(ast.literal_eval(below.value))
        for field, below in pairwise(found.body)
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr)
    }


def _meaning(module: str, name: str) -> Any:
    """Return what a name means in a module: a class made here, a constant, or what is not ours."""
    if not module.startswith(_OURS):
        return getattr(import_module(module), name)
    match _top_level(module).get(name):
        case ast.ClassDef():
            return _made(f"{module}:{name}")
        case ast.expr() as value:
            return ast.literal_eval(value)
        case (str(source), str(original)):
            return _meaning(source, original)
    raise TypeError(f"{module}: a setting is made of {name}, which its source does not tell")


@lru_cache
def _top_level(module: str) -> Mapping[str, Any]:
    """Return a module's classes, constants, and whence it imports what, each by its name."""
    spec = find_spec(module)
    assert spec is not None and spec.origin is not None
    found: dict[str, Any] = {}
    for each in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        match each:
            case ast.ClassDef(name=name):
                found[name] = each
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found[name] = value
            case ast.ImportFrom(module=source, names=names):
                found |= {one.asname or one.name: (source, one.name) for one in names}
    return found
