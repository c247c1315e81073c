"""The cards of the models that ship in the package: what each is, its settings, data and scores."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from didi_core.cli.hydra_app import choices_of
from didi_core.commands.training.model_card import command_line
from didi_protein.sequences.bundled import FAMILIES

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Measured:
    """The figures of a result file."""

    setting: Mapping[str, Any]
    """What headings and the words on the scores leave open, by name."""
    cells: Mapping[str, Mapping[str, Any]]
    """Figures by `MODEL:STEPS`, or by the name of a set of natural sequences: `n`, `mean_nfe`, and
    `{mean, low, high}` by key."""


def protein_figures(record: Mapping[str, Any]) -> Measured:
    """Of a file of `benchmarks.families`: each family's designs, and nature at their number."""
    cells: dict[str, Mapping[str, Any]] = {}
    for cell, families in record["sets"].items():
        for family, found in families.items():
            kind = FAMILIES.get(family, family)
            cells.setdefault(f"natural {kind}", found["natural"])
            cells[f"{cell}, {kind}"] = found["designs"]
    return Measured({}, cells)


def text_figures(record: Mapping[str, Any]) -> Measured:
    """Of a `benchmark.json` of `didi-text benchmark`; cells that failed are left out."""
    cells = {}
    for row in record["rows"]:
        if row["status"] != "ok":
            continue
        other = "" if row["sampler"] in ("ancestral", "first-hitting") else f"{row['sampler']}:"
        figures = {
            key: {"mean": row[key], "low": row.get(f"{key}_low"), "high": row.get(f"{key}_high")}
            for key in TEXT_COLUMNS
        }
        cells[f"{row['model']}:{other}{row['steps']}"] = {
            "n": row["n"],
            "mean_nfe": row["calls"],
            **figures,
        }
    compared = record["frontiers"] or {"baseline": None}
    return Measured({**record["reading"], "reference": compared["baseline"]}, cells)


TEXT_COLUMNS = {
    "perplexity": "judge perplexity",
    "entropy": "entropy of a sample (nats)",
    "repetition": "repetition",
    "nll_at_equal_entropy": "judge NLL (nats a token) at equal entropy",
    "difference_at_equal_entropy": "less that of {reference}",
}


@dataclass(frozen=True)
class Words:
    """What the cards of one program's models say."""

    program: str
    titles: Mapping[str, tuple[str, str]]
    """Title and purpose of each model."""
    sources: str
    """The section on the data."""
    license: str
    """Of the weights."""
    scores: str
    """First words of the section of figures."""
    columns: Mapping[str, str]
    """Keys and headings of the figures that are shown, each with its interval; one that no cell
    has is left out."""
    results: Path
    """The file that holds them; may not be there yet."""
    figures_of: Callable[[Mapping[str, Any]], Measured]
    """Reads its contents."""


PROTEIN_WORDS = Words(
    program="didi-protein",
    titles={
        "tiny": (
            "tiny: the bundled teacher",
            "A masked-diffusion protein language model in the ESM-2 layout that knows two protein "
            "families: PDZ domains (64 to 82 residues) and class A beta-lactamases (162 to 202). "
            "It is for learning and testing the toolkit: a design of any other length, or around "
            "a template of another protein, means nothing. Trained in two legs: 6,500 updates "
            "whose rate fell to zero over the last 35%, then on to 10,500 by the command below.",
        ),
        "tiny-student": (
            "tiny-student: the bundled teacher, distilled",
            "Distilled from `tiny` to need 4 to 16 network calls. `generate` draws it with the "
            "sampler `momentum`; the scores of plain rows are of `--sampler ancestral`.",
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

The families PF00595 (PDZ domains, 13,023 sequences) and PF13354 (class A beta-lactamases, 6,473) of
Pfam, which ship with the package as `families`. Pfam is in the public domain (CC0); the alignments
came by way of ArDCAData (MIT). Held out, as `families-held-out`: whole clusters at 60% identity,
1,643 and 659 sequences.
""",
    license="mit",
    scores="Lengths as in the family, float64 draws, 95% bootstrap intervals; definitions in the "
    "project's docs/families.md.",
    columns={
        "covariance_correlation": "pair covariances, r",
        "covariance_slope": "slope",
        "contact_precision": "contacts",
        "nearest_identity": "identity to the nearest natural sequence",
        "copies": "copies",
        "pairwise_identity": "pairwise identity",
    },
    results=RESULTS / "families.json",
    figures_of=protein_figures,
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
            "Distilled from `tiny` to need 8 to 16 network calls. `generate` draws it with the "
            "sampler `apart`; the scores are of `--sampler ancestral`, and the project's "
            "docs/text.md has those of `apart`.",
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

2,354 English documents from the corpora of NLTK, 2.1 million words: film reviews
(`movie_reviews`, Pang and Lee, CC BY 4.0), and in the public domain the addresses of United States
presidents (`state_union`, `inaugural`) and plays of Shakespeare (`shakespeare`). No others were
trained on.
""",
    license="cc-by-4.0",
    scores="Samples of {length} tokens under `{judge}`, float64 draws, 95% bootstrap intervals; "
    "definitions in the project's docs/text-benchmark.md.",
    columns=TEXT_COLUMNS,
    results=RESULTS / "text_benchmark.json",
    figures_of=text_figures,
)


def card(name: str, record: Mapping[str, Any], words: Words) -> str:
    """`README.md` of a bundled model.

    Args:
        record: its `run.json`, without the paths of the machine it was trained on.
    """
    title, purpose = words.titles[name]
    settings = settings_today(record["settings"])
    lines = [
        f"---\nlibrary_name: didi-protein\nlicense: {words.license}\n---\n",
        f"# {title}\n\n{purpose}\n",
        f"Trained by `{words.program} {record['verb']}`, {record['updates']:,} updates, seed "
        f"{record['seed']}. The last stage as a command of today ({_not_as_run(record)}):\n",
        f"```bash\n{training_command(words, record['verb'], settings)}\n```\n",
        words.sources,
    ]
    return "\n".join([*lines, _scores(name, words)])


def settings_today(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run as the verbs take them now, for the same training.

    What the run learnt from ships under a name: teacher and tokenizer are `tiny`. A gentle start
    as long as the run, or longer, is refused today: it leaves its last update to the bound.
    """
    known = {name: value for name, value in settings.items() if value is not None}
    known |= {name: "tiny" for name in ("teacher", "tokenizer") if name in known}
    start, steps = known.get("curriculum"), known.get("steps")
    if start is not None and start["steps"] >= steps:
        known["curriculum"] = {**start, "steps": steps - 1}
    return known


def _not_as_run(record: Mapping[str, Any]) -> str:
    """In what the command differs from the run, whose own settings `run.json` keeps."""
    settings = record["settings"]
    start, steps = settings.get("curriculum"), settings.get("steps")
    if start is not None and start["steps"] >= steps:
        return "the run spent its last update in the gentle start too; `run.json` has its settings"
    return "`run.json` has the run's own settings"


def training_command(words: Words, verb: str, settings: Mapping[str, Any]) -> str:
    """The shortest command that trains with these settings."""
    config = verb if words.program == "didi-protein" else f"text_{verb}"
    shapes = "model" if words.program == "didi-protein" else "text_model"
    group = "model" if shapes == "model" else "text_model@model"
    groups = {
        "pretrain": {group: choices_of(shapes)},
        "distill": {"method": choices_of("method")},
    }
    return command_line(words.program, verb, settings, config, groups[verb])


def _scores(name: str, words: Words) -> str:
    if name == "tiny-judge" or not words.results.exists():
        return ""
    measured = words.figures_of(json.loads(words.results.read_text(encoding="utf-8")))
    rows = {
        cell: figures
        for cell, figures in measured.cells.items()
        if ":" not in cell or cell.split(":")[0] == name
    }
    if not rows:
        return ""
    columns = {
        key: heading.format(**measured.setting)
        for key, heading in words.columns.items()
        if any(_interval(figures[key]) for figures in rows.values())
    }
    lines = [
        f"## Scores\n\n{words.scores.format(**measured.setting)}\n",
        f"| set | n | calls | {' | '.join(columns.values())} |",
        "|---" * (3 + len(columns)) + "|",
    ]
    for cell, figures in rows.items():
        numbers = " | ".join(_interval(figures[key]) for key in columns)
        calls = f"{figures['mean_nfe']:.1f}" if figures.get("mean_nfe") else ""
        lines.append(f"| {cell} | {figures['n']} | {calls} | {numbers} |")
    return "\n".join(lines) + "\n"


def _interval(figure: Mapping[str, float | None] | None) -> str:
    if figure is None or figure["mean"] is None:
        return ""
    if figure["low"] is None:
        return f"{figure['mean']:.3f}"
    return f"{figure['mean']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
