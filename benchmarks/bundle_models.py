"""Turn training runs into the models that ship in the package: float16, with a card.

    python benchmarks/bundle_models.py --teacher runs/teacher --student runs/student \
        --judge runs/judge --held-out families_valid.fasta.gz --training families_train.fasta.gz

Run it again after `benchmarks/quality.py --out benchmarks/results/bundled_quality.json` to put the
measured figures into the cards.
"""

import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from didi_core.files import write_json
from didi_core.models.folder import save_model_folder
from didi_protein.alphabet import PROTEIN
from didi_protein.causal import save_causal_folder
from didi_protein.fasta import read_training_sequences
from didi_protein.judges import open_judge
from didi_protein.models import BUNDLED_MODELS, open_model
from didi_protein.set_measures import measure_reference_rows

RESULTS = Path(__file__).parent / "results" / "bundled_quality.json"
SOURCES = """## Data

Natural protein families (clusters at 40% identity and 70% mutual coverage with at least 20
members) of sequences from UniProt (yeast, human, viruses, archaea, mitochondria; CC BY 4.0), NCBI
RefSeq proteomes and AMR proteins (public domain), CATH v4.1 S35/S40 (CC BY 4.0), SCOP domains,
FLIP (AFL 3.0) and ATLAS. Held out: sequences of the same families in other 90% identity clusters.
"""
TITLES = {
    "tiny": (
        "tiny: the bundled teacher",
        "A masked-diffusion protein language model in the ESM-2 layout, trained on families of 30 "
        "to 160 residues. It is for learning and testing the toolkit, not for designing drugs: "
        "designs outside the lengths and families it has seen are poor.",
    ),
    "tiny-student": (
        "tiny-student: the bundled teacher, distilled",
        "Distilled from `tiny` to need 8 to 16 network calls.",
    ),
    "tiny-judge": (
        "tiny-judge: the bundled judge",
        "An autoregressive language model over residues (Llama layout), trained independently of "
        "the teacher (another architecture, another seed), with a share of its inputs made "
        "random so that it rates relatives of what it has seen fairly. It gives judge perplexity.",
    ),
}


def main(
    teacher: Annotated[Path | None, typer.Option(help="Run folder of pretrain.")] = None,
    student: Annotated[Path | None, typer.Option(help="Run folder of distill.")] = None,
    judge: Annotated[Path | None, typer.Option(help="Run folder of pretrain model=judge.")] = None,
    held_out: Annotated[Path | None, typer.Option(help="For the judge's reference rows.")] = None,
    training: Annotated[Path | None, typer.Option(help="For the judge's reference rows.")] = None,
) -> None:
    """Write those of didi_protein/_models/{tiny,tiny-student,tiny-judge} whose runs are given."""
    figures = json.loads(RESULTS.read_text())["cells"] if RESULTS.exists() else {}
    for name, run in (("tiny", teacher), ("tiny-student", student)):
        if run is not None:
            _bundle_denoiser(name, run, figures)
    if judge is not None and held_out is not None and training is not None:
        _bundle_judge(judge, held_out, training)


def _bundle_denoiser(name: str, run: Path, figures: dict[str, Any]) -> None:
    loaded = open_model(run)
    own = {k: v for k, v in loaded.config.get("didi", {}).items() if k != "teacher"}
    if name == "tiny-student":
        own["teacher"] = "tiny"
    save_model_folder(
        BUNDLED_MODELS.folder(name),
        loaded.denoiser,
        PROTEIN,
        card=_card(name, run, figures),
        run=_run_record(run),
        dtype=torch.float16,
        extra_config={"didi": own},
    )
    noise = run / "noise.safetensors"
    if noise.is_file():
        shutil.copy(noise, BUNDLED_MODELS.folder(name))


def _bundle_judge(run: Path, held_out: Path, training: Path) -> None:
    folder = BUNDLED_MODELS.folder("tiny-judge")
    card = _card("tiny-judge", run, {})
    save_causal_folder(folder, open_judge(str(run)).model, PROTEIN, card, dtype=torch.float16)
    write_json(folder / "run.json", _run_record(run))
    natural = [[s for _, s in read_training_sequences(path)] for path in (held_out, training)]
    write_json(
        folder / "reference_rows.json", measure_reference_rows(open_judge("tiny-judge"), *natural)
    )


def _run_record(run: Path) -> dict[str, Any]:
    """The run's record without the paths of the machine it ran on."""
    record = json.loads((run / "run.json").read_text())
    for key in ("data", "valid", "out", "teacher"):
        value = record["settings"].get(key)
        if value:
            record["settings"][key] = Path(value).name
    record["updates"] = _last_step(run)
    return record


def _last_step(run: Path) -> int:
    return json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"]


def _card(name: str, run: Path, figures: dict[str, Any]) -> str:
    title, purpose = TITLES[name]
    record = _run_record(run)
    settings = {k: v for k, v in record["settings"].items() if v is not None}
    lines = [
        "---\nlibrary_name: didi-protein\nlicense: cc-by-4.0\n---\n",
        f"# {title}\n\n{purpose}\n",
        f"Trained by `didi-protein {record['verb']}`, {record['updates']:,} updates, seed "
        f"{record['seed']}. Full settings:\n",
        f"```json\n{json.dumps(settings, indent=1)}\n```\n",
        SOURCES,
    ]
    return "\n".join([*lines, _scores(name, figures)])


def _scores(name: str, figures: dict[str, Any]) -> str:
    rows = {cell: f for cell, f in figures.items() if ":" not in cell or cell.split(":")[0] == name}
    if name == "tiny-judge" or not rows:
        return ""
    lines = [
        "## Scores\n\nLengths as in the held-out set (30 to 160 residues), float64 draws, 95% "
        "bootstrap intervals; definitions in the project's docs/outputs.md.\n",
        "| set | n | calls | judge NLL (nats a residue) | precision | recall | copies "
        "| 3-mer entropy |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for cell, f in rows.items():
        numbers = [_interval(f[k]) for k in ("judge_nll", "precision", "recall", "copies")]
        calls = f"{f['mean_nfe']:.1f}" if f.get("mean_nfe") else ""
        entropy = _interval(f["pooled_3mer_entropy"])
        lines.append(f"| {cell} | {f['n']} | {calls} | {' | '.join(numbers)} | {entropy} |")
    return "\n".join(lines) + "\n"


def _interval(figure: dict[str, float] | None) -> str:
    if figure is None:
        return ""
    return f"{figure['mean']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


if __name__ == "__main__":
    typer.run(main)
