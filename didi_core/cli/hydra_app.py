"""Hydra verbs inside a program of plain verbs: `key=value`, `--cfg job`, `--multirun`.

Settings and their defaults are those of dataclasses. Presets, models, recipes, and what a verb
chooses of them, are files of the repository's `configs/`, installed as `didi_core/_configs`. What
both come to is merged onto the dataclass, so that unknown keys and wrong types are refused by name.
"""

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar, cast

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from didi_core.cli.hydra_safety import refuse_code
from didi_core.cli.settings_arguments import (
    NAMES,
    as_given,
    flags_as_settings,
    quoted,
)
from didi_core.cli.settings_source import (
    Setting,
    defaults_of,
    settings_of,
    settings_of_entries,
)
from didi_core.discovery import summaries_of
from didi_core.errors import UserError, missing_extra
from didi_core.wrong_types import wrong_type

Settings = TypeVar("Settings")

ENTRIES = {"method": "didi_core.distill"}
"""Groups of configuration whose choices are the entries of a package, beside files."""
_COMMON = {"method": "didi_core.distill.student:StudentSettings"}
"""What explains the settings that all of them have."""
_LAUNCHER = "hydra/launcher="

_HYDRA_FLAGS = (
    *("--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run"),
    *("--multirun", "--shell-completion", "--config-path", "--config-name", "--config-dir"),
    "--info",
)


_SHORT_FLAGS = ("-h", "-c", "-p", "-r", "-m", "-s", "-i")


_ASKING = ("--info", "-i")


_VALUED = (
    *("--cfg", "-c", "--package", "-p", "--config-path", "-cp"),
    *("--config-name", "-cn", "--config-dir", "-cd"),
)


def config_folder() -> Path:
    """Find the configuration: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    for folder in (package / "_configs", package.parent / "configs"):
        if (folder / "pretrain.yaml").exists():
            return folder
    raise UserError(
        f"The configuration folder is missing beside {package}: install didi-protein anew."
    )


def choices_of(group: str) -> list[str]:
    """List what a configuration group offers, as in `method=`: its entries and its files."""
    files = {path.stem for path in (config_folder() / group).glob("*.yaml")}
    return sorted(files | set(summaries_of(ENTRIES[group]) if group in ENTRIES else ()))


def defaults_list(name: str) -> list[Any]:
    """Return what the file `name` of configs/ lists under `defaults`."""
    text = (config_folder() / f"{name}.yaml").read_text(encoding="utf-8")
    return (yaml.safe_load(text) or {}).get("defaults", [])


def settings_of_verb(config_name: str) -> tuple[Setting, ...]:
    """Return the settings of the dataclass that a verb's configuration names."""
    named = next(each for each in defaults_list(config_name) if "." in each)
    return settings_of(":".join(named.rsplit(".", 1)))


def settings_of_choices(group: str) -> Mapping[str, tuple[Setting, ...]]:
    """Return the settings of each choice of a group that is the entry of a package."""
    if group not in ENTRIES:
        return {}
    return settings_of_entries(ENTRIES[group], _COMMON[group])


def declare_settings(config_name: str) -> None:
    """Tell Hydra the parts of a configuration that are no files: of a verb's class, of methods."""
    store = ConfigStore.instance()
    for each in defaults_list(config_name):
        if isinstance(each, dict):
            (group,) = each
            for name, settings in settings_of_choices(group).items():
                store.store(name, {"name": name, **defaults_of(settings)}, group)
        elif "." in each:
            store.store(each, defaults_of(settings_of_verb(config_name)))


def run_hydra(
    config_name: str,
    settings_class: type[Settings],
    task: Callable[[Settings], object],
    arguments: Sequence[str],
    program: str,
    *,
    groups: Mapping[str, str] | None = None,
) -> None:
    """Compose `config_name` with the overrides in `arguments` and call `task` for each job.

    Args:
        groups: configuration groups that users call otherwise, by what they call them: with
            {"model": "text_model@model"} the override `model=small` chooses text_model/small.

    Raises:
        UserError: an unknown key or option, a wrong type, a required key left out, a key that
            names code, or one given twice, of which Hydra would take the last.
    """

    arguments = flags_as_settings(arguments)
    _refuse_flags(arguments, program)
    refuse_code(arguments)
    _require_launcher(arguments)
    _refuse_repeats(arguments)
    overrides = quoted(arguments, settings_class)
    declare_settings(config_name)
    failed: list[Exception] = []

    @hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=config_name)
    def job(config: DictConfig) -> None:
        try:
            task(settings_from(config, settings_class))
        except Exception as error:
            # Hydra would print the overrides above it; of several jobs they tell which one failed.
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise
            failed.append(error)

    argv, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    # Hydra prints its own traceback and exits with 1 unless it is told to raise.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    renamed = [_renamed(argument, groups or {}) for argument in overrides]
    sys.argv = [program, *_flags_first(renamed)]
    try:
        job()
        if failed:
            raise failed[0]
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_first_sentence(error, program, settings_class, groups or {})) from error
    finally:
        sys.argv = argv
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]


def overrides_of_job(settings: object) -> list[str]:
    """Return the overrides of the job that Hydra is running: of a sweep, those of this one.

    Args:
        settings: what they came to.
    """
    task = HydraConfig.get().overrides.task
    return as_given([str(each) for each in task], settings)


def given_in_job() -> frozenset[str]:
    """Return the keys of settings and groups that the user gave to the job that Hydra is running.

    Empty where none is running.
    """
    if not HydraConfig.initialized():
        return frozenset()
    task = HydraConfig.get().overrides.task
    return frozenset(str(each).partition("=")[0].lstrip("+") for each in task)


def _require_launcher(arguments: Sequence[str]) -> None:
    """Name the extra that a launcher needs: Hydra only says that it does not know it."""
    launchers = [each.partition("=")[2] for each in arguments if each.startswith(_LAUNCHER)]
    asked = [each for each in launchers if each == "slurm" or each.startswith("submitit")]
    if asked and find_spec("submitit") is None:
        raise missing_extra("hydra-submitit-launcher", "slurm")


def _refuse_repeats(arguments: Sequence[str]) -> None:
    keys = [each.partition("=")[0].lstrip("+~") for each in arguments if "=" in each]
    overrides = [key for key in keys if not key.startswith("-")]
    if twice := {key for key in overrides if overrides.count(key) > 1}:
        raise UserError(
            f"{', '.join(f'{key}=' for key in sorted(twice))} given twice; give it once."
        )


def _flags_first(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with Hydra's flags before all overrides, which it takes in one row."""
    flags: list[str] = []
    overrides: list[str] = []
    left = list(arguments)
    while left:
        argument = left.pop(0)
        (flags if argument.startswith("-") else overrides).append(argument)
        if left and (argument in _VALUED or (argument in _ASKING and "=" not in left[0])):
            flags.append(left.pop(0))
    return [*flags, *overrides]


def _renamed(argument: str, groups: Mapping[str, str]) -> str:
    name, equals, value = argument.partition("=")
    return f"{groups.get(name, name)}{equals}{value}"


def compose_settings(
    config_name: str, settings_class: type[Settings], overrides: Sequence[str]
) -> Settings:
    """Compose the settings that the command line `overrides` would give, for programs of many jobs.

    Raises:
        UserError: as `run_hydra`.
    """
    refuse_code(overrides)
    declare_settings(config_name)
    try:
        with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
            config = hydra.compose(config_name, quoted(overrides, settings_class))
        return settings_from(config, settings_class)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_first_sentence(error, config_name, settings_class)) from error


def compose_plain(config_name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Return what the configuration holds with these overrides; `???` where a value is required."""
    declare_settings(config_name)
    # A job that is running has its own, which Hydra would not have beside another.
    running = GlobalHydra.instance()
    kept, running.hydra = running.hydra, None
    try:
        with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
            config = hydra.compose(config_name, list(overrides))
            return cast(dict[str, Any], OmegaConf.to_container(config))
    finally:
        GlobalHydra.instance().hydra = kept


def settings_from(config: DictConfig, settings_class: type[Settings]) -> Settings:
    """Make a typed `settings_class` from a composed configuration.

    Raises:
        UserError: required keys that were left out, all at once.
    """
    merged: Any = OmegaConf.merge(OmegaConf.structured(settings_class), config)
    unnamed = [each for each in NAMES if each in merged and merged._get_node(each)._value() == ""]
    needed = {each.name for each in fields(cast(Any, settings_class)) if each.default == MISSING}
    missing = sorted({*OmegaConf.missing_keys(merged), *(needed & {*unnamed})})
    if missing:
        wanted = ", ".join(f"{key}=..." for key in missing)
        raise UserError(f"Required: {wanted}; give each (--help says what it takes).")
    for name in unnamed:  # of those that may be none
        merged[name] = None
    try:
        settings: Any = OmegaConf.to_object(merged)
        return settings
    except MissingMandatoryValue as error:
        raise UserError(str(error)) from error


def as_plain(settings: object) -> Any:
    """Turn nested dataclasses into dictionaries, for run.json."""
    if is_dataclass(settings):
        return {field.name: as_plain(getattr(settings, field.name)) for field in fields(settings)}
    return list(settings) if isinstance(settings, tuple) else settings


def _first_sentence(
    error: Exception, program: str, settings_class: type, groups: Mapping[str, str] | None = None
) -> str:
    """Say the error in one line that names the key, without Hydra's advice for unknown ones."""
    help_line = f"(see every setting with: {program} --help)"
    if unknown := _UNKNOWN_SETTING.search(str(error)):
        known = [field.name for field in fields(settings_class)]
        names = [each for each in unknown.groups() if each]
        part = names[0].rpartition(".")[0]  # of a group's own settings none is known here
        near = [] if part else get_close_matches(names[0], known, 1)
        hint = f"; did you mean {near[0]}=?" if near else "."
        if part and choices_of(part):
            help_line = f"(see every setting of a {part} with: {program} --help {part}=NAME)"
        return f"{names[0]}=: there is no such setting{hint} {help_line}"
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        return _unknown_choice(error.missing_cfg_file, list(error.options), groups or {})
    if message := wrong_type(error) or _of_grammar(error):
        return f"{message} {help_line}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    keys = [line.removeprefix("full_key:").strip() for line in lines if line.startswith("full_key")]
    shown = [
        line for line in lines if not line.startswith(("full_key", "object_type", "reference"))
    ]
    named = f"{keys[0]}=: " if keys and keys[0] else ""
    return f"{named}{' '.join(shown[:6])} {help_line}"


_UNKNOWN_SETTING = re.compile(
    r"Could not override '([^']+)'|Key '([^']+)' not in '|delete from config. '([^']+)' does not"
)


_GRAMMAR = (
    (
        r"Ambiguous value for argument '(.*?)'\s",
        "{0}: several values are several runs: add --multirun, or write a list as [1,2].",
    ),
    (
        r"Error merging override \W*(.*?)=",
        "{0}=: what follows its ${{ cannot be read; refer to a setting as in ${{seed}}.",
    ),
    (r"Interpolation key '(.*?)' not found", "${{{0}}}: there is no such setting to refer to."),
    (r"Environment variable '(.*?)' not found", "${{oc.env:{0}}}: {0} is not set."),
    (r"Unsupported interpolation type (\S+)", "${{{0}:...}}: there is nothing called {0}."),
)
"""What Hydra and OmegaConf say of values and references that they cannot read, and what we say."""


def _of_grammar(error: Exception) -> str | None:
    """Return what is wrong with how a setting is written; None where that is not the matter."""
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override}: settings are written KEY=VALUE, with a number, a word, true, false "
            "or a list such as [0.9,0.99] as the value."
        )
    matches = (
        (re.search(pattern, str(error), re.DOTALL), template) for pattern, template in _GRAMMAR
    )
    written = next((template.format(*match.groups()) for match, template in matches if match), None)
    key = re.search(r"full_key: (\S+)", str(error))
    return f"{key[1]}=: {written}" if written and key else written


def _unknown_choice(missing: str, known: Sequence[str], groups: Mapping[str, str]) -> str:
    """Name the setting as users give it where a choice is unknown, as in text_model/tny."""
    group, _, given = missing.rpartition("/")
    called = {full.partition("@")[0]: name for name, full in groups.items()}
    near = get_close_matches(given, known, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{called.get(group, group)}={given}: {hint}There are {', '.join(sorted(known))}."


def _refuse_flags(arguments: Sequence[str], program: str) -> None:
    """Refuse flags of the other verbs, given where settings are key=value."""
    for at, argument in enumerate(arguments):
        name = argument.partition("=")[0]
        if argument in _VALUED and not arguments[at + 1 : at + 2]:
            raise UserError(f"{argument}: give it a value (see: {program} --help).")
        if re.fullmatch("-[^-].*", argument) and not argument.startswith(_SHORT_FLAGS):
            raise UserError(f"{argument}: {program} has no such flag (see: {program} --help).")
        if argument.startswith("--") and name not in _HYDRA_FLAGS:
            value = argument.partition("=")[2] or next(iter(arguments[at + 1 :]), "...")
            setting = f"{name.lstrip('-').replace('-', '_')}={value}"
            raise UserError(f"{name}: {program} takes settings as key=value: {setting}")
