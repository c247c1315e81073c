"""`--help` of a verb of `key=value` settings: its dataclasses, explained by their docstrings."""

import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from didi_core.cli.hydra_app import (
    ENTRIES,
    choices_of,
    config_folder,
    defaults_list,
    settings_of_choices,
    settings_of_verb,
)
from didi_core.cli.settings_arguments import OTHER_NAMES, SWITCHES, VALUED_FLAGS, flags_as_settings
from didi_core.cli.settings_source import Setting
from didi_core.discovery import summaries_of

_WIDTH = 100
_MOST_BEFORE_TEXT = 28
"""Columns before explanations; that of a longer setting begins further on."""


def settings_help(
    program: str,
    summary: str,
    config_name: str,
    arguments: Sequence[str] = (),
    groups: Mapping[str, str] | None = None,
) -> str:
    """Return what `program --help` prints.

    Args:
        program: with its verb, as in "didi-protein distill".
        config_name: of the file in configs/.
        arguments: `method=dcd` among them shows the settings of that method, not of the default.
        groups: see `didi_core.cli.hydra_app.run_hydra`.
    """
    given = flags_as_settings([each for each in arguments if each not in ("--help", "-h")])
    chosen = dict(argument.split("=", 1) for argument in given if "=" in argument)
    settings = {each.name: each for each in settings_of_verb(config_name)}
    names = {full: name for name, full in (groups or {}).items()}
    defaults = {names.get(each, each): (each, choice) for each, choice in _groups(config_name)}
    parts = [
        f"Usage: {program} KEY=VALUE ...\n\n{summary}",
        "Settings with their defaults; what is ??? has to be given, null is none:\n"
        + _indented(_listed(each for name, each in settings.items() if name not in defaults)),
        _flags_help(settings),
    ]
    for called, (group, default) in defaults.items():
        if group in ENTRIES:
            known = summaries_of(ENTRIES[group]).items()
            lines = [f"  {called}={name}: {summary}" for name, summary in known]
            parts.append("\n".join([f"What {called}= may be:", *lines]))
        choice, shape = chosen.get(called, default), settings[called].default
        parts.append(_group_help(group.partition("@")[0], called, choice, shape, names))
    parts.append(
        "--cfg job prints all settings as they would be, and does nothing; --multirun takes lists\n"
        "(seed=0,1,2) and does one run for each."
    )
    return "\n\n".join(parts)


def _flags_help(settings: Iterable[str]) -> str:
    """List the settings that may be given as flags, and how names are read."""
    flags = [f"{flag} VALUE" for flag in VALUED_FLAGS if flag[2:] in settings]
    flags += [f"{flag} VALUE" for flag, name in OTHER_NAMES.items() if name in settings]
    flags += [flag for flag in SWITCHES if flag[2:] in settings]
    return textwrap.fill(
        f"The same as flags: {', '.join(flags)}. Names and paths are text, whatever they look like "
        "(out=2024_11_30), save a leading ~/ and ${...}; an empty one (valid=) is none. --json "
        "prints run.json at the end.",
        width=_WIDTH,
    )


def _group_help(group: str, called: str, choice: str, shape: Any, names: Mapping[str, str]) -> str:
    """Say what a group offers, and show what one choice is.

    Args:
        shape: default of the setting that the group fills.
        names: what users call groups, by what Hydra calls them.
    """
    known = choices_of(group)
    text = f"{called}=NAME, of {', '.join(known)}."
    if choice not in known:
        return text
    shown = _choice_help(group, called, choice, shape, names)
    if others := [each for each in _defaults_of(group, choice) if isinstance(each, str)]:
        text += f" {called}={choice} is {others[0]}{', and what stands below' if shown else ''}."
        shown = shown or _choice_help(group, called, others[0], shape, names)
    return f"{text} {called}=NAME --help shows another.\n{shown}" if shown else text


def _choice_help(group: str, called: str, choice: str, shape: Any, names: Mapping[str, str]) -> str:
    """Show the settings of a choice, or of a file of many settings what it sets."""
    place = f"Settings of {choice}, {called}.KEY=VALUE:\n"
    if choice in (entries := settings_of_choices(group)):
        return place + _indented(_listed(entries[choice]))
    lines = _lines_of(config_folder() / group / f"{choice}.yaml")
    if isinstance(shape, tuple):
        values = yaml.safe_load(lines)
        return place + _indented(
            _listed(replace(each, default=values.get(each.name, each.default)) for each in shape)
        )
    overridden = [each.items() for each in _defaults_of(group, choice) if isinstance(each, dict)]
    chosen = [f"{_called(other, names)}={name}" for each in overridden for other, name in each]
    return f"{called}={choice} sets:\n" + _indented("\n".join([*chosen, lines])) if lines else ""


def _called(override: str, names: Mapping[str, str]) -> str:
    """Return what users call the group that an `override` entry chooses of."""
    group = override.removeprefix("override ").lstrip("/")
    return names.get(group, group)


def _groups(config_name: str) -> Iterator[tuple[str, str]]:
    """Yield the groups of a configuration, each with the choice that it makes by default."""
    for entry in defaults_list(config_name):
        if isinstance(entry, dict):
            yield from entry.items()


def _defaults_of(group: str, choice: str) -> list[Any]:
    """Return what the file of a choice is made of beside itself; nothing where it is no file."""
    if not (config_folder() / group / f"{choice}.yaml").exists():
        return []
    return [each for each in defaults_list(f"{group}/{choice}") if each != "_self_"]


def _lines_of(path: Path) -> str:
    """Return a file's lines that users may change: no head, no `defaults`, no name of its own."""
    kept, skipping = [], True
    for line in path.read_text(encoding="utf-8").splitlines():
        if line[:1].strip() and not line.startswith("#"):
            skipping = line.partition(":")[0] in ("defaults", path.parent.name)
        if not skipping:
            kept.append(line)
    return "\n".join(kept).strip("\n")


def _listed(settings: Iterable[Setting]) -> str:
    """Write settings as YAML has them, each with its explanation in a column of its own."""
    rows = list(_rows(settings))
    column = max((len(row) for row, _ in rows if len(row) < _MOST_BEFORE_TEXT), default=0) + 1
    return "\n".join(line for row, text in rows for line in _explained(row, text, column))


def _rows(settings: Iterable[Setting], indent: str = "") -> Iterator[tuple[str, str]]:
    for each in settings:
        if isinstance(each.default, tuple):
            yield f"{indent}{each.name}:", each.text
            yield from _rows(each.default, f"{indent}  ")
        else:
            yield f"{indent}{each.name}: {_written(each.default)}", each.text


def _written(default: Any) -> str:
    """Write a value in YAML, on one line."""
    text = yaml.safe_dump(default, default_flow_style=True, width=math.inf)
    return "???" if default == "???" else text.removesuffix("\n").removesuffix("\n...")


def _explained(row: str, text: str, column: int) -> list[str]:
    """Return the lines of one setting, no wider than the page."""
    lines = [f"# {each}" for each in textwrap.wrap(" ".join(text.split()), _WIDTH - column - 4)]
    first, *more = lines or [""]
    room = column if len(row) < column else len(row) + 1
    return [f"{row:<{room}}{first}".rstrip(), *(" " * column + each for each in more)]


def _indented(text: str) -> str:
    return textwrap.indent(text, "  ")
