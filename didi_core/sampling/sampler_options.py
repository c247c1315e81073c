"""Settings that one sampler alone has, by name: `--sampler-option NAME=VALUE`, or from Python."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from didi_core.errors import UserError

SamplerOptions = Mapping[str, object]
"""Values by name; text, as a command line gives it, is read as the setting's own type."""


def parse_options(texts: Sequence[str], flag: str = "--sampler-option ") -> dict[str, object]:
    """Read texts of the form NAME=VALUE.

    >>> parse_options(["num_candidates=8", "rerank_positions=all"])
    {'num_candidates': '8', 'rerank_positions': 'all'}

    Args:
        flag: what messages put before a text: the flag it came from.

    Raises:
        UserError: a text is not of the form NAME=VALUE.
    """
    options: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UserError(f"{flag}{text}: it must be NAME=VALUE, as in num_candidates=8.")
        options[name] = value
    return options


def split_name(text: str, flag: str = "--sampler ") -> tuple[str, dict[str, object]]:
    """Return a sampler's name and the options in brackets behind it.

    >>> split_name("rgas(compat=released, num_candidates=8)")
    ('rgas', {'compat': 'released', 'num_candidates': '8'})

    Args:
        flag: what messages put before an option: the flag it came from.

    Raises:
        UserError: an option is not of the form NAME=VALUE, or given twice.
    """
    name, bracket, inside = text.strip().partition("(")
    if not bracket or not inside.endswith(")"):
        return text, {}
    pairs = [pair.strip() for pair in inside[:-1].split(",") if pair.strip()]
    options = parse_options(pairs, f"{flag}{name}: ")
    if len(options) < len(pairs):
        raise UserError(f"{flag}{text}: give each option once.")
    return name.rstrip(), options


def options_in_words(options: SamplerOptions) -> str:
    """Return options as one word of a header.

    >>> options_in_words({"schedule": "loop", "eta": 0.02})
    'schedule=loop,eta=0.02'
    """
    return ",".join(f"{name}={''.join(str(value).split())}" for name, value in options.items())


def sampler_label(name: str, options: str) -> str:
    """Return what a sampler is called where its options tell two rows apart.

    >>> sampler_label("psi", "eta=0.02"), sampler_label("psi", "")
    ('psi(eta=0.02)', 'psi')
    """
    return f"{name}({options})" if options else name


def from_options(
    name: str,
    settings: type[Any],
    options: SamplerOptions,
    flag: str = "--sampler-option ",
) -> Any:
    """Return the dataclass `settings` of sampler `name` with `options` in place of its defaults.

    Args:
        flag: what messages put before an option: the flag it came from.

    Raises:
        UserError: an option it does not have, or a value that is of another type or out of range.
    """
    defaults = {field.name: field.default for field in fields(settings)}
    if unknown := [key for key in options if key not in defaults]:
        names = ", ".join(unknown)
        raise UserError(
            f"{flag}{names}: sampler {name} has no option {names}; it has {', '.join(defaults)}."
        )
    chosen = settings(
        **{key: _typed(key, value, defaults[key], flag) for key, value in options.items()}
    )
    if wrong := chosen.problems():
        raise UserError(f"{flag}{'; '.join(wrong)}.")
    return chosen


def _typed(name: str, value: object, default: Any, flag: str) -> object:
    if isinstance(value, str) and not isinstance(default, str):
        try:
            return type(default)(value)
        except ValueError as error:
            kind = "a whole number" if isinstance(default, int) else "a number"
            raise UserError(f"{flag}{name}={value} must be {kind}.") from error
    return value
