"""From `--length` or `--template` to the records of a request: what is kept, what is to fill."""

from collections.abc import Sequence
from dataclasses import dataclass

from didi_core.errors import UserError
from didi_core.models.folder import LoadedModel
from didi_core.vocabulary import Vocabulary
from didi_protein.alphabet import CANONICAL_RESIDUES
from didi_protein.lengths import design_lengths
from didi_protein.templates import FREE, read_templates


@dataclass(frozen=True)
class DesignRecord:
    """One design to make."""

    id: str
    pattern: str
    """Residues to keep, and underscores to fill."""
    template: str | None
    """Name of its template."""


def length_limit(model: LoadedModel) -> int:
    """Most residues the model takes."""
    return model.denoiser.settings.max_tokens - model.vocabulary.num_special_per_sequence


def design_records(
    num: int, length: str | None, template: str | None, seed: int, limit: int
) -> list[DesignRecord]:
    """The records of a request, numbered from 1; of several templates, `num` each, in order.

    Raises:
        UserError: both or neither of length and template, or see `design_lengths` and
            `read_templates`.
    """
    if (length is None) == (template is None):
        raise UserError(
            "Give one of --length (as in --length 80-120) and --template (as in --template "
            "___MKT___)."
        )
    if length is not None:
        patterns = [(FREE * each, None) for each in design_lengths(length, num, seed, limit)]
    else:
        patterns = [
            (each.pattern(seed, number * num + copy), each.name)
            for number, each in enumerate(read_templates(template or "", limit))
            for copy in range(num)
        ]
    return [
        DesignRecord(f"design_{number:06d}", pattern, name)
        for number, (pattern, name) in enumerate(patterns, start=1)
    ]


def encode_patterns(records: Sequence[DesignRecord], vocabulary: Vocabulary) -> list[list[int]]:
    """Framed ids of each record, mask where it is to be filled.

    Raises:
        UserError: the model is none over the 20 residues.
    """
    written = {vocabulary.tokens[index] for index in vocabulary.generable_ids}
    if written != set(CANONICAL_RESIDUES):
        raise UserError("--model: this model does not write the 20 residues.")
    ids = {letter: vocabulary.id_of_token[letter] for letter in CANONICAL_RESIDUES}
    ids[FREE] = vocabulary.mask_id
    return [vocabulary.frame(ids[letter] for letter in record.pattern) for record in records]


class Decoder:
    """Framed ids to letters."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._letters = {index: vocabulary.tokens[index] for index in vocabulary.generable_ids}

    def __call__(self, ids: Sequence[int]) -> str:
        return "".join(self._letters[index] for index in ids if index in self._letters)
