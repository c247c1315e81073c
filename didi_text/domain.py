"""Text as training knows it: words, packed blocks, networks as a DiT or in GPT-2's layout."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from didi_core.cli.hydra_app import choices_of
from didi_core.commands.generating.domain import read_lengths
from didi_core.commands.training.domain import Corpora, Once, TrainingDomain
from didi_core.data.corpus import Corpus
from didi_core.data.vocabulary import Vocabulary
from didi_core.models.dit import DitDenoiser, DitSettings
from didi_core.models.folder import LoadedModel
from didi_core.number_checks import positive_int_errors
from didi_text.corpora.documents import parse_licenses
from didi_text.corpora.load import load_corpus
from didi_text.corpora.packing import Packing, Remainder
from didi_text.models.causal import build_causal_model, save_causal_folder
from didi_text.models.load import BUNDLED_MODELS, open_model, save_text_model, tokenizer_of
from didi_text.samples.prompts import WORDS
from didi_text.settings import DistillSettings, PretrainSettings
from didi_text.tokenizers.tokenizer import TextTokenizer, open_tokenizer

SHORTEST_BLOCK = 3
"""A token of text between two ends of text."""
COUNTED_TOKENS = 1 << 24
"""Tokens of the corpus that the unigram baseline is counted on, at most."""


@dataclass(frozen=True)
class TextPretraining:
    """Tokens, data and networks of one pre-training; see `PretrainTask`."""

    settings: PretrainSettings
    tokenizer: TextTokenizer

    @property
    def vocabulary(self) -> Vocabulary:
        return self.tokenizer.vocabulary

    @property
    def max_length(self) -> int:
        return self.settings.block_length

    def load_corpora(self, folder: Path, once: Once) -> Corpora:
        del folder, once  # nothing is split here
        settings = self.settings
        packing = Packing(settings.block_length, remainder=cast(Remainder, settings.remainder))
        load = partial(load_corpus, stream=settings.stream, offline=settings.offline)
        corpus = load(
            settings.data,
            self.tokenizer,
            packing,
            licenses=parse_licenses(settings.licenses),
            max_tokens=settings.data_tokens,
        )
        if not settings.valid:
            return Corpora(corpus, None)
        held_out = load(settings.valid, self.tokenizer, packing)
        blocks = settings.valid_blocks or len(held_out)
        return Corpora(corpus, Corpus(held_out.flat, held_out.starts[: blocks + 1]))

    def initial(self) -> None:
        """Return None: every training starts from fresh weights."""

    def known_before(self, model: LoadedModel, held_out: Corpus) -> None:
        """Return None: nothing is kept of what text models learnt from."""
        del model, held_out

    def build_denoiser(self, *, time_conditioned: bool) -> DitDenoiser:
        model, vocabulary = self.settings.model, self.vocabulary
        return DitDenoiser(
            DitSettings(
                vocabulary_size=vocabulary.size,
                num_layers=model.num_layers,
                hidden_size=model.hidden_size,
                num_heads=model.num_heads,
                mask_id=vocabulary.mask_id,
                conditioning_size=model.conditioning_size,
                max_tokens=self.settings.block_length,
                time_conditioned=time_conditioned,
            )
        )

    def build_causal(self) -> PreTrainedModel:
        settings = self.settings
        return build_causal_model(settings.model, self.tokenizer, settings.block_length)

    def baselines(self, corpus: Corpus, held_out: Corpus) -> dict[str, NDArray[np.float64]]:
        """Return nats of blocks under a unigram model: a table of pairs would not fit into memory.

        Returns:
            An array [blocks].
        """
        size = self.vocabulary.size
        counts = 1.0 + np.bincount(np.asarray(corpus.flat[:COUNTED_TOKENS]), minlength=size)
        counts[self.vocabulary.rank_of_id.numpy() < 0] = 0.0
        with np.errstate(divide="ignore"):  # of tokens that stand in no text
            log_probs = np.log(counts / counts.sum())
        tokens = np.asarray(held_out.flat[: int(held_out.starts[-1])])
        return {"unigram": -np.add.reduceat(log_probs[tokens], held_out.starts[:-1])}

    def save(
        self, folder: Path, model: nn.Module, card: str, extra_config: Mapping[str, Any]
    ) -> None:
        if isinstance(model, DitDenoiser):
            save_text_model(folder, model, self.tokenizer, card, extra_config)
        else:
            save_causal_folder(folder, model, self.tokenizer, card)


def pretraining(settings: PretrainSettings) -> TextPretraining:
    """Open the tokenizer that a pre-training is to use.

    Raises:
        UserError: there is none.
    """
    name = BUNDLED_MODELS.path_of(settings.tokenizer)
    tokenizer = open_tokenizer(name, offline=settings.offline, flag="tokenizer=")
    return TextPretraining(settings, tokenizer)


def _pretrain_problems(settings: PretrainSettings) -> list[str]:
    wrong = []
    if settings.block_length < SHORTEST_BLOCK:
        wrong.append(f"block_length={settings.block_length} must be at least {SHORTEST_BLOCK}")
    if settings.remainder not in ("keep", "drop", "published"):
        wrong.append(f"remainder={settings.remainder} must be keep, drop or published")
    if settings.valid_blocks < 0:
        wrong.append(f"valid_blocks={settings.valid_blocks} must be 0 or more")
    if settings.data_tokens is not None:
        wrong += positive_int_errors(settings, "data_tokens")
    return wrong


def _pretrain_groups(settings: PretrainSettings) -> dict[str, list[str]]:
    return {"recipe": [settings.recipe], "text_model@model": choices_of("text_model")}


def _load_corpus(settings: DistillSettings, teacher: LoadedModel, longest: int) -> Corpus:
    return load_corpus(
        str(settings.data),
        tokenizer_of(teacher, offline=settings.offline),
        Packing(longest),
        licenses=parse_licenses(settings.licenses),
        max_tokens=settings.data_tokens,
        stream=settings.stream,
        offline=settings.offline,
    )


def _read_sequences(source: str, model: LoadedModel, longest: int, offline: bool) -> Corpus:
    tokenizer = tokenizer_of(model, offline=offline)
    return load_corpus(source, tokenizer, Packing(longest), offline=offline)


def _pool_lengths(settings: DistillSettings, limit: int) -> list[int]:
    if settings.pool_length is None:
        return [limit] * settings.pool_size
    return read_lengths(settings.pool_length, settings.pool_size, settings.seed, limit, WORDS)


def _tokenizer_writer(settings: DistillSettings, teacher: LoadedModel) -> Callable[[Path], None]:
    return tokenizer_of(teacher, offline=settings.offline).save


TRAINING = TrainingDomain(
    program="didi-text",
    unit="token",
    rows="blocks",
    title="text model",
    tags=("text", "masked-diffusion"),
    teachers={
        "masked": "A masked-diffusion language model (DiT in MDLM's layout, no time input).",
        "uniform": "A uniform-state diffusion language model (DiT, told the time).",
        "sedd": "A score-entropy language model (SEDD, DiT, told the time).",
        "autoregressive": "An autoregressive language model (GPT-2's layout): judge or baseline.",
    },
    students={
        "masked": "A few-step student of a masked-diffusion language model. Sample it with "
        "`didi-text generate --model FOLDER --steps 8`.",
        "uniform": "A few-step student of a uniform-state diffusion language model. Sample it with "
        "`didi-text generate --model FOLDER --steps 8`.",
    },
    pretrain_settings=PretrainSettings,
    distill_settings=DistillSettings,
    pretrain_config="text_pretrain",
    distill_config="text_distill",
    pretrain_groups=_pretrain_groups,
    pretrain_problems=_pretrain_problems,
    pretraining=pretraining,
    length_flags=lambda _: "",
    judge_command="evaluate --model tiny --task genppl --judge {model}",
    judge_output="genppl.json",
    output="samples.jsonl",
    open_model=open_model,
    load_corpus=_load_corpus,
    read_sequences=_read_sequences,
    pool_lengths=_pool_lengths,
    tokenizer_writer=_tokenizer_writer,
    samplers={"dmmd": "apart"},
)
