"""What `info` of both programs is asked for, finds, and prints. Imports no torch: help is fast."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from typer import Option

from didi_core.cli.command_options import Device, JsonOutput
from didi_core.models.bundled import BundledModels


@dataclass(frozen=True, kw_only=True)
class InfoOptions:
    """What `info` is asked for."""

    device: Device = "auto"
    precision: Annotated[
        str,
        Option(help="Precision that the attention backend is shown for: float32, bf16 or auto."),
    ] = "float32"
    json_output: JsonOutput = False


@dataclass(frozen=True)
class Info:
    """What is installed and found on this machine."""

    versions: dict[str, str]
    device: str
    """The device `--device auto` takes, in words."""
    cuda_devices: list[str]
    attention: str
    """Backend for the device and precision: flash or varlen (CUDA in half precision, tokens
    packed), sdpa, or plain (half precision on a CPU)."""
    extras: dict[str, bool]
    """Optional packages, and whether they are installed."""
    bundled_models: dict[str, bool]
    """Models that ship in the package, and whether their weights are there."""
    trained_lengths: dict[str, str]
    """Of those, the lengths that each was trained on, where its folder says."""
    hub_cache: str
    """Folder of downloaded models (from HF_HOME)."""
    cached_models: list[str]
    """Hub models in that folder."""
    notes: list[str]
    """What needs the user's attention."""


def show_info(info: Info, *, as_json: bool) -> None:
    """Print on standard output."""
    if as_json:
        print(json.dumps(asdict(info), indent=2))
        return
    for name, value in asdict(info).items():
        print(f"{name.replace('_', ' '):16s} {_in_words(value)}")


def _in_words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_yes_no(each)}" for key, each in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _yes_no(value: object) -> str:
    return {True: "(yes)", False: "(no)"}[value] if isinstance(value, bool) else str(value)


# What `info` looks at: packages, device, bundled models, and models of the hub.


def collect_info(
    options: InfoOptions, bundled: BundledModels, extras: Sequence[str], notes: Sequence[str] = ()
) -> Info:
    """Look at this machine.

    Args:
        bundled: what the program ships.
        extras: import names of the optional packages that it uses.
        notes: what else needs the user's attention.

    Raises:
        UserError: an unknown device or precision, or CUDA where there is none.
    """
    import torch
    from huggingface_hub import constants

    from didi_core.models.attention import attention_backend
    from didi_core.models.folder import read_trained_lengths
    from didi_core.training.devices import describe_device, resolve_device, settle_precision
    from didi_core.training.run_folder import package_versions

    device = resolve_device(options.device)
    bf16 = settle_precision(options).precision == "bf16"
    cache = Path(constants.HF_HUB_CACHE)
    return Info(
        versions=package_versions(),
        device=describe_device(device),
        cuda_devices=[torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        attention=attention_backend(device, torch.bfloat16 if bf16 else torch.float32),
        extras={name: find_spec(name) is not None for name in extras},
        bundled_models={name: bundled.ships(name) for name in bundled.names},
        trained_lengths={
            name: str(lengths)
            for name in bundled.names
            if (lengths := read_trained_lengths(bundled.folder(name))) is not None
        },
        hub_cache=str(cache),
        cached_models=cached_models(cache),
        notes=list(notes),
    )


def cached_models(cache: Path) -> list[str]:
    """List the hub models in a cache folder, sorted; revisions as `--model` takes them."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        scanned = scan_cache_dir(cache)
    except CacheNotFound:
        return []
    models = [repo for repo in scanned.repos if repo.repo_type == "model"]
    return sorted(name for repo in models for name in _names(repo.repo_id, repo.refs))


def _names(repository: str, refs: Iterable[str]) -> list[str]:
    """Name a repository by its refs: the main branch, or a commit alone, has no `@`."""
    return [repository if ref == "main" else f"{repository}@{ref}" for ref in refs or ("main",)]
