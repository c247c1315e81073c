"""`--help` of a verb of `key=value` settings: its configuration files, explained by comments."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from didi_core.hydra_app import choices_of, config_folder

_NOT_SET = ("defaults", "hydra", "name", "preset")
"""Keys that users do not give a value to: Hydra's, and the name that a file has already."""


def settings_help(
    program: str,
    summary: str,
    config_name: str,
    arguments: Sequence[str] = (),
    groups: Mapping[str, str] | None = None,
) -> str:
    """What `program --help` prints.

    Args:
        program: with its verb, as in "didi-protein distill".
        config_name: of the file in configs/.
        arguments: `method=dcd` among them shows the settings of that method, not of the default.
        groups: see `didi_core.hydra_app.run_hydra`.
    """
    path = config_folder() / f"{config_name}.yaml"
    chosen = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    parts = [
        f"Usage: {program} KEY=VALUE ...\n\n{summary}",
        "Settings with their defaults; what is ??? has to be given, null is none:\n"
        + _indented(_settings(path)),
    ]
    for group, default in _groups(path):
        called = next((name for name, full in (groups or {}).items() if full == group), group)
        parts.append(_group_help(group.partition("@")[0], called, chosen.get(called, default)))
    parts.append(
        "--cfg job prints all settings as they would be, and does nothing; --multirun takes lists\n"
        "(seed=0,1,2) and does one run for each."
    )
    return "\n\n".join(parts)


def _group_help(group: str, called: str, choice: str) -> str:
    known = choices_of(group)
    text = f"{called}=NAME, of {', '.join(known)}."
    if choice not in known:
        return text
    path = config_folder() / group / f"{choice}.yaml"
    if len(stands_for := _defaults(path)) == 1:
        path = path.with_name(f"{stands_for[0]}.yaml")
        text += f" {called}={choice} is {stands_for[0]}."
    if not (settings := _settings(path)):
        return text
    whole = "@package _global_" in path.read_text(encoding="utf-8")
    place = (
        f"{called}={path.stem} sets:" if whole else f"Settings of {path.stem}, {called}.KEY=VALUE:"
    )
    return f"{text} {called}=NAME --help shows another.\n{place}\n{_indented(settings)}"


def _groups(path: Path) -> Iterator[tuple[str, str]]:
    """The groups of a configuration, each with the choice that it makes by default."""
    for entry in _defaults(path):
        if isinstance(entry, dict):
            ((group, choice),) = entry.items()
            if not group.startswith("override "):
                yield group, choice


def _defaults(path: Path) -> list[Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")).get("defaults", [])


def _settings(path: Path) -> str:
    """The lines of a file that users may change: without its head, `defaults` and `hydra`."""
    kept, skipping = [], True
    for line in path.read_text(encoding="utf-8").splitlines():
        if line[:1].strip() and not line.startswith("#"):
            skipping = line.partition(":")[0] in _NOT_SET
        if not skipping:
            kept.append(line)
    return "\n".join(kept).strip("\n")


def _indented(text: str) -> str:
    return textwrap.indent(text, "  ")
