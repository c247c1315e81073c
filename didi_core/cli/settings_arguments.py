"""The arguments of `pretrain` and `distill`: common settings as flags, names and paths as text.

What a user gives for a name or a path is that name, whatever Hydra or YAML would read there: all of
it but a leading `~/`, `${...}`, and commas under `--multirun` is quoted before Hydra sees it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Optional

from hydra.core.override_parser.types import Quote, QuotedString

from didi_core.errors import UserError
from didi_core.io.files import at_home

VALUED_FLAGS = (
    *("--data", "--valid", "--out", "--teacher", "--method", "--steps", "--seed"),
    *("--device", "--precision"),
)
OTHER_NAMES = {"--batch-tokens": "tokens_per_batch"}
"""Flags of the other verbs whose settings have another name here."""
SWITCHES = ("--resume", "--overwrite", "--offline")
"""Settings that may be given as flags, which mean the same as `key=value`."""
NAMES = ("data", "init", "out", "teacher", "tokenizer", "valid")
"""Settings that name a file, a folder or a model; left empty, those that may be none are none."""
_GROUPS = ("preset", "recipe")
"""Settings that choose a configuration file, which Hydra looks up by their values."""
_MULTIRUN = ("--multirun", "-m")


def flags_as_settings(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with flags of settings as `key=value`.

    >>> flags_as_settings(["--out", "1.10", "steps=5", "--resume"])
    ['out=1.10', 'steps=5', 'resume=true']

    Raises:
        UserError: a flag that needs a value has none.
    """
    overrides, left = [], iter(arguments)
    for argument in left:
        flag, equals, value = argument.partition("=")
        key = OTHER_NAMES.get(flag, flag.removeprefix("--"))
        if flag in SWITCHES:
            overrides.append(f"{key}={value if equals else 'true'}")
        elif flag in (*VALUED_FLAGS, *OTHER_NAMES):
            given = value if equals else next(left, None)
            if given is None or (not equals and given.startswith("--")):
                raise UserError(f"{flag}: give it a value, as in {flag} VALUE or {key}=VALUE.")
            overrides.append(f"{key}={given}")
        else:
            overrides.append(argument)
    return overrides


def text_settings(settings_class: type) -> set[str]:
    """Return the settings of a class whose values are text, groups of configuration left out."""
    kinds = (str, Optional[str])  # noqa: UP045 - as the classes have it
    return {each.name for each in fields(settings_class) if each.type in kinds} - {*_GROUPS}


def quoted(arguments: Sequence[str], settings_class: type) -> list[str]:
    """Return the arguments with text settings in quotes, as Hydra's grammar wants them.

    >>> from didi_protein.settings import PretrainSettings
    >>> quoted(["out=2024_11_30", "data=a,b=c (1).fasta", "steps=5"], PretrainSettings)
    ["out='2024_11_30'", "data='a,b=c (1).fasta'", 'steps=5']

    Raises:
        UserError: under --multirun, a comma without a name on each of its sides.
    """
    known = text_settings(settings_class)
    sweeps = any(each in _MULTIRUN for each in arguments)
    return [_quoted(each, known, sweeps) for each in arguments]


def _quoted(argument: str, known: set[str], sweeps: bool) -> str:
    key, equals, value = argument.partition("=")
    name = key.lstrip("+")
    if not equals or name not in known or (value == "null" and name not in NAMES):
        return argument
    pieces = list(_between_commas(value)) if sweeps else [value]
    if len(pieces) > 1 and "" in pieces:
        raise UserError(f"{argument}: a name is missing beside a comma, which --multirun sweeps.")
    if name in NAMES:
        pieces = [at_home(each) for each in pieces]
    return f"{key}={','.join(QuotedString(each, Quote.single).with_quotes() for each in pieces)}"


def _between_commas(value: str) -> Iterator[str]:
    """Yield the parts of a value between its commas, of which those within `${...}` are none."""
    start = depth = 0
    for at, letter in enumerate(value):
        if value.startswith("${", at):
            depth += 1
        elif letter == "}":
            depth = max(0, depth - 1)
        elif letter == "," and depth == 0:
            yield value[start:at]
            start = at + 1
    yield value[start:]


def as_given(overrides: Sequence[str], settings: object) -> list[str]:
    """Return the overrides of a job with its names as they are, to be given to another process.

    Args:
        overrides: as Hydra keeps them, with `quoted` text.
        settings: what they came to.
    """
    known = text_settings(type(settings))

    def given(override: str) -> str:
        name = override.partition("=")[0].lstrip("+")
        value = getattr(settings, name) if name in known else None
        return override if value is None else f"{name}={value}"

    return [given(each) for each in overrides]
