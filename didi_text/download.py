"""`didi-text download`: fetch models and data ahead, for machines without network.

    didi-text download kuleshov-group/mdlm-owt gpt2 gpt2-large openwebtext zero-shot

Models and parquet data go into the Hugging Face cache (HF_HOME), single files into ours
(DIDI_CACHE): the places where every other verb looks with `--offline`. This file imports no torch
at the top, so that `--help` is fast.
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

ZERO_SHOT_SETS = "zero-shot"
MODELS = (
    *("kuleshov-group/mdlm-owt", "haoyangzheng/didi-instruct-small"),
    *("s-sahoo/duo", "s-sahoo/duo-distilled"),
    *("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"),
)
"""Of the hub; they are suggested where a name is much alike."""


@dataclass(frozen=True, kw_only=True)
class DownloadOptions:
    """What `download` can be asked for."""

    names: Annotated[
        list[str],
        Argument(
            metavar="NAME...",
            help="Hub ids of models (kuleshov-group/mdlm-owt, gpt2-large, or with a revision "
            "jdeschena/sdtt@baselines_kld_step_70000), openwebtext (24 GB), lm1b (training and "
            "test text), one zero-shot set (ptb, lambada, ...), or zero-shot for the seven.",
        ),
    ]
    json_output: JsonOutput = False


def download(names: Sequence[str]) -> dict[str, Path]:
    """Fetch each of `names`, and go on after one that fails.

    Returns:
        Where each lies now.

    Raises:
        UserError: nothing to fetch, or some could not be; the message has one reason for each.
    """
    from didi_text.corpora.hub import HUB_CORPORA
    from didi_text.evaluating.zero_shot import PUBLISHED, ZERO_SHOT
    from didi_text.models.load import BUNDLED_MODELS

    if not names:
        raise UserError("download: name at least one model or data set.")
    wanted = [each for name in names for each in (PUBLISHED if name == ZERO_SHOT_SETS else [name])]
    known = (*BUNDLED_MODELS.names, *HUB_CORPORA, *ZERO_SHOT, ZERO_SHOT_SETS, *MODELS)
    # Of the seven LM1B is the test text alone; by its own name it is the whole corpus.
    fetch_one = {name: _fetch_zero_shot for name in PUBLISHED if name not in names}
    return fetch_all(wanted, lambda name: fetch_one.get(name, download_one)(name), known)


def download_one(name: str) -> Path:
    """Fetch one model or data set and return where it lies.

    Raises:
        UserError: an unknown name, or it cannot be fetched.
    """
    from didi_core.models.hub import DOWNLOAD, fetch_snapshot, may_be_hub_id
    from didi_text.corpora.hub import HUB_CORPORA, fetch_corpus
    from didi_text.evaluating.zero_shot import ZERO_SHOT
    from didi_text.models.load import BUNDLED_MODELS

    if name in HUB_CORPORA:
        return fetch_corpus(name)
    if name in ZERO_SHOT:
        return _fetch_zero_shot(name)
    if name in BUNDLED_MODELS.names:
        return Path(BUNDLED_MODELS.path_of(name))
    if Path(name).is_dir() or not may_be_hub_id(name):
        raise UserError(
            f"{name} is no hub id such as gpt2-large, and none of {', '.join(HUB_CORPORA)}, "
            f"{', '.join(ZERO_SHOT)} or {ZERO_SHOT_SETS}."
        )
    return fetch_snapshot(name, offline=False, program="didi-text", flag=DOWNLOAD)


def _fetch_zero_shot(name: str) -> Path:
    from didi_text.evaluating.zero_shot import ZERO_SHOT, fetch_set

    return fetch_set(ZERO_SHOT[name])


def _run(options: DownloadOptions) -> None:
    found = {name: str(path) for name, path in download(options.names).items()}
    if options.json_output:
        print(json.dumps(found, indent=2))
    else:
        print("\n".join(f"{name}: {path}" for name, path in found.items()))


download_command = command_of(
    DownloadOptions, _run, "Fetch models and data ahead, for machines without network."
)
