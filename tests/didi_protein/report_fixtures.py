"""Score tables for the tests of the report, with the columns and the summary `score` writes."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from didi_protein.report import write_report

RESIDUES = "LAGVSERTIDPKQNFYMHWC"
NATURAL = np.array([
    9.7, 8.3, 7.1, 6.9, 6.6, 6.7, 5.5, 5.3, 5.9, 5.4, 4.7, 5.8, 3.9, 4.1,
    3.9, 2.9, 2.4, 2.3, 1.1, 1.4,
])  # fmt: skip
NATURAL = NATURAL / NATURAL.sum()


def random_sequences(count: int, seed: int, low: int = 50, high: int = 150) -> list[str]:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(low, high + 1, count)
    shares = generator.dirichlet(300 * NATURAL)
    return ["".join(generator.choice(list(RESIDUES), length, p=shares)) for length in lengths]


def rows(
    model: str, sampler: str, steps: int | None, nll: float, count: int = 64, seed: int = 0
) -> pd.DataFrame:
    """Rows of one cell whose judge NLL scatters around `nll`."""
    generator = np.random.default_rng(seed)
    sequences = random_sequences(count, seed)
    lengths = [len(sequence) for sequence in sequences]
    return pd.DataFrame(
        {
            "id": [f"design_{number:06d}" for number in range(count)],
            "length": lengths,
            "status": "ok",
            "error": "",
            "model": model,
            "sampler": sampler,
            "steps": steps,
            "nfe": steps or lengths,
            "seed": 3,
            "sequence": sequences,
            "judge_perplexity": np.exp(generator.normal(nll, 0.15, count)),
            "repeat_fraction": generator.beta(1, 20, count),
            "nearest_reference": "family_17",
            "nearest_reference_identity": generator.uniform(0.2, 0.9, count),
            "instability_index": generator.normal(38, 8, count),
            "isoelectric_point": generator.normal(6.5, 1.2, count),
        }
    )


def estimate(mean: float, spread: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - spread, "high": mean + spread}


def set_figures(nll: float, count: int, **others: object) -> dict[str, object]:
    return {
        "n": count,
        "judge_nll": estimate(nll, 0.04),
        "judge_perplexity": {
            key: float(np.exp(value)) for key, value in estimate(nll, 0.04).items()
        },
        "precision": estimate(0.35, 0.11),
        "recall": estimate(0.12, 0.03),
        "copies": estimate(0.031, 0.02),
        "pooled_3mer_entropy": estimate(7.9, 0.05),
        "distinct_fraction": 1.0,
        "num_clusters": 50,
        "mean_repeat_fraction": 0.047,
        "mean_low_complexity_fraction": 0.03,
        "mean_nfe": 8.0,
        "mean_length": 101.0,
        "residue_composition": dict(zip(RESIDUES, NATURAL.tolist(), strict=True)),
    } | others


def summary(nll: float, count: int, **others: object) -> dict[str, object]:
    return {
        "format": "didi-protein score summary 1",
        "inputs": ["designs.fasta"],
        "num_records": count,
        "num_ok": count,
        "by_status": {"ok": count},
        "judge": {"name": "tiny-judge", "num_parameters": 3_100_000, "precision": "float32"},
        "pseudo": None,
        "fold": None,
        "reference": {"file": "families_train.fasta.gz", "num_sequences": 15_034},
        "set": set_figures(nll, count, **others),
        "reference_rows": {
            "natural_held_out": set_figures(2.1, 900),
            "natural_training": set_figures(1.9, 900),
            "residue_shuffled": set_figures(2.95, 900, recall=None),
        },
        "definitions": {"judge_nll": "Mean over sequences of the negative log-likelihood."},
        "versions": {"didi-protein": "0.1.0", "torch": "2.13.0"},
    }


def write_table(
    folder: Path, name: str, table: pd.DataFrame, summary_of: dict | None, seconds: float | None
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.csv"
    table.to_csv(path, index=False)
    if summary_of is not None:
        (folder / f"{name}.summary.json").write_text(json.dumps(summary_of))
    if seconds is not None:
        timing = {
            "seconds": seconds,
            "num_designs": len(table),
            "student_calls": 8,
            "discriminator_calls": 0,
            "calls_made": 8,
            "device": "cpu, 2 threads",
        }
        (folder / f"{name}.generate.json").write_text(json.dumps(timing))
    return path


def quickstart_like(folder: Path) -> Path:
    """A folder as the quickstart leaves it: one table for each cell of teacher and students."""
    settings = [
        ("tiny", "ancestral", steps, nll) for steps, nll in ((8, 2.86), (16, 2.74), (64, 2.6))
    ]
    settings += [("tiny", "first-hitting", None, 2.52)]
    settings += [
        ("tiny-student", "ancestral", steps, nll)
        for steps, nll in ((4, 2.83), (8, 2.66), (16, 2.57))
    ]
    settings += [
        ("quickstart-student", "ancestral", steps, nll)
        for steps, nll in ((4, 2.88), (8, 2.75), (16, 2.66))
    ]
    for number, (model, sampler, steps, nll) in enumerate(settings):
        table = rows(model, sampler, steps, nll, seed=number)
        calls = float(np.mean(table["nfe"]))
        name = f"{model}-{steps or 'limit'}"
        figures = summary(nll, len(table), mean_nfe=calls)
        write_table(folder / "scores", name, table, figures, seconds=calls * 0.21)
    return folder


def page_of(inputs: list[Path], out: Path, **options: object) -> Path:
    return write_report(inputs, out, **options).out


def page_of_table(folder: Path, table: pd.DataFrame, **options: object) -> str:
    """Return the page of one table without summary and timing."""
    written = write_table(folder, "t", table, None, None)
    return page_of([written], folder / "report.html", **options).read_text(encoding="utf-8")


def page_of_quickstart(folder: Path) -> str:
    return page_of([quickstart_like(folder / "in")], folder / "report.html").read_text("utf-8")
