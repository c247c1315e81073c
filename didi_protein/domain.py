"""Proteins as training knows them: words, data, networks in the ESM-2 layout or as a Llama."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from didi_core.cli.hydra_app import choices_of
from didi_core.commands.training.domain import Corpora, Once, TrainingDomain
from didi_core.data.corpus import Corpus
from didi_core.data.vocabulary import Vocabulary
from didi_core.evaluation.ngrams import ngram_nats
from didi_core.models.esm import EsmDenoiser, EsmSettings
from didi_core.models.folder import LoadedModel, save_model_folder
from didi_core.number_checks import percentage, positive_int_errors
from didi_core.training.run_folder import SPLIT
from didi_protein.families.likelihood import open_baseline, profile_nats
from didi_protein.models.causal import build_causal_model, save_causal_folder
from didi_protein.models.initial import open_initial, settled
from didi_protein.models.load import open_model
from didi_protein.models.trained_on import count_known, record_data
from didi_protein.sequences.alphabet import PROTEIN
from didi_protein.sequences.lengths import design_lengths
from didi_protein.sequences.training_data import (
    UNIREF50,
    corpus_of,
    letters_of,
    load_corpus,
    read_training_sequences,
    warn_of_few,
)
from didi_protein.settings import DistillSettings, PretrainSettings
from didi_protein.similarity.mmseqs import is_available
from didi_protein.similarity.splits import (
    HELD_OUT_FILE,
    IDENTITIES,
    TRAINING_FILE,
    Split,
    split_as_before,
    split_by_cluster,
)


@dataclass(frozen=True)
class ProteinPretraining:
    """Tokens, data and networks of one pre-training; see `PretrainTask`."""

    settings: PretrainSettings
    vocabulary: Vocabulary = PROTEIN

    @property
    def max_length(self) -> int:
        return self.settings.max_length

    def load_corpora(self, folder: Path, once: Once) -> Corpora:
        settings = self.settings
        if settings.family:  # what cannot be read is refused before anything is trained
            open_baseline(settings.family, ())
        if (share := percentage(settings.valid)) is not None:
            split = once(lambda: self._split(folder, share))
            training, held_out = (
                corpus_of(each, f"{len(each):,} sequences {what}")
                for each, what in ((split.training, "to train on"), (split.held_out, "held out"))
            )
            here = Path(settings.out) / SPLIT
            files = str(here / TRAINING_FILE), str(here / HELD_OUT_FILE)
            parts = self._fitting(training), self._fitting(held_out)
            return Corpora(*parts, lambda run: split.write(run / SPLIT), files)
        tested = self._load(settings.valid, "valid=") if settings.valid else None
        return Corpora(self._load(settings.data, "data="), tested)

    def _split(self, folder: Path, share: float) -> Split:
        """Hold out a share of `data=` by clusters; a run that goes on has the one it began with."""
        settings = self.settings
        records = read_training_sequences(settings.data)
        warn_of_few(settings.data, len(records))
        before = split_as_before(records, folder / SPLIT) if settings.resume else None
        if before:
            return before
        asked = f"valid={settings.valid}"
        split = split_by_cluster(records, share, settings.seed, asked)
        _say_how_near(split, asked)
        return split

    def _load(self, source: str, name: str) -> Corpus:
        return self._fitting(load_corpus(source, name), f"{name}{source}")

    def _fitting(self, corpus: Corpus, called: str = "data=") -> Corpus:
        if self.settings.too_long == "crop":
            return corpus
        return corpus.no_longer_than(self.settings.max_length, f"sequence of {called}")

    def initial(self) -> LoadedModel | None:
        return open_initial(self.settings)

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

    def baselines(self, corpus: Corpus, held_out: Corpus) -> dict[str, NDArray[np.float64]]:
        """Return nats of held-out sequences under n-gram models, and the profile of `family=`."""
        ranks = PROTEIN.rank_of_id.numpy()
        train, test = (
            np.split(ranks[np.asarray(part.flat)], np.asarray(part.starts)[1:-1])
            for part in (corpus, held_out)
        )
        found = ngram_nats(train, test, PROTEIN.num_generable)
        if family := self.settings.family:
            sequences = letters_of(held_out)
            profile = open_baseline(family, sequences)
            found[f"the profile of {family}"] = profile_nats(profile, sequences)
        return found

    def known_before(self, model: LoadedModel, held_out: Corpus) -> int | None:
        return count_known(model.folder, letters_of(held_out))

    def save(
        self, folder: Path, model: nn.Module, card: str, extra_config: Mapping[str, Any]
    ) -> None:
        if isinstance(model, EsmDenoiser):
            save_model_folder(folder, model, PROTEIN, card=card, extra_config=extra_config)
        else:
            save_causal_folder(folder, model, PROTEIN, card=card, extra_config=extra_config)


def _say_how_near(split: Split, asked: str) -> None:
    """Say that what is held out has closer relatives in training than usual, if it has."""
    if split.identity is not None and split.identity > IDENTITIES[0]:
        print(
            f"{asked}: your sequences are so alike that at {IDENTITIES[0]:.0%} identity there are "
            f"too few clusters to hold some out, so they are made at {split.identity:.0%}: what is "
            "held out has relatives as near as that in training, and the model looks better on it "
            "than on members that are new.",
            file=sys.stderr,
        )


def _pretrain_problems(settings: PretrainSettings) -> list[str]:
    wrong = positive_int_errors(settings, "max_length")
    if settings.too_long not in ("crop", "drop"):
        wrong.append(f"too_long={settings.too_long} must be crop or drop")
    if settings.max_length > settings.model.max_residues:
        most = settings.model.max_residues
        wrong.append(
            f"max_length={settings.max_length} is past model.max_residues={most}: give "
            f"max_length={most} or less"
        )
    share = percentage(settings.valid)
    if share is not None and not 0 < share < 0.5:
        wrong.append(f"valid={settings.valid} must be above 0% and below 50%")
    elif share is not None and settings.data == UNIREF50:
        wrong.append(f"valid={settings.valid} is for files, data={UNIREF50} too large: valid=FILE")
    elif share is not None and not is_available():
        wrong.append(
            f"valid={settings.valid} splits data= by clusters, which MMseqs2 makes: pip install "
            "'didi-protein[metrics]', or give valid=FILE"
        )
    if settings.family and not settings.valid:
        wrong.append(f"family={settings.family} is a baseline on held-out sequences: give valid=")
    return wrong


def _pretrain_groups(settings: PretrainSettings) -> dict[str, list[str]]:
    return {"protein_recipe": [settings.recipe], "model": choices_of("model")}


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
        "opens it as well, unless the teacher was a DSM.",
        "uniform": "A few-step student of a uniform-state diffusion protein language model. Sample "
        "it with `didi-protein generate --model FOLDER --steps 8`.",
    },
    pretrain_settings=PretrainSettings,
    distill_settings=DistillSettings,
    pretrain_config="pretrain",
    distill_config="distill",
    pretrain_groups=_pretrain_groups,
    pretrain_problems=_pretrain_problems,
    pretraining=ProteinPretraining,
    settle_pretrain=settled,
    length_flags=lambda data: " --length 100-200" if data == UNIREF50 else f" --length from:{data}",
    judge_command="score designs.fasta --judge {model}",
    judge_output="scores.csv",
    output="designs.fasta",
    samplers={"dmmd": "momentum"},
    open_model=open_model,
    load_corpus=_load_corpus,
    read_sequences=_read_sequences,
    pool_lengths=_pool_lengths,
    record_data=record_data,
    lengths_vary=True,
)
