"""`didi-protein download`: fetch models and data ahead, for machines without network.

    didi-protein download airkingbd/dplm_150m esm2_t6_8M_UR50D uniref50

Models of the Hugging Face hub go into its cache (HF_HOME), ESM-2 into torch hub's (TORCH_HOME),
UniRef50 into ours (DIDI_CACHE): the places where every other verb looks with `--offline`. This
file imports no torch at the top, so that `--help` is fast.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Argument

from didi_core.cli.command_options import JsonOutput, command_of
from didi_core.commands.hub import fetch_all
from didi_core.errors import UserError
from didi_protein.folding import HUB_IDS as FOLDING_HUB_IDS

UNIREF50 = "uniref50"
DPLM = tuple(f"airkingbd/dplm_{size}" for size in ("150m", "650m", "3b"))
ESM2_URL = "https://dl.fbaipublicfiles.com/fair-esm/models"


@dataclass(frozen=True, kw_only=True)
class DownloadOptions:
    """What `download` can be asked for."""

    names: Annotated[
        list[str],
        Argument(
            metavar="NAME...",
            help="Hub ids (airkingbd/dplm_150m), esmfold (facebook/esmfold_v1, 8.4 GB), esmfold2, "
            "esmfold2-fast (13.5 GB), fair-esm's ESM-2 (esm2_t6_8M_UR50D), ESMC (esmc_300m), or "
            "uniref50.",
        ),
    ]
    json_output: JsonOutput = False


def download(names: Sequence[str]) -> dict[str, Path]:
    """Fetch each of `names`, and go on after one that fails.

    Args:
        names: hub ids, `esmfold`, `esmfold2`, `esmfold2-fast`, fair-esm's names of ESM-2, bundled
            names (already here) or `uniref50`.

    Returns:
        Where each lies now.

    Raises:
        UserError: nothing to fetch, or some could not be; the message has one reason for each.
    """
    if not names:
        raise UserError("download: name at least one model, or uniref50.")
    from didi_protein.models.esm2 import PUBLISHED
    from didi_protein.models.esmc import HUB_IDS
    from didi_protein.models.load import BUNDLED_MODELS

    folding = (*FOLDING_HUB_IDS, *FOLDING_HUB_IDS.values())
    models = (*BUNDLED_MODELS.names, *folding, *DPLM, *PUBLISHED, *HUB_IDS)
    known = (*models, UNIREF50)
    return fetch_all(names, download_one, known)


def download_one(name: str) -> Path:
    """Fetch one model or data set and return where it lies.

    Raises:
        UserError: an unknown name, or it cannot be fetched.
    """
    from didi_core.io.download import RemoteFile, fetch_file
    from didi_core.models.hub import DOWNLOAD, fetch_snapshot, may_be_hub_id
    from didi_protein.models.esm2 import is_esm2_name, weights_path
    from didi_protein.models.esmc import HUB_IDS as ESMC_HUB_IDS
    from didi_protein.models.load import BUNDLED_MODELS
    from didi_protein.sequences.uniref50 import download_uniref50

    if name == UNIREF50:
        return download_uniref50()
    if name in BUNDLED_MODELS.names:
        return BUNDLED_MODELS.folder(name)
    if is_esm2_name(name):
        return fetch_file(RemoteFile(f"{ESM2_URL}/{name}.pt"), weights_path(name))
    name = {**FOLDING_HUB_IDS, **ESMC_HUB_IDS}.get(name, name)
    if Path(name).is_dir() or not may_be_hub_id(name):
        raise UserError(
            f"{name} is no hub id such as airkingbd/dplm_150m, no ESM-2 such as "
            f"esm2_t6_8M_UR50D, and not {UNIREF50}."
        )
    return fetch_snapshot(name, offline=False, program="didi-protein", flag=DOWNLOAD)


def _run(options: DownloadOptions) -> None:
    found = {name: str(path) for name, path in download(options.names).items()}
    if options.json_output:
        print(json.dumps(found, indent=2))
    else:
        print("\n".join(f"{name}: {path}" for name, path in found.items()))


download_command = command_of(
    DownloadOptions, _run, "Fetch models and data ahead, for machines without network."
)
