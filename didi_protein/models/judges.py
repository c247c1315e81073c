"""Models that score sequences: autoregressive judges, and masked models for pseudo-perplexity.

A judge is any Hugging Face causal LM whose vocabulary (`vocab.txt`, a token a line) has the 20
residues as single tokens. It is opened from safetensors alone, and never runs code of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from didi_core.commands.generating.domain import length_limit
from didi_core.data.length_ranges import LengthRanges
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.process import DEFAULT_PROCESS, article_of
from didi_core.errors import UserError, as_written
from didi_core.evaluation.judge import BATCH_TOKENS, causal_nll
from didi_core.io.files import at_home
from didi_core.models.causal import position_limit
from didi_core.models.causal_folder import REFERENCE_ROWS, read_reference_rows
from didi_core.models.fingerprint import count_parameters, weights_digest
from didi_core.models.folder import LoadedModel, read_trained_lengths
from didi_core.models.hub import is_cached
from didi_core.models.named import find_denoiser, find_judge
from didi_protein.models.causal import load_causal_folder
from didi_protein.models.esm2 import (
    MAX_RESIDUES,
    esm2_hub_id,
    is_esm2_name,
    load_esm2,
    weights_path,
)
from didi_protein.models.esmc import HUB_IDS, is_esmc, load_esmc
from didi_protein.models.load import BUNDLED_MODELS, open_model
from didi_protein.sequences.alphabet import PROTEIN
from didi_protein.sequences.residues import CANONICAL_RESIDUES

__all__ = [
    "REFERENCE_ROWS",
    "Judge",
    "MaskedScorer",
    "masked_scorer",
    "open_judge",
    "open_masked_scorer",
]


@dataclass(frozen=True)
class Judge:
    """An autoregressive model over residues."""

    name: str
    """What the user called it."""
    model: nn.Module
    id_of_residue: dict[str, int]
    bos_id: int
    max_length: int | None
    """Longest sequence it has positions for; None where nothing says so."""
    fingerprint: str
    """Of its weights: scores of different weights never mix."""
    reference_rows: dict[str, Any] | None
    """What it finds of natural and shuffled sequences, as its folder says."""
    trained_lengths: LengthRanges | None = None
    """Lengths that it was trained on, where its folder says."""

    @property
    def num_parameters(self) -> int:
        return count_parameters(self.model)

    def nll(
        self,
        sequences: Sequence[str],
        batch_tokens: int = BATCH_TOKENS,
        autocast: torch.dtype | None = None,
    ) -> NDArray[np.float64]:
        """Return nats per residue [len(sequences)]; perplexity is its exponential."""
        ids = [[self.id_of_residue[residue] for residue in sequence] for sequence in sequences]
        return causal_nll(self.model, ids, self.bos_id, batch_tokens, autocast)


@dataclass(frozen=True)
class MaskedScorer:
    """A masked model that gives pseudo-perplexity."""

    name: str
    denoiser: nn.Module
    vocabulary: Vocabulary
    max_length: int | None
    fingerprint: str
    predicts_visible: bool
    """Whether it was also trained to predict residues it can see, as BERT and ESM-2 are: without
    that, one pass over the whole sequence says nothing. DPLM and our own models are not."""
    trained_lengths: LengthRanges | None = None
    """Lengths that it was trained on, where its folder says."""

    @property
    def num_parameters(self) -> int:
        return count_parameters(self.denoiser)


def open_judge(name: str, device: torch.device | str = "cpu", *, offline: bool = False) -> Judge:
    """Open a judge: `tiny-judge`, a folder, or a hub id.

    Raises:
        UserError: there is none of that name, or it cannot judge proteins.
    """
    folder = find_judge(BUNDLED_MODELS, name, offline=offline)
    model, vocabulary = load_causal_folder(folder, f"--judge {name}")
    model = model.to(device)
    return Judge(
        name=name,
        model=model,
        id_of_residue={each: vocabulary.id_of_token[each] for each in CANONICAL_RESIDUES},
        bos_id=cast(int, vocabulary.bos_id),
        max_length=position_limit(model),
        fingerprint=weights_digest(model),
        reference_rows=read_reference_rows(folder),
        trained_lengths=read_trained_lengths(folder),
    )


def open_masked_scorer(
    name: str, device: torch.device | str = "cpu", *, offline: bool = False, flag: str = "--pseudo"
) -> MaskedScorer:
    """Open a masked model: `tiny`, an ESM-2 or ESMC by name, a model folder, or a hub id.

    An ESM-2 is taken from fair-esm's files, or, where those are not here, from the Hugging Face
    cache.

    Args:
        flag: what messages call the name: the flag it came from.

    Raises:
        UserError: there is none of that name on this machine, or it is no masked one.
    """
    if is_esm2_name(name) and (weights_path(name).is_file() or not is_cached(esm2_hub_id(name))):
        denoiser: nn.Module = load_esm2(name, device, flag)
        return MaskedScorer(name, denoiser, PROTEIN, MAX_RESIDUES, weights_digest(denoiser), True)
    place = esm2_hub_id(name) if is_esm2_name(name) else HUB_IDS.get(name, name)
    if not Path(at_home(place)).is_file():  # a training checkpoint is one
        folder = find_denoiser(BUNDLED_MODELS, place, offline=offline, flag=flag)
        if is_esmc(folder):
            esmc = load_esmc(folder, device, f"{flag} {name}")
            digest = weights_digest(esmc)
            return MaskedScorer(name, esmc, PROTEIN, esmc.max_residues, digest, False)
    loaded = open_model(place, device, offline=offline, flag=flag)
    return masked_scorer(replace(loaded, name=name), flag)


def masked_scorer(loaded: LoadedModel, flag: str = "--pseudo") -> MaskedScorer:
    """Return a model that is open already as one that scores.

    Args:
        flag: what messages call its name.

    Raises:
        UserError: it is no masked one.
    """
    if loaded.process != DEFAULT_PROCESS:
        raise UserError(
            f"{as_written(flag, loaded.name)} is {article_of(loaded.process)} model, which "
            "predicts no masked residue: give a masked-diffusion model or an ESM-2."
        )
    return MaskedScorer(
        name=loaded.name,
        denoiser=loaded.denoiser,
        vocabulary=loaded.vocabulary,
        max_length=length_limit(loaded),
        fingerprint=weights_digest(loaded.denoiser),
        predicts_visible=_is_esm2(loaded.config),
        trained_lengths=loaded.trained_lengths,
    )


def _is_esm2(config: Mapping[str, Any]) -> bool:
    """Return whether a folder's model is ESM-2, whose training asked for visible residues too."""
    is_esm = config.get("model_type") in ("esm", "fast_esm")
    return is_esm and not {"didi", "dplm_type"} & set(config)
