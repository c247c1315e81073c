"""What `info` looks at: packages, device, bundled models, and models of the hub."""

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from huggingface_hub import constants, scan_cache_dir
from huggingface_hub.errors import CacheNotFound

from didi_core.commands.info import Info, InfoOptions
from didi_core.models.attention import attention_backend
from didi_core.models.bundled import BundledModels
from didi_core.training.devices import describe_device, resolve_device, settle_precision
from didi_core.training.run_folder import package_versions


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
        hub_cache=str(cache),
        cached_models=cached_models(cache),
        notes=list(notes),
    )


def cached_models(cache: Path) -> list[str]:
    """Ids of the hub models in a cache folder, sorted; revisions as `--model` takes them."""
    try:
        found = scan_cache_dir(cache)
    except CacheNotFound:
        return []
    models = [repo for repo in found.repos if repo.repo_type == "model"]
    return sorted(name for repo in models for name in _names(repo.repo_id, repo.refs))


def _names(repository: str, refs: Iterable[str]) -> list[str]:
    """One of the main branch, or of a commit alone, has no `@`."""
    return [repository if ref == "main" else f"{repository}@{ref}" for ref in refs or ("main",)]
