"""Model cards: what a model was made from, how, and how good it is."""

import itertools
import math
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from omegaconf import MISSING
from torch import nn

from didi_core.cli.hydra_app import as_plain, compose_plain
from didi_core.cli.settings_arguments import NAMES
from didi_core.data.length_ranges import LengthRanges
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.draws import Stream, keyed_generator
from didi_core.evaluation.bounds import BoundEstimate, bound_samples
from didi_core.evaluation.entropy import pooled_kmer_entropy
from didi_core.models.folder import LoadedModel
from didi_core.models.joint_head import JointHead
from didi_core.models.noise import without_noise
from didi_core.sampling.ancestral import ancestral
from didi_core.sampling.batching import plan_batches
from didi_core.sampling.filling import CallMeter, Engine
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import SampleSettings


def command_line(
    program: str,
    verb: str,
    settings: object,
    config_name: str,
    groups: Mapping[str, Iterable[str]],
) -> str:
    """The shortest command that gives these settings.

    Args:
        config_name: the verb's configuration, as in configs/.
        groups: configuration groups, as Hydra calls them, with the names that may have been chosen.
    """
    chosen = itertools.product(*([None, *names] for names in groups.values()))
    candidates = [dict(zip(groups, each, strict=True)) for each in chosen]
    parts = min((_overrides(settings, config_name, each) for each in candidates), key=len)
    return f"{program} {verb} " + " ".join(shlex.quote(part) for part in parts)


def _overrides(settings: object, config_name: str, chosen: Mapping[str, str | None]) -> list[str]:
    """The choices of groups, and every setting that differs from what they give, required first."""
    names = {group: name for group, name in chosen.items() if name is not None}
    usual = _defaults(config_name, tuple(f"{group}={name}" for group, name in names.items()))
    differing = [
        (name, value)
        for name, value in _flat(as_plain(settings))
        if usual.get(name) != value and name not in ("resume", "overwrite", "verdict")
    ]
    differing.sort(key=lambda each: usual.get(each[0]) != MISSING)
    changed = [f"{name}={_none_of(name) if value is None else value}" for name, value in differing]
    return [f"{_as_typed(group)}={name}" for group, name in names.items()] + changed


def _as_typed(group: str) -> str:
    """Return what users call a group: text_model@model is model=, protein_recipe is recipe=."""
    return group.partition("@")[2] or group.rpartition("_")[2]


def _none_of(name: str) -> str:
    return "" if name in NAMES else "null"


@lru_cache
def _defaults(config_name: str, given: tuple[str, ...]) -> dict[str, object]:
    """Every setting that the configuration has, once these groups are chosen."""
    return dict(_flat(compose_plain(config_name, given)))


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    pairs = []
    for name, item in value.items():
        if isinstance(item, dict):
            pairs += _flat(item, f"{prefix}{name}.")
        else:
            pairs.append((prefix + name, _written(item)))
    return pairs


def _written(value: object) -> object:
    """A value as the command line has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)).replace(" ", "") if isinstance(value, list | tuple) else value


STANDARD_ERROR = "_standard_error"
"""Ends the name of a figure that belongs to the one of the name before it: what other draws of
times and noise would change. Other texts would change more."""


def told_nats(scores: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """Name and nats of each figure, with its standard error where there is one.

    >>> dict(told_nats({"bound": 2.5, "bound_standard_error": 0.01, "unigram": 2.9}))
    {'bound': '2.5000 ± 0.0100', 'unigram': '2.9000'}
    """
    for name, nats in scores.items():
        if not name.endswith(STANDARD_ERROR):
            error = scores.get(f"{name}{STANDARD_ERROR}")
            yield name, f"{nats:.4f}" + ("" if error is None else f" ± {error:.4f}")


def scores_table(scores: Mapping[str, float], unit: str) -> str:
    """Figures in nats a token with their standard errors, and their perplexities.

    Args:
        unit: what the program calls a token.
    """
    head = f"nats a {unit}"
    if any(name.endswith(STANDARD_ERROR) for name in scores):
        head += " ± error of the draws"
    rows = [f"| {key} | {told} | {math.exp(scores[key]):.2f} |" for key, told in told_nats(scores)]
    return "\n".join([f"| on the held-out file | {head} | perplexity |", "|---|---|---|", *rows])


def lengths_fact(lengths: LengthRanges | None, unit: str) -> dict[str, str]:
    """Return the fact of a card that says which lengths were trained on, where that is known.

    >>> lengths_fact(LengthRanges(((64, 82),)), "residue")
    {'Lengths': '64 to 82 residues; `generate` warns of others'}
    """
    return {} if lengths is None else {"Lengths": f"{lengths} {unit}s; `generate` warns of others"}


def card(
    program: str,
    tags: Sequence[str],
    kind: str,
    title: str,
    description: str,
    facts: Mapping[str, str],
) -> str:
    """A card: front matter for the hub, a title, a paragraph, and a list of facts.

    Args:
        tags: those of a masked model.
        kind: of the model, from `kind_of`.
    """
    return "\n".join(
        [
            "---",
            f"library_name: {program}",
            f"tags: [{', '.join(tags).replace('masked', kind)}]",
            "---",
            "",
            f"# {title}",
            "",
            description,
            "",
            *(f"- {name}: {value}" for name, value in facts.items()),
            "",
        ]
    )


# What a student's noise input and joint head bring: quality with each and without, for the card.
#
# Programs that open the folder as an ordinary masked model leave them out, so its reader must
# know what is lost. The measure needs no model but the teacher: its likelihood bound on samples of
# the student. It is no independent judge, and says nothing of copies.

NUM_SAMPLES = 64


BATCH_TOKENS = 8_192


BOUND_DRAWS = 4
"""Times for each sample: the bound is an estimate."""


@dataclass(frozen=True)
class SampleQuality:
    """Of one set of samples."""

    bound: BoundEstimate
    """The teacher's bound on their likelihood, in nats a token."""
    kmer_entropy: float
    """Of their pooled 3-mers, in nats."""


def added_section(
    student: nn.Module,
    head: JointHead | None,
    teacher: LoadedModel,
    lengths: Sequence[int],
    settings: SampleSettings,
) -> str:
    """Return a paragraph and a table for the student's card, where something is to be told.

    Args:
        head: the student's joint head, where it has one.
        lengths: those of the reference, of which the samples' are drawn.
        settings: the steps and the grid the student was distilled for.
    """
    denoiser, noise = without_noise(student)
    vocabulary = teacher.vocabulary
    whole = Predictor(student, vocabulary, noise, joint_head=head)
    parts: dict[str, tuple[str, Predictor]] = {}
    if noise is not None:
        what = f"`noise.safetensors` holds a noise input (one latent a {noise.kind})"
        parts[what] = "without the noise input", Predictor(denoiser, vocabulary, joint_head=head)
    if head is not None:
        what = "`joint_head.safetensors` holds a head that draws the tokens of a step together"
        parts[what] = "without the joint head", replace(whole, joint_head=None)
    if not parts:
        return ""
    sizes = _drawn_lengths(lengths, settings.seed)
    rows = [
        _quality_row(name, predictor, teacher.denoiser, sizes, settings)
        for name, predictor in [("in ancestral steps, with all of it", whole), *parts.values()]
    ]
    return "\n".join(
        [
            "",
            "## Beside the network",
            "",
            f"{'; '.join(parts)}. `generate` uses what is there; programs that know nothing of it "
            f"leave it out. What that costs, on {NUM_SAMPLES} samples in {settings.steps} "
            "ancestral steps with float64 draws (the bound is the teacher's own, not an "
            "independent judge's):",
            "",
            "| samples | teacher's bound, nats a token (95%) | entropy of 3-mers, nats |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def _drawn_lengths(lengths: Sequence[int], seed: int) -> list[int]:
    generator = keyed_generator(seed, Stream.LENGTH, 0)
    chosen = torch.randint(len(lengths), (NUM_SAMPLES,), generator=generator)
    return [int(lengths[i]) for i in chosen]


def _quality_row(
    name: str,
    predictor: Predictor,
    teacher: nn.Module,
    sizes: Sequence[int],
    settings: SampleSettings,
) -> str:
    found = _quality(predictor, teacher, sizes, settings)
    bound = f"{found.bound.nats_per_token:.3f} ± {1.96 * found.bound.standard_error:.3f}"
    return f"| {name} | {bound} | {found.kmer_entropy:.3f} |"


def _quality(
    predictor: Predictor, teacher: nn.Module, sizes: Sequence[int], settings: SampleSettings
) -> SampleQuality:
    vocabulary = predictor.vocabulary
    rows = [vocabulary.frame([vocabulary.mask_id] * size) for size in sizes]
    engine = Engine(ancestral(predictor), predictor, CallMeter())
    samples: list[list[int]] = []
    for records in plan_batches([len(row) for row in rows], BATCH_TOKENS):
        filled = engine.fill([rows[i] for i in records], records, settings)
        samples += [_unframed(each.ids, vocabulary) for each in filled if each.failure is None]
    bound = bound_samples(
        teacher, vocabulary, samples, draws=BOUND_DRAWS, seed=settings.seed
    ).estimate()
    entropy = pooled_kmer_entropy(samples, 3, vocabulary.size, settings.seed).mean
    return SampleQuality(bound, entropy)


def _unframed(ids: list[int], vocabulary: Vocabulary) -> list[int]:
    first = int(vocabulary.bos_id is not None)
    return ids[first : len(ids) - int(vocabulary.eos_id is not None)]
