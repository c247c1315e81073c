"""Designs as `generate` makes them: lengths or templates in, FASTA out."""

from collections.abc import Callable, Mapping, Sequence

from didi_core.commands.generating.domain import (
    GenerationDomain,
    GenerationRecord,
    GenerationTask,
    length_limit,
    length_warning,
)
from didi_core.data.vocabulary import Vocabulary
from didi_core.errors import UserError, refused_by
from didi_core.models.folder import LoadedModel
from didi_core.sampling.run_request import Rule, accept_all
from didi_core.training.devices import TORCH_TYPES, resolve_device
from didi_protein.generating.guides import guide_settings, guided_draw, open_guide
from didi_protein.generating.options import GenerateOptions
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
        lambda: _check_layout(options.length, options.template),
        lambda: open_guide(options),
    )


def _check_layout(length: str | None, template: str | None) -> None:
    """Raise UserError unless one of both is given, and is what it should be."""
    if (length is None) == (template is None):
        raise UserError(
            "Give one of --length (as in --length 80-120) and --template (as in --template "
            "___MKT___)."
        )
    if length is not None:
        check_lengths(length)
    else:
        read_templates(template or "", None)


def _open_model(options: GenerateOptions) -> LoadedModel:
    return open_writer(
        options.model,
        resolve_device(options.device),
        offline=options.offline,
        dtype=TORCH_TYPES[options.precision],
    )


def _plan(options: GenerateOptions, model: LoadedModel) -> GenerationTask[ProteinRecord]:
    """Return designs numbered from 1; of several templates, `num` each, in order.

    Raises:
        UserError: see `design_lengths` and `read_templates`, or a model that is none over the 20
            residues.
    """
    patterns = _patterns(options, length_limit(model))
    encode, decode = _encoder(model.vocabulary), _decoder(model.vocabulary)
    exclude, nats = check_exclude(options.exclude), read_bias(options.bias)
    guide = open_guide(options)
    guidance = guide_settings(guide, options)

    def written(name: str, ids: list[int], provenance: Mapping[str, object]) -> ProteinRecord:
        guided = {key: guidance[key] for key in ("guide", "guide_scale") if key in guidance}
        words = dict(provenance) | guided
        header = {key: str(value) for key, value in words.items()}
        return ProteinRecord(name, decode(ids), header)

    return GenerationTask(
        records=[
            GenerationRecord(f"design_{number:06d}", encode(pattern), len(pattern), name)
            for number, (pattern, name) in enumerate(patterns, start=1)
        ],
        written=written,
        settings={
            "template": options.template,
            "exclude": exclude,
            "bias": nats,
            "max_repeat": options.max_repeat,
            **guidance,
        },
        log_bias=log_bias(exclude, nats, model.vocabulary),
        rule=_rule(options.max_repeat, decode),
        draw=guided_draw(guide, options, model.vocabulary, decode),
        warnings=_warnings(options, patterns, model),
    )


def _patterns(options: GenerateOptions, limit: int) -> list[tuple[str, str | None]]:
    """Return residues to keep and underscores to fill, and the template's name."""
    if options.length is not None:
        lengths = design_lengths(options.length, options.num, options.seed, limit)
        return [(FREE * each, None) for each in lengths]
    return [
        (each.pattern(options.seed, number * options.num + copy), each.name)
        for number, each in enumerate(read_templates(options.template or "", limit))
        for copy in range(options.num)
    ]


def _warnings(
    options: GenerateOptions, patterns: Sequence[tuple[str, str | None]], model: LoadedModel
) -> list[str]:
    asked = f"--length {options.length}" if options.length else f"--template {options.template}"
    lengths = [len(pattern) for pattern, _ in patterns]
    warning = length_warning(asked, lengths, model, "design", "residue")
    return [] if warning is None else [warning]


def _rule(limit: float | None, decode: Callable[[Sequence[int]], str]) -> Rule:
    if limit is None:
        return accept_all

    def refuse_repeats(ids: list[int]) -> str | None:
        share = repeat_fraction(decode(ids))
        return f"repeat fraction {share:.3f} above {limit:g}" if share > limit else None

    return refuse_repeats


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
    template_flag="--template",
    problems=_problems,
    open_model=_open_model,
    plan=_plan,
    write=write_fasta,
)
