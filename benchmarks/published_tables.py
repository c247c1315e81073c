r"""The papers' tables again, with our engine, from the weights that are at hand.

    didi-text download kuleshov-group/mdlm-owt haoyangzheng/didi-instruct-small gpt2-large gpt2 \
        yresearch/MDLM-MMD-OWT \
        jdeschena/sdtt@baselines_kld_step_50000 jdeschena/sdtt@baselines_kld_step_70000 \
        s-sahoo/duo s-sahoo/duo-distilled
    python -m benchmarks.published_tables text --device cuda --out runs/published
    python -m benchmarks.published_tables matched --device cuda --out runs/published
    python -m benchmarks.published_tables dplm --device cuda --out runs/published

Nothing is fetched here: models that are not in the cache of the hub are named and left out. `text`
is generative perplexity and entropy at 1,024 tokens under GPT-2 large, in the draws asked for,
beside the published rows; `matched` is the perplexity at the entropies of later tables, of 2 to 128
steps over temperatures from 0.80 to 1.10, beside what was published there; `dplm` is ESMFold's
pLDDT of DPLM's own sampler at 500 steps, by length, beside DPLM's. All go on where they stopped.
"""

import sys
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from didi_core.cli.run import run_program
from didi_core.commands.comparing.labels import label_of
from didi_core.errors import UserError
from didi_core.io.files import write_text
from didi_core.models.bundled import BundledModels
from didi_core.models.named import find_model

TEXT_MODELS = {
    "kuleshov-group/mdlm-owt": ("ancestral",),
    "jdeschena/sdtt@baselines_kld_step_50000": ("ancestral",),
    "jdeschena/sdtt@baselines_kld_step_70000": ("ancestral",),
    "haoyangzheng/didi-instruct-small": ("ancestral", "rgas"),
    "yresearch/MDLM-MMD-OWT": ("ancestral",),
    "s-sahoo/duo": ("ancestral", "greedy-tail"),
    "s-sahoo/duo-distilled": ("ancestral", "greedy-tail"),
}
"""Public weights of OpenWebText models, and the samplers of their tables.

Of SDTT's students, one of 10,000 updates a round, that of five rounds, as in the published row, and
the last."""
TEXT_STEPS = "8,16,32,64,128,1024"
MATCHED_STEPS = "2,4,8,16,32,64,128"
MATCHED_TEMPERATURES = "0.8,0.85,0.9,0.95,1,1.05,1.1"
ESMFOLD = "facebook/esmfold_v1"

app = typer.Typer(help=__doc__, pretty_exceptions_enable=False)
Out = Annotated[Path, typer.Option(help="Folder of samples, cells and tables.")]
Models = Annotated[
    str, typer.Option(help="Other names or folders, in place of the public ones: a,b.")
]
DeviceName = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N.")]


@app.command()
def text(
    out: Out,
    models: Models = "",
    device: DeviceName = "auto",
    num: Annotated[int, typer.Option(help="Samples of each cell.")] = 1_024,
    steps: Annotated[str, typer.Option(help="Denoising steps.")] = TEXT_STEPS,
    draws: Annotated[
        str, typer.Option(help="float64, or float32 as some papers drew.")
    ] = "float64",
    length: Annotated[int | None, typer.Option(help="Tokens of a sample.")] = None,
) -> None:
    """Generative perplexity and entropy of the public text models, beside the published rows."""
    from didi_text.benchmark import benchmark
    from didi_text.benchmarking.options import BenchmarkOptions
    from didi_text.benchmarking.table import printed

    result = benchmark(
        BenchmarkOptions(
            models=text_cells(models),
            out=out / f"text-{draws}",
            steps=steps,
            num=num,
            length=length,
            draws=draws,
            device=device,
            offline=True,
            resume=True,
        )
    )
    print(printed(result))


@app.command()
def matched(
    out: Out,
    models: Models = "",
    device: DeviceName = "auto",
    num: Annotated[int, typer.Option(help="Samples of each cell and temperature.")] = 1_024,
    steps: Annotated[str, typer.Option(help="Denoising steps.")] = MATCHED_STEPS,
    temperatures: Annotated[
        str, typer.Option(help="Sampling temperatures.")
    ] = MATCHED_TEMPERATURES,
    length: Annotated[int | None, typer.Option(help="Tokens of a sample.")] = None,
) -> None:
    """Perplexity at matched entropy of the public text models, beside the published rows."""
    from didi_text.benchmark import benchmark
    from didi_text.benchmarking.matched import matched_in_words
    from didi_text.benchmarking.options import BenchmarkOptions

    result = benchmark(
        BenchmarkOptions(
            models=text_cells(models),
            out=out / "matched",
            steps=steps,
            temperatures=temperatures,
            num=num,
            length=length,
            device=device,
            offline=True,
            resume=True,
        )
    )
    print(matched_in_words(result, whole=True))


def text_cells(models: str) -> str:
    """The `--models` of `benchmark`: those at hand of `models`, else of the public ones.

    Raises:
        UserError: there is none.
    """
    asked = {name: ("ancestral",) for name in models.split(",")} if models else TEXT_MODELS
    here = at_hand(list(asked), "didi-text")
    return ",".join(
        name if sampler == "ancestral" else f"{name}:{sampler}"
        for name in here
        for sampler in asked[name]
    )


@app.command()
def dplm(
    out: Out,
    models: Models = "",
    device: DeviceName = "auto",
    num: Annotated[int, typer.Option(help="Designs of each length.")] = 100,
    steps: Annotated[int, typer.Option(help="Steps of DPLM's sampler.")] = 500,
    lengths: Annotated[str, typer.Option(help="Residues.")] = "",
    fold: Annotated[str, typer.Option(help="ESMFold: folder or hub id.")] = ESMFOLD,
) -> None:
    """Mean all-atom pLDDT of DPLM by length, beside DPLM's published row."""
    from didi_protein.comparing.compare import DPLM_PLDDT, PUBLISHED_LENGTHS

    asked = models.split(",") if models else list(DPLM_PLDDT)
    wanted = [int(each) for each in lengths.split(",")] if lengths else list(PUBLISHED_LENGTHS)
    here = at_hand([*asked, fold], "didi-protein")
    if fold not in here:
        raise UserError(f"--fold {fold} is not at hand: nothing can be folded.")
    rows = [
        {"model": name, "length": length}
        | fold_set(name, length, out / "dplm", num=num, steps=steps, fold=fold, device=device)
        for name in here
        if name != fold
        for length in wanted
    ]
    table = pd.DataFrame(rows)
    table["published"] = [published_plddt(row.model, row.length) for row in table.itertuples()]
    write_text(out / "dplm" / "table.csv", table.to_csv(index=False))
    print(table.to_string(index=False))


def fold_set(
    model: str, length: int, out: Path, *, num: int, steps: int, fold: str, device: str
) -> dict[str, float]:
    """Designs of one length, folded: mean pLDDT over all atoms and C-alpha, how many folded."""
    from didi_protein.generate import generate
    from didi_protein.generating.options import GenerateOptions
    from didi_protein.score import score
    from didi_protein.scoring.options import ScoreOptions

    out.mkdir(parents=True, exist_ok=True)
    fasta = out / f"{label_of(model)}_{length}.fasta"
    shared = {"device": device, "offline": True, "resume": True}
    generate(
        GenerateOptions(
            model=model,
            num=num,
            length=str(length),
            steps=steps,
            sampler="dplm",
            out=fasta,
            **shared,
        )
    )
    csv = fasta.with_suffix(".csv")
    score(
        ScoreOptions(inputs=[str(fasta)], out=csv, judge="none", pseudo="none", fold=fold, **shared)
    )
    folded = pd.read_csv(csv)
    return {
        "mean_plddt_all_atom": float(folded["mean_plddt_all_atom"].mean()),
        "mean_plddt": float(folded["mean_plddt"].mean()),
        "folded": int(folded["mean_plddt"].notna().sum()),
    }


def published_plddt(model: str, length: int) -> float | None:
    """DPLM's figure of that model and length; None where there is none."""
    from didi_protein.comparing.compare import DPLM_PLDDT, PUBLISHED_LENGTHS

    if model not in DPLM_PLDDT or length not in PUBLISHED_LENGTHS:
        return None
    return DPLM_PLDDT[model][PUBLISHED_LENGTHS.index(length)]


def at_hand(names: list[str], program: str) -> list[str]:
    """The models that can be opened without the network; the others are named.

    Raises:
        UserError: there is none.
    """
    found, bundled = [], BundledModels(program.replace("-", "_"))
    for name in names:
        try:
            find_model(bundled, name, offline=True)
        except UserError:
            print(f"left out, not at hand: {name} ({program} download {name})", file=sys.stderr)
        else:
            found.append(name)
    if not found:
        raise UserError(
            f"None of these models is at hand. On a machine with network: {program} download "
            + " ".join(names)
        )
    return found


if __name__ == "__main__":
    sys.exit(run_program(lambda: app(standalone_mode=False), goes_on=True))
