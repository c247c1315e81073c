"""Samples as `generate` makes them: lengths, prefixes or templates in, JSONL or text out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from didi_core.commands.generating.product import (
    GenerationRecord,
    GenerationTask,
    MadeRecord,
    length_limit,
    read_lengths,
)
from didi_core.errors import UserError
from didi_core.models.folder import LoadedModel
from didi_core.training.devices import TORCH_TYPES, resolve_device
from didi_text.models.load import open_named_tokenizer, tokenizer_of
from didi_text.models.writers import open_writer
from didi_text.samples.files import SUFFIXES, is_jsonl, write_samples
from didi_text.samples.options import GenerateOptions
from didi_text.samples.prompts import WORDS, Prompt, read_prompts, rows_of
from didi_text.tokenizers.tokenizer import TextTokenizer


class TextSamples(GenerationTask[GenerateOptions]):
    """One request for samples."""

    program = "didi-text"
    noun = "sample"
    suffixes = SUFFIXES
    example = "samples.jsonl"
    template_flag = "--infill"

    def __init__(self, options: GenerateOptions, tokenizer: TextTokenizer | None = None) -> None:
        """
        Args:
            tokenizer: of a model that is open already; None for what its folder has.
        """
        super().__init__(options)
        self.tokenizer = tokenizer

    def problems(self) -> list[str]:
        options = self.options
        wrong = []
        if options.prefix is not None and options.infill is not None:
            wrong.append("--prefix and --infill exclude each other")
        if options.length is None and options.infill is None:
            wrong.append("--length is missing, as in --length 128")
        if options.shard is not None and not is_jsonl(options.out):
            wrong.append(f"--shard with --out {options.out}: shards are written as .jsonl")
        return wrong

    def check_request(self) -> None:
        if self.options.length is not None:
            read_lengths(str(self.options.length), 1, 0, None, WORDS)

    def open_model(self) -> LoadedModel:
        options = self.options
        return open_writer(
            options.model,
            resolve_device(options.device),
            offline=options.offline,
            dtype=TORCH_TYPES[options.precision],
            tokenizer=options.tokenizer,
        )

    def _tokenizer(self, model: LoadedModel) -> TextTokenizer:
        options = self.options
        if self.tokenizer is not None:
            return self.tokenizer
        if options.tokenizer is not None:
            return open_named_tokenizer(options.tokenizer, offline=options.offline)
        return tokenizer_of(model, offline=options.offline)

    def records(self, model: LoadedModel) -> list[GenerationRecord]:
        """Numbered from 1; of several prompts, `num` each, in order.

        Raises:
            UserError: see `read_lengths` and `read_prompts`, or a prompt that does not fit.
        """
        options, limit = self.options, length_limit(model)
        tokenizer = self._tokenizer(model)
        prompts = self._prompts(tokenizer)
        if not prompts:
            mask = model.vocabulary.mask_id
            found: list[tuple[str | None, list[int]]] = [
                (None, [mask] * length) for length in self._lengths(options.num, limit)
            ]
        else:
            found = self._prompted(prompts, tokenizer, limit)
        return [
            GenerationRecord(
                f"sample_{number:06d}", model.vocabulary.frame(row), len(row), template
            )
            for number, (template, row) in enumerate(found, start=1)
        ]

    def _prompts(self, tokenizer: TextTokenizer) -> list[Prompt]:
        options = self.options
        if options.prefix is not None:
            return read_prompts("--prefix", options.prefix, tokenizer)
        if options.infill is not None:
            return read_prompts("--infill", options.infill, tokenizer)
        return []

    def _lengths(self, num: int, limit: int) -> list[int]:
        return read_lengths(str(self.options.length), num, self.options.seed, limit, WORDS)

    def _prompted(
        self, prompts: Sequence[Prompt], tokenizer: TextTokenizer, limit: int
    ) -> list[tuple[str | None, list[int]]]:
        """Text and ids of each record."""
        options, wanted = self.options, rows_of(prompts, self.options.num)
        lengths: Sequence[int | None] = [None] * len(wanted)
        if any(prompt.needs_length for prompt in prompts):
            if options.length is None:
                raise UserError("--length is missing: it says how much ___ is to hold.")
            lengths = self._lengths(len(wanted), limit)
        elif options.length is not None:
            raise UserError(
                f"--length {options.length}: every blank has a size of its own; leave it out."
            )
        mask, end = tokenizer.vocabulary.mask_id, tokenizer.end_id
        found: list[tuple[str | None, list[int]]] = [
            (
                prompt.text,
                prompt.row(
                    options.seed, record, length if prompt.needs_length else None, mask, end
                ),
            )
            for (record, prompt), length in zip(wanted, lengths, strict=True)
        ]
        longest = max(len(row) for _, row in found)
        if longest > limit:
            raise UserError(
                f"{prompts[0].flag}: a sample of {longest} tokens is past the model's limit of "
                f"{limit}."
            )
        return found

    def settings(self) -> dict[str, Any]:
        options = self.options
        given = {} if options.tokenizer is None else {"tokenizer": options.tokenizer}
        return {"prefix": options.prefix, "infill": options.infill, **given}

    def write(self, path: Path, made: Sequence[MadeRecord], model: LoadedModel) -> None:
        tokenizer = self._tokenizer(model)
        write_samples(path, (_as_json(each, tokenizer) for each in made))


def _as_json(made: MadeRecord, tokenizer: TextTokenizer) -> dict[str, object]:
    # The end of text before a prompt is the model's frame, not the user's text.
    ids = made.ids[1:] if "template" in made.provenance else made.ids
    return {"id": made.id, **made.provenance, "text": tokenizer.decode(ids), "ids": ids}
