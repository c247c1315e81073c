"""Samples as `generate` makes them: lengths, prefixes or templates in, JSONL or text out."""

from collections.abc import Mapping, Sequence

from didi_core.commands.generating.domain import (
    GenerationDomain,
    GenerationRecord,
    GenerationTask,
    length_limit,
    read_lengths,
)
from didi_core.errors import UserError, refused_by
from didi_core.models.folder import LoadedModel
from didi_core.training.devices import TORCH_TYPES, resolve_device
from didi_text.models.load import open_named_tokenizer, tokenizer_of
from didi_text.models.writers import open_writer
from didi_text.samples.files import SUFFIXES, SampleRecord, is_jsonl, write_samples
from didi_text.samples.options import GenerateOptions
from didi_text.samples.prompts import WORDS, Prompt, read_prompts, rows_of
from didi_text.tokenizers.tokenizer import TextTokenizer


def _problems(options: GenerateOptions) -> list[str]:
    wrong = []
    if options.prefix is not None and options.infill is not None:
        wrong.append("--prefix and --infill exclude each other")
    if options.length is None and options.infill is None:
        wrong.append("--length is missing, as in --length 128")
    if options.shard is not None and not is_jsonl(options.out):
        wrong.append(f"--shard with --out {options.out}: shards are written as .jsonl")
    if options.length is not None:
        wrong += refused_by(lambda: read_lengths(str(options.length), 1, 0, None, WORDS))
    return wrong


def _open_model(options: GenerateOptions) -> LoadedModel:
    return open_writer(
        options.model,
        resolve_device(options.device),
        offline=options.offline,
        dtype=TORCH_TYPES[options.precision],
        tokenizer=options.tokenizer,
    )


def _open_tokenizer(options: GenerateOptions, model: LoadedModel) -> TextTokenizer:
    if options.tokenizer is not None:
        return open_named_tokenizer(options.tokenizer, offline=options.offline)
    return tokenizer_of(model, offline=options.offline)


def plan_samples(
    options: GenerateOptions, model: LoadedModel, tokenizer: TextTokenizer | None = None
) -> GenerationTask[SampleRecord]:
    """Return samples numbered from 1; of several prompts, `num` each, in order.

    Args:
        tokenizer: of a model that is open already; None for the one asked for, or of its folder.

    Raises:
        UserError: see `read_lengths` and `read_prompts`, or a prompt that does not fit.
    """
    tokenizer = tokenizer or _open_tokenizer(options, model)
    limit = length_limit(model)
    if prompts := _prompts(options, tokenizer):
        rows = _prompted(options, prompts, tokenizer, limit)
    else:
        mask = model.vocabulary.mask_id
        rows = [(None, [mask] * length) for length in _lengths(options, options.num, limit)]

    def written(name: str, ids: list[int], provenance: Mapping[str, object]) -> SampleRecord:
        # The end of text before a prompt is the model's frame, not the user's text.
        ids = ids[1:] if "template" in provenance else ids
        return {"id": name, **provenance, "text": tokenizer.decode(ids), "ids": ids}

    given = {} if options.tokenizer is None else {"tokenizer": options.tokenizer}
    return GenerationTask(
        records=[
            GenerationRecord(
                f"sample_{number:06d}",
                model.vocabulary.frame(row),
                len(row),
                template,
                asked=f"--infill {template}",
            )
            for number, (template, row) in enumerate(rows, start=1)
        ],
        written=written,
        settings={"prefix": options.prefix, "infill": options.infill, **given},
    )


def _prompts(options: GenerateOptions, tokenizer: TextTokenizer) -> list[Prompt]:
    if options.prefix is not None:
        return read_prompts("--prefix", options.prefix, tokenizer)
    if options.infill is not None:
        return read_prompts("--infill", options.infill, tokenizer)
    return []


def _lengths(options: GenerateOptions, num: int, limit: int) -> list[int]:
    return read_lengths(str(options.length), num, options.seed, limit, WORDS)


def _prompted(
    options: GenerateOptions, prompts: Sequence[Prompt], tokenizer: TextTokenizer, limit: int
) -> list[tuple[str | None, list[int]]]:
    """Return text and ids of each record."""
    wanted = rows_of(prompts, options.num)
    lengths: Sequence[int | None] = [None] * len(wanted)
    if any(prompt.needs_length for prompt in prompts):
        if options.length is None:
            raise UserError("--length is missing: it says how much ___ is to hold.")
        lengths = _lengths(options, len(wanted), limit)
    elif options.length is not None:
        raise UserError(
            f"--length {options.length}: every blank has a size of its own; leave it out."
        )
    seed, mask, end = options.seed, tokenizer.vocabulary.mask_id, tokenizer.end_id
    rows = [
        prompt.row(seed, record, length if prompt.needs_length else None, mask, end)
        for (record, prompt), length in zip(wanted, lengths, strict=True)
    ]
    if (longest := max(len(row) for row in rows)) > limit:
        raise UserError(
            f"{prompts[0].flag}: a sample of {longest} tokens is past the model's limit of {limit}."
        )
    return [(prompt.text, row) for (_, prompt), row in zip(wanted, rows, strict=True)]


SAMPLES = GenerationDomain(
    program="didi-text",
    noun="sample",
    suffixes=SUFFIXES,
    example="samples.jsonl",
    problems=_problems,
    open_model=_open_model,
    plan=plan_samples,
    write=write_samples,
)
