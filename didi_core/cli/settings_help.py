"""`--help` of a verb of `key=value` settings: its configuration files, explained by comments."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from didi_core.cli.hydra_app import choices_of, config_folder
from didi_core.cli.settings_arguments import SWITCHES, VALUED_FLAGS, flags_as_settings
from didi_core.discovery import summaries_of

_NOT_SET = ("defaults", "hydra", "name", "preset", "recipe")
"""Keys that users do not give a value to: Hydra's, and the name that a file has already."""
_ENTRIES = {"method": "didi_core.distill"}
"""Packages whose entries say what the choices of a group are."""


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
    path = config_folder() / f"{config_name}.yaml"
    given = flags_as_settings([each for each in arguments if each not in ("--help", "-h")])
    chosen = dict(argument.split("=", 1) for argument in given if "=" in argument)
    parts = [
        f"Usage: {program} KEY=VALUE ...\n\n{summary}",
        "Settings with their defaults; what is ??? has to be given, null is none:\n"
        + _indented(_settings(path)),
        _flags_help(path),
    ]
    for group, default in _groups(path):
        called = _called(group, groups or {})
        choice = chosen.get(called, default)
        if group in _ENTRIES:
            known = summaries_of(_ENTRIES[group]).items()
            lines = [f"  {called}={name}: {summary}" for name, summary in known]
            parts.append("\n".join([f"What {called}= may be:", *lines]))
        parts.append(_group_help(group.partition("@")[0], called, choice, groups or {}))
    parts.append(
        "--cfg job prints all settings as they would be, and does nothing; --multirun takes lists\n"
        "(seed=0,1,2) and does one run for each."
    )
    return "\n\n".join(parts)


def _flags_help(path: Path) -> str:
    """List the settings that may be given as flags, and how names are read."""
    groups = {group: None for group, _ in _groups(path)}
    keys = yaml.safe_load(path.read_text(encoding="utf-8")) | groups
    flags = [f"{flag} VALUE" for flag in VALUED_FLAGS if flag[2:] in keys]
    flags += [flag for flag in SWITCHES if flag[2:] in keys]
    return textwrap.fill(
        f"The same as flags: {', '.join(flags)}. Names and paths are text, whatever they look like "
        "(out=2024_11_30), save a leading ~/ and ${...}; an empty one (valid=) is none.",
        width=100,
    )


def _called(group: str, groups: Mapping[str, str]) -> str:
    """Return what users call a group."""
    return next((name for name, full in groups.items() if full == group), group)


def _group_help(group: str, called: str, choice: str, groups: Mapping[str, str]) -> str:
    known = choices_of(group)
    text = f"{called}=NAME, of {', '.join(known)}."
    if choice not in known:
        return text
    path = config_folder() / group / f"{choice}.yaml"
    others = [each for each in _defaults(path) if isinstance(each, str) and each != "_self_"]
    if others:
        text += f" {called}={choice} is {others[0]}"
        text += "." if (own := _settings(path)) == "" else ", and what stands below."
        path = path if own else path.with_name(f"{others[0]}.yaml")
    if not (settings := _settings(path)):
        return text
    whole = "@package _global_" in path.read_text(encoding="utf-8")
    place = (
        f"{called}={path.stem} sets:" if whole else f"Settings of {path.stem}, {called}.KEY=VALUE:"
    )
    chosen = [f"{_called(other, groups)}={name}" for other, name in _overridden(path)]
    settings = "\n".join([*chosen, settings])
    return f"{text} {called}=NAME --help shows another.\n{place}\n{_indented(settings)}"


def _groups(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the groups of a configuration, each with the choice that it makes by default."""
    for entry in _defaults(path):
        if isinstance(entry, dict):
            ((group, choice),) = entry.items()
            if not group.startswith("override "):
                yield group, choice


def _overridden(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the choices that a file makes of other groups."""
    for entry in _defaults(path):
        if isinstance(entry, dict):
            for group, choice in entry.items():
                yield group.removeprefix("override ").lstrip("/"), choice


def _defaults(path: Path) -> list[Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")).get("defaults", [])


def _settings(path: Path) -> str:
    """Return a file's lines that users may change: no head, no `defaults`, no `hydra`."""
    kept, skipping = [], True
    for line in path.read_text(encoding="utf-8").splitlines():
        if line[:1].strip() and not line.startswith("#"):
            skipping = line.partition(":")[0] in _NOT_SET
        if not skipping:
            kept.append(line)
    return "\n".join(kept).strip("\n")


def _indented(text: str) -> str:
    return textwrap.indent(text, "  ")
