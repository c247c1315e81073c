"""Model cards: what a model was made from, how, and how good it is."""

import math
import shlex

from didi_core.hydra_app import as_plain
from didi_protein.distill_settings import DistillSettings
from didi_protein.pretrain_settings import PretrainSettings

FRONT_MATTER = """---
library_name: didi-protein
tags: [protein, masked-diffusion]
---
"""


def command_line(verb: str, settings: object, defaults: object) -> str:
    """The command that repeats a run: every setting that differs from its default."""
    changed = [
        f"{name}={value}"
        for name, value in _flat(as_plain(settings))
        if (name, value) not in set(_flat(as_plain(defaults)))
        and value is not None
        and name not in ("resume", "overwrite")
    ]
    return f"didi-protein {verb} " + " ".join(shlex.quote(part) for part in changed)


def _flat(value: dict, prefix: str = "") -> list[tuple[str, object]]:
    pairs = []
    for name, item in value.items():
        if isinstance(item, dict):
            pairs += _flat(item, f"{prefix}{name}.")
        else:
            pairs.append(
                (prefix + name, str(item).replace(" ", "") if isinstance(item, list) else item)
            )
    return pairs


def scores_table(scores: dict[str, float]) -> str:
    """Figures in nats a residue, with their perplexities."""
    rows = [f"| {name} | {nats:.4f} | {math.exp(nats):.2f} |" for name, nats in scores.items()]
    return "\n".join(
        ["| on the held-out file | nats a residue | perplexity |", "|---|---|---|", *rows]
    )


def pretrained_card(
    settings: PretrainSettings, steps: int, num_sequences: int, scores: dict[str, float]
) -> str:
    """The card of a pre-trained teacher or judge."""
    kind = {
        "masked": "A masked-diffusion protein language model (ESM-2 layout, no time input).",
        "autoregressive": "An autoregressive protein language model, meant as a judge.",
    }[settings.model.kind]
    parts = [
        FRONT_MATTER,
        f"# {settings.model.kind} protein model\n",
        kind + "\n",
        f"- Trained on: {num_sequences:,} sequences; {steps:,} updates; seed {settings.seed}",
        f"- Command: `{command_line('pretrain', settings, PretrainSettings())}`\n",
    ]
    return (
        "\n".join([*parts, scores_table(scores) if scores else "No held-out file was given."])
        + "\n"
    )


def student_card(settings: DistillSettings, method: str, steps: int, num_reference: int) -> str:
    """The card of a distilled student."""
    source = {
        "data": f"{num_reference:,} sequences of `{settings.data}`",
        "pool": f"{num_reference:,} samples of the teacher (no data set)",
    }[settings.reference]
    parts = [
        FRONT_MATTER,
        f"# Student of {settings.teacher}\n",
        "A few-step student of a masked-diffusion protein language model. Sample it with "
        "`didi-protein generate --model FOLDER --steps 8`; `transformers.AutoModelForMaskedLM` "
        "opens it as well.\n",
        f"- Teacher: `{settings.teacher}`",
        f"- Method: {method}, preset {settings.preset}; {steps:,} updates; seed {settings.seed}",
        f"- Reference: {source}",
        f"- Command: `{command_line('distill', settings, DistillSettings())}`",
    ]
    return "\n".join(parts) + "\n"
