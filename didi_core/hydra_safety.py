"""Configuration files and overrides are data: nothing in them may name code to run.

Hydra itself calls whatever a key `_target_` of its own part (callbacks, sweepers, launchers) names,
sets variables of the environment, and follows search paths. A folder given by `--config-dir` may be
a stranger's, so its files are looked through before Hydra sees them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from didi_core.errors import UserError

_FORBIDDEN = ("_target_", "env_set", "searchpath", "callbacks")
_LEAKING = "oc.env"
"""Reads a variable of the environment; what it holds would stand in run.json and on model cards."""
_FOLDER_FLAGS = ("--config-dir", "-cd", "--config-path", "-cp")


def refuse_code(arguments: Sequence[str]) -> None:
    """Look through overrides, and through the files of configuration folders that are named.

    Raises:
        UserError: naming the key, and the file where it stands in one; or an override has none.
    """
    for argument in arguments:
        key, equals, _ = argument.partition("=")
        if equals and not key.strip("+~ "):
            raise UserError(f"{argument}: a setting has a name before its =, as in steps=100.")
        parts = key.lstrip("+~").replace("/", ".").split(".")
        if bad := [each for each in _FORBIDDEN if each in parts or f"{each}:" in argument]:
            raise UserError(f"{key}=: {bad[0]} could run code; settings are data. Leave it out.")
    for folder in _folders(arguments):
        for path in sorted((*folder.rglob("*.yaml"), *folder.rglob("*.yml"))):
            _refuse_in_file(path)


def _folders(arguments: Sequence[str]) -> Iterator[Path]:
    for at, argument in enumerate(arguments):
        for flag in _FOLDER_FLAGS:
            if argument == flag:
                yield from (Path(each) for each in arguments[at + 1 : at + 2])
            elif argument.startswith(flag):
                yield Path(argument.removeprefix(flag).removeprefix("="))


def _refuse_in_file(path: Path) -> None:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is no YAML that can be read ({reason}).") from error
    for word in _words(content):
        if word in _FORBIDDEN:
            raise UserError(f"{path}: {word} could run code; settings are data. Take it out.")
        if "${" in word and _LEAKING in word:
            raise UserError(
                f"{path}: {word} reads a variable of your environment; take it out, or give the "
                "setting on the command line."
            )


def _words(value: Any) -> Iterator[str]:
    """Every key, and every text among the values."""
    if isinstance(value, dict):
        for key, item in value.items():
            # Overrides of another group: `override hydra/callbacks`, and dotted keys.
            yield from str(key).replace("/", ".").replace(" ", ".").split(".")
            yield from _words(item)
    elif isinstance(value, list):
        for item in value:
            yield from _words(item)
    elif isinstance(value, str):
        yield value
