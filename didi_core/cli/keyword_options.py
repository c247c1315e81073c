"""Options of a verb from Python's keywords: the way in beside the command line.

Strings may stand for paths, numbers and lists for what a flag takes as text (`length=100`,
`vary=[12, 15]`), and what has the wrong type is refused by the name of its flag. Imports no torch.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from didi_core.errors import UserError
from didi_core.io.files import at_home

Options = TypeVar("Options")


def options_from(
    options_class: type[Options],
    keywords: Mapping[str, Any],
    file_of: Callable[[str, Any], Path | None],
) -> Options:
    """Return the options that keywords ask for.

    Args:
        options_class: a verb's dataclass.
        file_of: called with the name and value of an option; a file that the value was written to,
            or None where it is to be taken as it is.

    Raises:
        TypeError: there is no option of such a name.
        UserError: values of the wrong type, all at once.
    """
    hints: Any = get_type_hints(options_class)
    known = [each.name for each in fields(options_class)]  # type: ignore[arg-type]
    for name in keywords:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}=?" if near else ""
            raise TypeError(f"there is no option {name}={hint}")
    values, wrong = {}, []
    for name, value in keywords.items():
        try:
            written = file_of(name, value)
            values[name] = as_type(hints[name], value if written is None else written)
        except TypeError as error:
            wrong.append(f"--{name.replace('_', '-')} {value!r}: give {error}")
    if wrong:
        raise UserError("; ".join(wrong) + ".")
    return options_class(**values)


def as_type(hint: Any, value: Any) -> Any:
    """Return a value as an option of some type holds it.

    >>> as_type(str | None, 100), as_type(str, [12, "40-50"]), as_type(float, 1)
    ('100', '12,40-50', 1.0)

    Raises:
        TypeError: it is of another type; the message says what to give.
    """
    if get_origin(hint) in (Union, UnionType):
        kinds = [each for each in get_args(hint) if each is not type(None)]
        is_none = value is None and len(kinds) < len(get_args(hint))
        return None if is_none else as_type(kinds[0], value)
    if get_origin(hint) is list:
        return [_text(value)] if isinstance(value, str | os.PathLike) else [*map(_text, value)]
    convert = _CONVERT.get(hint)
    return value if convert is None else convert(value)


def _path(value: Any) -> Path:
    if not isinstance(value, str | os.PathLike):
        raise TypeError("a path")
    return Path(at_home(value))


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("True or False")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError("a whole number")
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError("a number")
    return float(value)


def _text(value: Any) -> str:
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    if not isinstance(value, bool) and isinstance(value, Real):
        return str(value)
    raise TypeError("text or a number")


def _texts(value: Any) -> str:
    """Return text; of several their texts, joined by commas as a flag takes them."""
    is_several = isinstance(value, Iterable) and not isinstance(value, str | Mapping | os.PathLike)
    return ",".join(map(_text, value)) if is_several else _text(value)


_CONVERT: Mapping[Any, Callable[[Any], Any]] = {
    Path: _path,
    bool: _switch,
    int: _whole,
    float: _number,
    str: _texts,
}
