"""Designs as `generate` makes them: lengths, templates or parents in, FASTA out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from didi_core.commands.generating.domain import (
    GenerationDomain,
    GenerationRecord,
    GenerationTask,
    length_limit,
    length_warning,
)
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.process import DEFAULT_PROCESS, article_of
from didi_core.errors import UserError, refused_by
from didi_core.models.folder import LoadedModel
from didi_core.sampling.forbidden import ForbiddenIds
from didi_core.training.devices import TORCH_TYPES, resolve_device
from didi_protein.generating.options import GenerateOptions
from didi_protein.generating.redesign import (
    Redesign,
    Variant,
    read_redesign,
    settings_of,
    with_tolerant_positions,
)
from didi_protein.generating.residue_bias import check_exclude, log_bias, read_bias
from didi_protein.generating.templates import FREE, read_templates
from didi_protein.models.writers import open_writer
from didi_protein.scoring.properties import repeat_fraction
from didi_protein.sequences.alphabet import CANONICAL_RESIDUES
from didi_protein.sequences.fasta import FASTA_SUFFIXES, ProteinRecord, write_fasta
from didi_protein.sequences.lengths import check_lengths, design_lengths


def _problems(options: GenerateOptions) -> list[str]:
    repeat, wrong = options.max_repeat, []
    if repeat is not None and not 0 <= repeat <= 1:
        wrong.append(f"--max-repeat {repeat:g} must be from 0 to 1")
    return wrong + refused_by(
        lambda: check_exclude(options.exclude),
        lambda: read_bias(options.bias),
        lambda: _check_layout(options),
        lambda: read_redesign(options, None),
    )


def _check_layout(options: GenerateOptions) -> None:
    """Raise UserError unless one of all is given, and is what it should be."""
    given = [
        f"--{name}"
        for name in ("length", "template", "start")
        if getattr(options, name) is not None
    ]
    if len(given) != 1:
        raise UserError(
            "Give one of --length (as in --length 80-120), --template (as in --template "
            "___MKT___) and --start (a FASTA file of proteins to redesign), not "
            f"{' and '.join(given) or 'none of them'}."
        )
    if options.length is not None:
        check_lengths(options.length)
    elif options.template is not None:
        read_templates(options.template, None)


def _open_model(options: GenerateOptions) -> LoadedModel:
    return open_writer(
        options.model,
        resolve_device(options.device),
        offline=options.offline,
        dtype=TORCH_TYPES[options.precision],
    )


def _plan(options: GenerateOptions, model: LoadedModel) -> GenerationTask[ProteinRecord]:
    """Return designs numbered from 1; of several templates or parents, `num` each, in order.

    Raises:
        UserError: see `design_lengths`, `read_templates` and `read_redesign`, or a model that is
            none over the 20 residues.
    """
    redesign = _redesign(options, model)
    drafts = _drafts(options, redesign, length_limit(model))
    first = 1 if redesign is None else redesign.first_number()
    encode, decode = _encoder(model.vocabulary), _decoder(model.vocabulary)
    exclude, nats = check_exclude(options.exclude), read_bias(options.bias)
    draft_of = {f"design_{number:06d}": each for number, each in enumerate(drafts, start=first)}

    def written(name: str, ids: list[int], provenance: Mapping[str, object]) -> ProteinRecord:
        sequence = decode(ids)
        header = {**provenance, **draft_of[name].provenance(sequence)}
        return ProteinRecord(name, sequence, {key: str(value) for key, value in header.items()})

    return GenerationTask(
        records=[
            GenerationRecord(
                name,
                encode(draft.pattern),
                len(draft.pattern),
                draft.template,
                draft.forbidden(model.vocabulary),
                _asked(options, draft),
            )
            for name, draft in draft_of.items()
        ],
        written=written,
        settings={
            "template": options.template,
            "exclude": exclude,
            "bias": nats,
            "max_repeat": options.max_repeat,
            **({} if redesign is None else settings_of(options, redesign)),
        },
        log_bias=log_bias(exclude, nats, model.vocabulary),
        rule=_Rule(options, redesign, drafts, decode),
        warnings=_warnings(options, drafts, model),
    )


def _redesign(options: GenerateOptions, model: LoadedModel) -> Redesign | None:
    """Return what is asked of the proteins of `--start`, the model's own choices among it.

    Raises:
        UserError: see `read_redesign`, or tolerant positions asked of a model that is not masked.
    """
    redesign = read_redesign(options, length_limit(model))
    if redesign is None or redesign.tolerant is None:
        return redesign
    if model.process != DEFAULT_PROCESS:
        raise UserError(
            f"--vary {options.vary}: --model {model.name} is {article_of(model.process)} model, "
            "which finds no tolerant positions: name positions, as in 12,15,40-50, or give a "
            "masked-diffusion model."
        )
    return with_tolerant_positions(redesign, model.denoiser, model.vocabulary, options.batch_tokens)


@dataclass(frozen=True)
class _Draft:
    """What one design starts from."""

    pattern: str
    """Residues to keep, and underscores to fill."""
    template: str | None = None
    """Name of the template."""
    variant: Variant | None = None
    """Of which parent it is to be a variant."""

    def forbidden(self, vocabulary: Vocabulary) -> ForbiddenIds:
        """Return the ids that positions of the framed row may not get."""
        if self.variant is None:
            return {}
        first, ids = int(vocabulary.bos_id is not None), vocabulary.id_of_token
        return {first + place: (ids[own],) for place, own in self.variant.forbidden().items()}

    def provenance(self, sequence: str) -> Mapping[str, object]:
        """Return what the finished design's header says beside how it was sampled."""
        return {} if self.variant is None else self.variant.provenance(sequence)


def _drafts(options: GenerateOptions, redesign: Redesign | None, limit: int) -> list[_Draft]:
    """Return what each design starts from."""
    if redesign is not None:
        variants = redesign.variants(options.num, options.seed)
        return [_Draft(each.pattern, variant=each) for each in variants]
    if options.length is not None:
        lengths = design_lengths(options.length, options.num, options.seed, limit)
        return [_Draft(FREE * each) for each in lengths]
    return [
        _Draft(each.pattern(options.seed, number * options.num + copy), each.name)
        for number, each in enumerate(read_templates(options.template or "", limit))
        for copy in range(options.num)
    ]


def _asked(options: GenerateOptions, draft: _Draft) -> str:
    """Return what says which residues are kept, for messages."""
    if draft.variant is not None:
        return f"--start {options.start} (parent {draft.variant.parent.name})"
    return f"--template {draft.template}"


def _warnings(options: GenerateOptions, drafts: Sequence[_Draft], model: LoadedModel) -> list[str]:
    names = ("length", "template", "start")
    asked = next(f"--{each} {value}" for each in names if (value := getattr(options, each)))
    lengths = [len(draft.pattern) for draft in drafts]
    warning = length_warning(asked, lengths, model, "design", "residue")
    return [] if warning is None else [warning]


class _Rule:
    """What a finished design must fulfil: `--max-repeat`, `--identity`, and to be no parent."""

    def __init__(
        self,
        options: GenerateOptions,
        redesign: Redesign | None,
        drafts: Sequence[_Draft],
        decode: Callable[[Sequence[int]], str],
    ) -> None:
        self.limit, self.redesign, self.drafts = options.max_repeat, redesign, drafts
        self.decode = decode
        named = redesign.parents if redesign is not None and options.unique else ()
        self.parents = {each.sequence: each.name for each in named}
        """Names of those that no design may equal."""

    def __call__(self, record: int, ids: list[int]) -> str | None:
        """Say why the design is not acceptable; None where it is."""
        sequence, variant = self.decode(ids), self.drafts[record].variant
        if self.limit is not None and (share := repeat_fraction(sequence)) > self.limit:
            return f"repeat fraction {share:.3f} above {self.limit:g}"
        if sequence in self.parents:
            return f"the same as parent {self.parents[sequence]}"
        if self.redesign is None or variant is None:
            return None
        return self.redesign.refusal(variant, sequence)


def _encoder(vocabulary: Vocabulary) -> Callable[[str], list[int]]:
    """Return what makes framed ids of residues and underscores, a mask where it is to be filled.

    Raises:
        UserError: the model is none over the 20 residues.
    """
    written = {vocabulary.tokens[index] for index in vocabulary.generable_ids}
    if written != set(CANONICAL_RESIDUES):
        raise UserError("--model: this model does not write the 20 residues.")
    ids = {letter: vocabulary.id_of_token[letter] for letter in CANONICAL_RESIDUES}
    ids[FREE] = vocabulary.mask_id
    return lambda pattern: vocabulary.frame(ids[letter] for letter in pattern)


def _decoder(vocabulary: Vocabulary) -> Callable[[Sequence[int]], str]:
    """Return what makes letters of framed ids."""
    letters = {index: vocabulary.tokens[index] for index in vocabulary.generable_ids}
    return lambda ids: "".join(letters[index] for index in ids if index in letters)


DESIGNS = GenerationDomain(
    program="didi-protein",
    noun="design",
    suffixes=FASTA_SUFFIXES,
    example="designs.fasta",
    problems=_problems,
    open_model=_open_model,
    plan=_plan,
    write=write_fasta,
)
