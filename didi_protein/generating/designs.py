"""Designs as `generate` makes them: lengths, templates, motifs or parents in, FASTA out."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from didi_core.cli.run import check_not_read
from didi_core.commands.generating.domain import (
    GenerationDomain,
    GenerationRecord,
    GenerationTask,
    length_limit,
    length_warning,
)
from didi_core.commands.processes import join_processes
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.process import DEFAULT_PROCESS, article_of
from didi_core.errors import UserError, refused_by
from didi_core.models.folder import LoadedModel
from didi_core.progress import counted, say_once
from didi_core.sampling.forbidden import ForbiddenIds
from didi_core.training.devices import TORCH_TYPES, resolve_device
from didi_protein.generating.guides import guide_settings, guided_draw, open_guide
from didi_protein.generating.motif import read_motif
from didi_protein.generating.options import DEFAULT_PREFIX, GenerateOptions
from didi_protein.generating.redesign import (
    Redesign,
    Variant,
    unknown_parents,
    with_tolerant_positions,
)
from didi_protein.generating.redesign_request import read_redesign, settings_of
from didi_protein.generating.residue_bias import check_exclude, log_bias, read_bias
from didi_protein.generating.templates import FREE, Template, places_of, read_templates
from didi_protein.models.writers import open_writer
from didi_protein.scoring.properties import repeat_fraction
from didi_protein.sequences.design_ids import check_prefix, design_id
from didi_protein.sequences.fasta import FASTA_SUFFIXES, ProteinRecord, write_fasta
from didi_protein.sequences.lengths import check_lengths, design_lengths, design_totals
from didi_protein.sequences.residues import CANONICAL_RESIDUES
from didi_protein.structures.motif import placed_text


def _problems(options: GenerateOptions) -> list[str]:
    repeat, wrong = options.max_repeat, []
    if repeat is not None and not 0 <= repeat <= 1:
        wrong.append(f"--max-repeat {repeat:g} must be from 0 to 1")
    return wrong + refused_by(
        lambda: check_exclude(options.exclude),
        lambda: read_bias(options.bias),
        lambda: _check_layout(options),
        lambda: read_redesign(options, None),
        lambda: check_prefix(options.prefix),
        lambda: open_guide(options),
        lambda: check_not_read(options.out, (options.start, options.template)),
    )


_KEEPING = ("template", "motif", "start")
"""Options that say which residues designs keep."""


def _check_layout(options: GenerateOptions) -> None:
    """Raise UserError unless what is asked for is whole, and is what it should be."""
    keeping = [f"--{name}" for name in _KEEPING if getattr(options, name) is not None]
    if options.start is not None and options.length is not None:
        keeping.insert(0, "--length")
    if len(keeping) > 1 or (not keeping and options.length is None):
        raise UserError(
            "Give --length (as in --length 80-120) or one of --template (as in --template "
            "___MKT___), --motif (as in --motif F.pdb:A57,A102) and --start (a FASTA file of "
            f"proteins to redesign), not {' and '.join(keeping) or 'none of them'}."
        )
    if options.length is not None:
        check_lengths(options.length)
    if options.template is not None:
        read_templates(options.template, None)
    if options.motif is not None:
        read_motif(options.motif, None if options.length is None else 1)


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
        UserError: see `design_lengths`, `read_templates`, `read_motif` and `read_redesign`, or a
            model that is none over the 20 residues.
    """
    redesign = _redesign(options, model)
    drafts = _drafts(options, redesign, length_limit(model))
    first = 1 if redesign is None else redesign.first_number(options.prefix)
    encode, decode = _encoder(model.vocabulary), _decoder(model.vocabulary)
    exclude, nats = check_exclude(options.exclude), read_bias(options.bias)
    guide = open_guide(options)
    guidance = guide_settings(guide, options)
    guided = {key: guidance[key] for key in ("guide", "guide_scale") if key in guidance}
    draft_of = {
        design_id(options.prefix, number): each for number, each in enumerate(drafts, start=first)
    }

    def written(name: str, ids: list[int], provenance: Mapping[str, object]) -> ProteinRecord:
        sequence = decode(ids)
        header = dict(provenance) | guided | dict(draft_of[name].provenance(sequence))
        return ProteinRecord(name, sequence, {key: str(value) for key, value in header.items()})

    records = [
        GenerationRecord(
            name,
            encode(draft.places),
            len(draft.places),
            draft.template,
            draft.forbidden(model.vocabulary, exclude),
            draft.asked,
        )
        for name, draft in draft_of.items()
    ]
    warnings = list(_warnings(options, redesign, drafts, model))
    if options.unique:
        known = [encode(each.sequence) for each in (redesign.parents if redesign else ())]
        few = _too_few(options, records, known, model.vocabulary.mask_id)
        warnings += [] if few is None else [few]
    return GenerationTask(
        records=records,
        written=written,
        settings={
            "template": options.template,
            **({} if options.motif is None else {"motif": options.motif}),
            "exclude": exclude,
            "bias": nats,
            "max_repeat": options.max_repeat,
            **({} if redesign is None else settings_of(options, redesign)),
            **({} if options.prefix == DEFAULT_PREFIX else {"prefix": options.prefix}),
            **guidance,
        },
        log_bias=log_bias(exclude, nats, model.vocabulary),
        rule=_Rule(options, redesign, drafts, decode),
        draw=guided_draw(guide, options, model.vocabulary, decode),
        warnings=warnings,
    )


def _redesign(options: GenerateOptions, model: LoadedModel) -> Redesign | None:
    """Return what is asked of the proteins of `--start`, the model's own choices among it.

    Raises:
        UserError: see `read_redesign`, or tolerant positions asked of a model that is not masked.
    """
    redesign = read_redesign(options, length_limit(model))
    if redesign is not None and join_processes().is_first:
        say_once(_parents_in_words(options, redesign))
    if redesign is None or redesign.tolerant is None:
        return redesign
    if model.process != DEFAULT_PROCESS:
        raise UserError(
            f"--vary {options.vary}: --model {model.name} is {article_of(model.process)} model, "
            "which finds no tolerant positions: name positions, as in 12,15,40-50, or give a "
            "masked-diffusion model."
        )
    return with_tolerant_positions(redesign, model.denoiser, model.vocabulary, options.batch_tokens)


def _parents_in_words(options: GenerateOptions, redesign: Redesign) -> str:
    """Say how many parents a file gives, before any work: each of its records is one."""
    parents, num = redesign.parents, options.num
    if len(parents) == 1:
        return f"--start {options.start}: parent {parents[0].name}, {counted(num, 'variant')}."
    return (
        f"--start {options.start}: {counted(len(parents), 'parent')}, each record one, and "
        f"{counted(num, 'variant')} of each: {counted(num * len(parents), 'design')}. To redesign "
        "one of them, put it into a file of its own."
    )


@dataclass(frozen=True)
class _Draft:
    """What one design starts from."""

    places: list[str]
    """What may stand at each place: a residue, several of them, or `FREE` for any."""
    asked: str = ""
    """What says which residues are kept: a flag and its value, for messages."""
    template: str | None = None
    """Name of the template."""
    motif: str | None = None
    """Where it holds the residues of `--motif`, as its header says."""
    variant: Variant | None = None
    """Of which parent it is to be a variant."""

    def forbidden(self, vocabulary: Vocabulary, exclude: str) -> ForbiddenIds:
        """Return the ids that positions of the framed row may not get.

        Raises:
            UserError: `--exclude` leaves nothing to choose from.
        """
        letters = dict(self.variant.forbidden()) if self.variant is not None else {}
        for place, choice in enumerate(self.places):
            if len(choice) > 1:
                if not set(choice) - set(exclude):
                    raise UserError(
                        f"--exclude {exclude}: nothing is left of [{choice}] in {self.asked}."
                    )
                letters[place] = "".join(sorted(set(CANONICAL_RESIDUES) - set(choice)))
        first, ids = int(vocabulary.bos_id is not None), vocabulary.id_of_token
        return {
            first + place: tuple(ids[each] for each in others) for place, others in letters.items()
        }

    def provenance(self, sequence: str) -> Mapping[str, object]:
        """Return what the finished design's header says beside how it was sampled."""
        motif = {} if self.motif is None else {"motif": self.motif}
        return motif if self.variant is None else self.variant.provenance(sequence)


def _drafts(options: GenerateOptions, redesign: Redesign | None, limit: int) -> list[_Draft]:
    """Return what each design starts from."""
    if redesign is not None:
        return [
            _Draft(
                list(each.pattern),
                f"--start {options.start} (parent {each.parent.name})",
                variant=each,
            )
            for each in redesign.variants(options.num, options.seed)
        ]
    if options.motif is not None:
        return _motif_drafts(options, options.motif, limit)
    if options.template is not None:
        return _template_drafts(options, options.template, limit)
    lengths = design_lengths(options.length or "", options.num, options.seed, limit)
    return [_Draft([FREE] * each) for each in lengths]


def _template_drafts(options: GenerateOptions, value: str, limit: int) -> list[_Draft]:
    templates = read_templates(value, None)
    totals = _totals(options, templates, limit)
    return [
        _Draft(
            places_of(each.pattern(options.seed, number * options.num + copy, totals[copy])),
            f"{each.flag} {each.name}",
            each.name,
        )
        for number, each in enumerate(templates)
        for copy in range(options.num)
    ]


def _motif_drafts(options: GenerateOptions, value: str, limit: int) -> list[_Draft]:
    motif = read_motif(value, None if options.length is None else limit)
    drafts = []
    for record, total in enumerate(_totals(options, [motif.template], limit)):
        key = (options.seed, record, total)
        placed = placed_text(motif.placed(motif.template.lengths(*key)))
        places = places_of(motif.template.pattern(*key))
        drafts.append(_Draft(places, f"--motif {value}", motif=placed))
    return drafts


def _totals(
    options: GenerateOptions, templates: Sequence[Template], limit: int
) -> Sequence[range | None]:
    """Return which lengths each design of a template may have; None: any that it can.

    Raises:
        UserError: a template has none of them, or may be longer than the model takes.
    """
    if options.length is None:
        for template in templates:
            template.check_limit(limit)
        return [None] * options.num
    totals = design_totals(options.length, options.num, options.seed, limit)
    for template in templates:
        for total in dict.fromkeys(totals):
            template.check_total(total, f"--length {options.length}", limit)
    return totals


def _warnings(
    options: GenerateOptions,
    redesign: Redesign | None,
    drafts: Sequence[_Draft],
    model: LoadedModel,
) -> list[str]:
    """Return what a user should know before the designs: of lengths, and of parents."""
    given = ((name, getattr(options, name)) for name in ("length", *_KEEPING))
    asked = " ".join(f"--{name} {value}" for name, value in given if value is not None)
    lengths = [len(draft.places) for draft in drafts]
    warning = length_warning(asked, lengths, model, "design", "residue")
    parents = None if redesign is None else _parent_warning(options, redesign, model)
    return [each for each in (warning, parents) if each is not None]


def _parent_warning(options: GenerateOptions, redesign: Redesign, model: LoadedModel) -> str | None:
    """Return a sentence where a model of some families guesses parents no better than chance."""
    if model.trained_lengths is None or model.process != DEFAULT_PROCESS:
        return None  # a model of all proteins, or one that masks nothing
    unknown = unknown_parents(
        redesign.parents, model.denoiser, model.vocabulary, options.batch_tokens
    )
    if not unknown:
        return None
    return (
        f"--start {options.start}: {options.model} guesses the residues of {', '.join(unknown)} "
        "hardly better than counting them does, so it does not know such proteins, and what it "
        "writes into them means nothing: use a model that was trained on their family, or give the "
        "domain that it knows alone (score --family says where: family_start, family_end)."
    )


def _too_few(
    options: GenerateOptions,
    records: Sequence[GenerationRecord],
    known: Sequence[list[int]],
    mask_id: int,
) -> str | None:
    """Return a warning where `--unique` asks for more designs than there are; else None.

    Args:
        known: framed ids of the parents, which no design may equal.
    """
    letters = len(CANONICAL_RESIDUES) - len(check_exclude(options.exclude))
    rows = {tuple(each.row): each for each in records}
    for row, number in Counter(tuple(each.row) for each in records).items():
        # Parents that fit are among what could be written, as long as no letter is excluded.
        fitting = {tuple(each) for each in known if _fits(row, each, mask_id)}
        possible = letters ** row.count(mask_id) - (0 if options.exclude else len(fitting))
        if number > possible:
            asked = rows[row].asked or f"--length {options.length}"
            varied = f"--vary {options.vary} of {asked}" if options.vary else asked
            return (
                f"--unique --num {number}: {varied} leaves "
                f"{counted(possible, 'different design')}, so the others will fail: ask for fewer, "
                "let more positions vary, or leave --unique out."
            )
    return None


def _fits(row: Sequence[int], ids: Sequence[int], mask_id: int) -> bool:
    """Return whether ids are what the blanks of a row may become."""
    pairs = zip(row, ids, strict=False)
    return len(row) == len(ids) and all(own in (mask_id, other) for own, other in pairs)


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


def _encoder(vocabulary: Vocabulary) -> Callable[[Sequence[str]], list[int]]:
    """Return what makes framed ids of places, a mask where something is to be drawn.

    Raises:
        UserError: the model is none over the 20 residues.
    """
    written = {vocabulary.tokens[index] for index in vocabulary.generable_ids}
    if written != set(CANONICAL_RESIDUES):
        raise UserError("--model: this model does not write the 20 residues.")
    ids = {letter: vocabulary.id_of_token[letter] for letter in CANONICAL_RESIDUES}
    return lambda places: vocabulary.frame(ids.get(place, vocabulary.mask_id) for place in places)


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
