"""The cards of the models that ship in the package: what each is, its settings, data and scores."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Words:
    """What the cards of one program's models say."""

    program: str
    titles: Mapping[str, tuple[str, str]]
    """Title and purpose of each model."""
    sources: str
    """The section on the data."""
    scores: str
    """First words of the section of figures."""
    columns: Mapping[str, str]
    """Keys and headings of the figures that are shown, each with its interval."""
    results: Path
    """Where they were measured, under "cells" by `NAME:...`; may not be there yet."""


PROTEIN_WORDS = Words(
    program="didi-protein",
    titles={
        "tiny": (
            "tiny: the bundled teacher",
            "A masked-diffusion protein language model in the ESM-2 layout, trained on families "
            "of 30 to 160 residues. It is for learning and testing the toolkit, not for designing "
            "drugs: designs outside the lengths and families it has seen are poor.",
        ),
        "tiny-student": (
            "tiny-student: the bundled teacher, distilled",
            "Distilled from `tiny` to need 8 to 16 network calls.",
        ),
        "tiny-judge": (
            "tiny-judge: the bundled judge",
            "An autoregressive language model over residues (Llama layout), trained independently "
            "of the teacher (another architecture, another seed), with a share of its inputs made "
            "random so that it rates relatives of what it has seen fairly. It gives judge "
            "perplexity.",
        ),
    },
    sources="""## Data

Natural protein families (clusters at 40% identity and 70% mutual coverage with at least 20
members) of sequences from UniProt (yeast, human, viruses, archaea, mitochondria; CC BY 4.0), NCBI
RefSeq proteomes and AMR proteins (public domain), CATH v4.1 S35/S40 (CC BY 4.0), SCOP domains,
FLIP (AFL 3.0) and ATLAS. Held out: sequences of the same families in other 90% identity clusters.
""",
    scores="Lengths as in the held-out set (30 to 160 residues), float64 draws, 95% bootstrap "
    "intervals; definitions in the project's docs/outputs.md.",
    columns={
        "judge_nll": "judge NLL (nats a residue)",
        "precision": "precision",
        "recall": "recall",
        "copies": "copies",
        "pooled_3mer_entropy": "3-mer entropy",
    },
    results=RESULTS / "bundled_quality.json",
)
TEXT_WORDS = Words(
    program="didi-text",
    titles={
        "tiny": (
            "tiny: the bundled text teacher",
            "A masked-diffusion language model in MDLM's layout (DiT) over 2,048 byte-level BPE "
            "tokens and blocks of 128. It is for learning and testing the toolkit, not for "
            "writing text of use.",
        ),
        "tiny-student": (
            "tiny-student: the bundled text teacher, distilled",
            "Distilled from `tiny` to need 8 to 16 network calls.",
        ),
        "tiny-judge": (
            "tiny-judge: the bundled judge of text",
            "An autoregressive language model in GPT-2's layout over the same tokens, trained "
            "independently of the teacher (another architecture, another seed). It gives "
            "generative perplexity, for comparisons among these models alone: published figures "
            "are under `gpt2-large`.",
        ),
    },
    sources="""## Data

English documents that are in the public domain or under CC BY 4.0; no others were trained on.
""",
    scores="Samples of 128 tokens, float64 draws, 95% bootstrap intervals; definitions in the "
    "project's docs/text-evaluation.md.",
    columns={
        "nats_per_token": "judge NLL (nats a token)",
        "entropy": "entropy of a sample (nats)",
        "repetition": "repetition",
    },
    results=RESULTS / "bundled_text_quality.json",
)


def card(name: str, record: Mapping[str, Any], words: Words) -> str:
    """`README.md` of a bundled model.

    Args:
        record: its `run.json`, without the paths of the machine it was trained on.
    """
    title, purpose = words.titles[name]
    settings = {k: v for k, v in record["settings"].items() if v is not None}
    lines = [
        "---\nlibrary_name: didi-protein\nlicense: cc-by-4.0\n---\n",
        f"# {title}\n\n{purpose}\n",
        f"Trained by `{words.program} {record['verb']}`, {record['updates']:,} updates, seed "
        f"{record['seed']}. The last stage's full settings:\n",
        f"```json\n{json.dumps(settings, indent=1)}\n```\n",
        words.sources,
    ]
    return "\n".join([*lines, _scores(name, words)])


def _scores(name: str, words: Words) -> str:
    figures = json.loads(words.results.read_text())["cells"] if words.results.exists() else {}
    rows = {cell: f for cell, f in figures.items() if ":" not in cell or cell.split(":")[0] == name}
    if name == "tiny-judge" or not rows:
        return ""
    headings = " | ".join(words.columns.values())
    lines = [
        f"## Scores\n\n{words.scores}\n",
        f"| set | n | calls | {headings} |",
        "|---" * (3 + len(words.columns)) + "|",
    ]
    for cell, f in rows.items():
        numbers = " | ".join(_interval(f[key]) for key in words.columns)
        calls = f"{f['mean_nfe']:.1f}" if f.get("mean_nfe") else ""
        lines.append(f"| {cell} | {f['n']} | {calls} | {numbers} |")
    return "\n".join(lines) + "\n"


def _interval(figure: dict[str, float] | None) -> str:
    if figure is None:
        return ""
    return f"{figure['mean']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
