"""Proteins as training knows them: words, data, networks in the ESM-2 layout or as a Llama."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn
from transformers import PreTrainedModel

from didi_core.cli.hydra_app import choices_of
from didi_core.commands.training.domain import TrainingDomain
from didi_core.data.corpus import Corpus
from didi_core.data.vocabulary import Vocabulary
from didi_core.evaluation.ngrams import ngram_baselines
from didi_core.models.esm import EsmDenoiser, EsmSettings
from didi_core.models.folder import LoadedModel, save_model_folder
from didi_core.number_checks import positive_int_errors
from didi_protein.models.causal import build_causal_model, save_causal_folder
from didi_protein.models.load import open_model
from didi_protein.models.trained_on import record_data
from didi_protein.sequences.alphabet import PROTEIN
from didi_protein.sequences.lengths import design_lengths
from didi_protein.sequences.training_data import load_corpus
from didi_protein.settings import DistillSettings, PretrainSettings


@dataclass(frozen=True)
class ProteinPretraining:
    """Tokens, data and networks of one pre-training; see `PretrainTask`."""

    settings: PretrainSettings
    vocabulary: Vocabulary = PROTEIN

    @property
    def max_length(self) -> int:
        return self.settings.max_length

    def load_corpora(self) -> tuple[Corpus, Corpus | None]:
        valid = self.settings.valid
        held_out = self._load(valid, "valid=") if valid else None
        return self._load(self.settings.data, "data="), held_out

    def _load(self, source: str, name: str) -> Corpus:
        corpus = load_corpus(source, name)
        if self.settings.too_long == "crop":
            return corpus
        return corpus.no_longer_than(self.settings.max_length, f"sequence of {name}{source}")

    def build_denoiser(self, *, time_conditioned: bool) -> EsmDenoiser:
        model = self.settings.model
        return EsmDenoiser(
            EsmSettings(
                vocabulary_size=PROTEIN.size,
                num_layers=model.num_layers,
                hidden_size=model.hidden_size,
                num_heads=model.num_heads,
                intermediate_size=model.intermediate_size,
                mask_id=PROTEIN.mask_id,
                max_tokens=model.max_residues + PROTEIN.num_special_per_sequence,
                time_conditioned=time_conditioned,
            )
        )

    def build_causal(self) -> PreTrainedModel:
        return build_causal_model(self.settings.model, PROTEIN)

    def baselines(self, corpus: Corpus, held_out: Corpus) -> dict[str, float]:
        """Return nats a residue of n-gram models on the held-out corpus."""
        ranks = PROTEIN.rank_of_id.numpy()
        train, test = (
            np.split(ranks[np.asarray(part.flat)], np.asarray(part.starts)[1:-1])
            for part in (corpus, held_out)
        )
        return ngram_baselines(train, test, PROTEIN.num_generable)

    def save(
        self, folder: Path, model: nn.Module, card: str, extra_config: Mapping[str, Any]
    ) -> None:
        if isinstance(model, EsmDenoiser):
            save_model_folder(folder, model, PROTEIN, card=card, extra_config=extra_config)
        else:
            save_causal_folder(folder, model, PROTEIN, card=card, extra_config=extra_config)


def _pretrain_problems(settings: PretrainSettings) -> list[str]:
    wrong = positive_int_errors(settings, "max_length")
    if settings.too_long not in ("crop", "drop"):
        wrong.append(f"too_long={settings.too_long} must be crop or drop")
    if settings.max_length > settings.model.max_residues:
        wrong.append(f"max_length={settings.max_length} is past model.max_residues")
    return wrong


def _load_corpus(settings: DistillSettings, teacher: LoadedModel, longest: int) -> Corpus:
    del teacher, longest  # all protein models share their tokens; batches crop what is too long
    return load_corpus(str(settings.data))


def _read_sequences(source: str, model: LoadedModel, longest: int, offline: bool) -> Corpus:
    del model, longest, offline  # as in training; nothing is fetched
    return load_corpus(source, "--data")


def _pool_lengths(settings: DistillSettings, limit: int) -> list[int]:
    return design_lengths(settings.pool_length, settings.pool_size, settings.seed, limit)


TRAINING = TrainingDomain(
    program="didi-protein",
    unit="residue",
    rows="sequences",
    title="protein model",
    tags=("protein", "masked-diffusion"),
    teachers={
        "masked": "A masked-diffusion protein language model (ESM-2 layout, no time input).",
        "uniform": "A uniform-state diffusion protein language model (ESM-2 layout and time).",
        "sedd": "A score-entropy protein language model (SEDD, ESM-2 layout and time).",
        "autoregressive": "An autoregressive protein language model: a judge, or a baseline.",
    },
    students={
        "masked": "A few-step student of a masked-diffusion protein language model. Sample it with "
        "`didi-protein generate --model FOLDER --steps 8`; `transformers.AutoModelForMaskedLM` "
        "opens it as well.",
        "uniform": "A few-step student of a uniform-state diffusion protein language model. Sample "
        "it with `didi-protein generate --model FOLDER --steps 8`.",
    },
    pretrain_settings=PretrainSettings,
    distill_settings=DistillSettings,
    pretrain_config="pretrain",
    distill_config="distill",
    pretrain_groups=lambda _: {"model": choices_of("model")},
    pretrain_problems=_pretrain_problems,
    pretraining=ProteinPretraining,
    samplers={"dmmd": "momentum"},
    open_model=open_model,
    load_corpus=_load_corpus,
    read_sequences=_read_sequences,
    pool_lengths=_pool_lengths,
    record_data=record_data,
    lengths_vary=True,
)
