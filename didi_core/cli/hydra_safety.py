"""Configuration files and overrides are data: nothing in them may name code to run.

Hydra itself calls whatever a key `_target_` of its own part (callbacks, sweepers, launchers) names,
sets variables of the environment, and follows search paths. A folder given by `--config-dir` may be
a stranger's, so its files are looked through before Hydra sees them.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from didi_core.errors import UserError

_FORBIDDEN = ("_target_", "env_set", "searchpath", "callbacks")
_KEY_IN_VALUE = re.compile(rf"[{{,]\s*({'|'.join(_FORBIDDEN)})\s*:")
"""A forbidden key of a dictionary in an override's value, as in `+hydra={job: {env_set: x}}`."""
_RESOLVER = re.compile(r"\$\{([^}:$]*)([:$])")
"""What a reference calls, as oc.env in `${oc.env:HOME}`; or a `$` in its name, to compute it."""
_HARMLESS = ("now", "hydra", "oc.select")
"""Others read variables of the environment, which would then stand in run.json and on model cards,
or make keys of text that nobody has looked through."""
_FOLDER_FLAGS = ("--config-dir", "-cd", "--config-path", "-cp")


def refuse_code(arguments: Sequence[str]) -> None:
    """Look through overrides, and through the files of configuration folders that are named.

    Raises:
        UserError: naming the key, and the file where it stands in one; or an override has none.
    """
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and not key.strip("+~ "):
            raise UserError(f"{argument}: a setting has a name before its =, as in steps=100.")
        if not equals and not key.startswith("~"):
            continue  # a flag, or the folder after it
        if bad := [*_forbidden(key), *_KEY_IN_VALUE.findall(value)]:
            raise UserError(f"{key}=: {bad[0]} could run code; settings are data. Leave it out.")
    for folder in _folders(arguments):
        for path in _files(folder):
            _refuse_in_file(path, path.relative_to(folder))


def _forbidden(text: str) -> list[str]:
    """List the forbidden names among those of a dotted key, a group or a package."""
    return [each for each in re.split(r"\W+", text) if each in _FORBIDDEN]


def _folders(arguments: Sequence[str]) -> Iterator[Path]:
    for at, argument in enumerate(arguments):
        for flag in _FOLDER_FLAGS:
            if argument == flag:
                yield from (Path(each) for each in arguments[at + 1 : at + 2])
            elif argument.startswith(flag):
                yield Path(argument.removeprefix(flag).removeprefix("="))


def _files(folder: Path) -> list[Path]:
    """List the YAML files in a folder, and where its links lead: Hydra follows those."""
    seen: set[str] = set()
    files = []
    for here, below, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:  # a link that leads back
            below.clear()
        seen.add(real)
        files += [Path(here, each) for each in names if each.endswith((".yaml", ".yml"))]
    return sorted(files)


def _refuse_in_file(path: Path, place: Path) -> None:
    """Refuse a file that could run code.

    Args:
        place: of the file in its folder, which decides where its content goes.
    """
    try:
        text = path.read_text(encoding="utf-8")
        words = list(_words(yaml.safe_load(text)))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is no YAML that can be read ({reason}).") from error
    # `# @package hydra.x`: the content goes there.
    packages = [line for line in text.splitlines() if "@package" in line]
    for word in (*place.parent.parts, place.stem, *packages, *words):
        if bad := _forbidden(word):
            raise UserError(f"{path}: {bad[0]} could run code; settings are data. Take it out.")
        for resolver, computed in _RESOLVER.findall(word):
            if computed == "$" or resolver.strip() not in _HARMLESS:
                raise UserError(
                    f"{path}: {word} may read a variable of your environment, or make a key; take "
                    "it out, or give the setting on the command line."
                )


def _words(value: Any, where: str = "") -> Iterator[str]:
    """Yield every key, and of the values what names a key, a group or a package.

    Args:
        where: the key above.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _words(item, str(key))
    elif isinstance(value, list):
        for item in value:
            yield from _words(item, where)
    # A value elsewhere is only text: data may lie in a folder of any name.
    elif isinstance(value, str) and (where == "defaults" or "${" in value):
        yield value
