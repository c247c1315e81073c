"""Designs as `generate` makes them: lengths or templates in, FASTA out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from didi_core.commands.generating.product import (
    GenerationRecord,
    GenerationTask,
    MadeRecord,
    length_limit,
)
from didi_core.data.vocabulary import Vocabulary
from didi_core.errors import UserError
from didi_core.models.folder import LoadedModel
from didi_core.sampling.rejection import Rule, accept_all
from didi_core.training.devices import TORCH_TYPES, resolve_device
from didi_protein.generating.options import GenerateOptions
from didi_protein.generating.residue_bias import check_exclude, log_bias, read_bias
from didi_protein.generating.templates import FREE, read_templates
from didi_protein.models.writers import open_writer
from didi_protein.scoring.properties import repeat_fraction
from didi_protein.sequences.alphabet import CANONICAL_RESIDUES
from didi_protein.sequences.fasta import FASTA_SUFFIXES, ProteinRecord, write_fasta
from didi_protein.sequences.lengths import check_lengths, design_lengths


class Designs(GenerationTask[GenerateOptions]):
    """One request for designs."""

    program = "didi-protein"
    noun = "design"
    suffixes = FASTA_SUFFIXES
    example = "designs.fasta"

    def __init__(self, options: GenerateOptions) -> None:
        super().__init__(options)
        self.exclude, self.nats = check_exclude(options.exclude), read_bias(options.bias)

    def problems(self) -> list[str]:
        repeat = self.options.max_repeat
        if repeat is not None and not 0 <= repeat <= 1:
            return [f"--max-repeat {repeat:g} must be from 0 to 1"]
        return []

    def check_request(self) -> None:
        length, template = self.options.length, self.options.template
        if (length is None) == (template is None):
            raise UserError(
                "Give one of --length (as in --length 80-120) and --template (as in --template "
                "___MKT___)."
            )
        if length is not None:
            check_lengths(length)
        else:
            read_templates(template or "", None)

    def open_model(self) -> LoadedModel:
        options = self.options
        return open_writer(
            options.model,
            resolve_device(options.device),
            offline=options.offline,
            dtype=TORCH_TYPES[options.precision],
        )

    def records(self, model: LoadedModel) -> list[GenerationRecord]:
        """Numbered from 1; of several templates, `num` each, in order.

        Raises:
            UserError: see `design_lengths` and `read_templates`, or a model that is none over
                the 20 residues.
        """
        patterns = self._patterns(length_limit(model))
        encode = _encoder(model.vocabulary)
        return [
            GenerationRecord(f"design_{number:06d}", encode(pattern), len(pattern), name)
            for number, (pattern, name) in enumerate(patterns, start=1)
        ]

    def _patterns(self, limit: int) -> list[tuple[str, str | None]]:
        """Residues to keep and underscores to fill, and the template's name."""
        options = self.options
        if options.length is not None:
            lengths = design_lengths(options.length, options.num, options.seed, limit)
            return [(FREE * each, None) for each in lengths]
        return [
            (each.pattern(options.seed, number * options.num + copy), each.name)
            for number, each in enumerate(read_templates(options.template or "", limit))
            for copy in range(options.num)
        ]

    def settings(self) -> dict[str, Any]:
        return {
            "template": self.options.template,
            "exclude": self.exclude,
            "bias": dict(self.nats),
            "max_repeat": self.options.max_repeat,
        }

    def log_bias(self, vocabulary: Vocabulary) -> torch.Tensor | None:
        return log_bias(self.exclude, self.nats, vocabulary)

    def rule(self, vocabulary: Vocabulary) -> Rule:
        limit = self.options.max_repeat
        if limit is None:
            return accept_all
        decode = Decoder(vocabulary)

        def refuse_repeats(ids: list[int]) -> str | None:
            share = repeat_fraction(decode(ids))
            return f"repeat fraction {share:.3f} above {limit:g}" if share > limit else None

        return refuse_repeats

    def write(self, path: Path, made: Sequence[MadeRecord], model: LoadedModel) -> None:
        decode = Decoder(model.vocabulary)
        write_fasta(path, (_as_protein(each, decode(each.ids)) for each in made))


def _as_protein(made: MadeRecord, sequence: str) -> ProteinRecord:
    header = {key: str(value) for key, value in made.provenance.items()}
    return ProteinRecord(made.id, sequence, header)


def _encoder(vocabulary: Vocabulary) -> Callable[[str], list[int]]:
    """From residues and underscores to framed ids, mask where it is to be filled.

    Raises:
        UserError: the model is none over the 20 residues.
    """
    written = {vocabulary.tokens[index] for index in vocabulary.generable_ids}
    if written != set(CANONICAL_RESIDUES):
        raise UserError("--model: this model does not write the 20 residues.")
    ids = {letter: vocabulary.id_of_token[letter] for letter in CANONICAL_RESIDUES}
    ids[FREE] = vocabulary.mask_id
    return lambda pattern: vocabulary.frame(ids[letter] for letter in pattern)


class Decoder:
    """Framed ids to letters."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._letters = {index: vocabulary.tokens[index] for index in vocabulary.generable_ids}

    def __call__(self, ids: Sequence[int]) -> str:
        return "".join(self._letters[index] for index in ids if index in self._letters)
