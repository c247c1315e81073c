r"""The whole recipe of OpenWebText at toy size: raw documents in, one table out (docs/text.md).

    python -m benchmarks.toy_owt train.jsonl.gz --valid valid.jsonl.gz --out runs/toy
    python -m benchmarks.toy_owt train.jsonl.gz --valid valid.jsonl.gz --out runs/toy \
        --zero-shot lambada=lambada.jsonl --updates 1000 --student-updates 200

Recipes owt, owt-duo, owt-sedd and owt-ar with a small network and the bundled tokenizer, students
by SDTT and DCD, the bound of each on held-out and zero-shot text, and all in `benchmark`. The table
shows that the way works; its figures mean nothing beyond that. Run again, it goes on where it
stopped.
"""

import resource
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from didi_core.cli.hydra_app import compose_settings
from didi_core.cli.run import run_program
from didi_core.io.files import write_text

RECIPES = ("owt", "owt-duo", "owt-sedd", "owt-ar")
STUDENTS = {"owt-sdtt": ("owt", "sdtt"), "owt-dcd": ("owt-duo", "dcd")}
"""Names of the students, their teachers, and the methods."""
BASELINE = "owt-ar"
ROWS = ("owt", "owt-duo", "owt-sedd", "owt-sdtt", "owt-dcd", "owt-dcd:greedy-tail")
SHAPE = ("model.num_layers=2", "model.hidden_size=128", "model.num_heads=4")

app = typer.Typer(help=__doc__, pretty_exceptions_enable=False)


@app.command()
def toy(
    data: Annotated[Path, typer.Argument(help="Documents: .jsonl (key text) or .txt, or .gz.")],
    valid: Annotated[Path, typer.Option(help="Held-out documents.")],
    out: Annotated[Path, typer.Option(help="Folder of models, samples and the table.")],
    updates: Annotated[int, typer.Option(help="Of each recipe.")] = 200,
    student_updates: Annotated[int, typer.Option(help="Of each student.")] = 50,
    tokens: Annotated[int, typer.Option(help="Of an update, in four passes.")] = 2_048,
    num: Annotated[int, typer.Option(help="Samples of each row, and blocks of each bound.")] = 64,
    steps: Annotated[str, typer.Option(help="Denoising steps.")] = "8,16,32",
    length: Annotated[int, typer.Option(help="Tokens of a block, and of a sample.")] = 128,
    max_batch: Annotated[int, typer.Option(help="Largest batch that is timed.")] = 4,
    zero_shot: Annotated[
        str | None, typer.Option(help="Sets as of evaluate --task zeroshot --data.")
    ] = None,
) -> None:
    """Pretrain, distil, measure and tabulate."""
    shared = shared_settings(data, tokens, length, updates)
    for recipe in RECIPES:
        pretrain(recipe, valid, updates, [f"out={out / recipe}", *shared])
    for student, (teacher, method) in STUDENTS.items():
        distill(out / teacher, method, student_updates, [f"out={out / student}", *shared])
    texts = {"bound": str(valid)} | ({} if zero_shot is None else {"zeroshot": zero_shot})
    measured = (*RECIPES, *STUDENTS)
    bounds = {name: bounds_of(out / name, texts, length, limit=num) for name in measured}
    record = benchmark(out, steps, num, length, max_batch)
    table = table_of(record["rows"], bounds)
    write_text(out / "table.csv", table.to_csv(index=False))
    shown = markdown(table)
    write_text(out / "table.md", shown + "\n")
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = used.ru_utime + used.ru_stime
    print(f"\n{shown}\n\nTable   {out / 'table.md'} ({seconds:.0f} processor seconds)")


def shared_settings(data: Path, tokens: int, length: int, updates: int) -> tuple[str, ...]:
    """Return what `pretrain` and `distill` are told alike; no more is encoded than is seen."""
    passes = (f"tokens_per_batch={tokens}", f"tokens_per_pass={max(length, tokens // 4)}")
    text = (f"data={data}", f"data_tokens={tokens * updates}", f"block_length={length}")
    here = ("precision=float32", "device=cpu", "resume=true", "offline=true")
    return (*text, *passes, *here)


def pretrain(recipe: str, valid: Path, updates: int, shared: Sequence[str]) -> None:
    """Train one recipe; only what its size forbids is told otherwise."""
    from didi_text.pretrain import pretrain as run
    from didi_text.settings import PretrainSettings

    small = (*SHAPE, "tokenizer=tiny", f"steps={updates}")
    short = (f"optimizer.warmup_steps={updates // 10}", "optimizer.lr=0.003", "ema=0.98")
    curriculum = [f"gaussian.steps={updates // 2}"] if recipe == "owt-duo" else []
    given = (f"recipe={recipe}", f"valid={valid}", "valid_blocks=16", *small, *short, *curriculum)
    run(compose_settings("text_pretrain", PretrainSettings, [*given, *shared]))


def distill(teacher: Path, method: str, updates: int, shared: Sequence[str]) -> None:
    """Distil one student in five rounds, as published."""
    from didi_text.distill import distill as run
    from didi_text.settings import DistillSettings

    given = (f"teacher={teacher}", f"method={method}", "reference=data", f"steps={updates}")
    rounds = ("method.rounds=5", "method.student.lr=0.0003", "method.student.warmup_steps=0")
    less = ("method.ema=0.9", "verdict=false")
    run(compose_settings("text_distill", DistillSettings, [*given, *rounds, *less, *shared]))


def bounds_of(model: Path, texts: Mapping[str, str], length: int, limit: int) -> dict[str, float]:
    """Return the perplexity, or its bound, of one model on held-out text and zero-shot sets.

    Args:
        texts: by task of `evaluate`.
    """
    from didi_text.evaluate import evaluate
    from didi_text.evaluating.options import EvaluateOptions

    found: dict[str, float] = {}
    for task, data in texts.items():
        options = EvaluateOptions(
            model=str(model),
            task=task,
            data=data,
            block_length=length,
            limit=limit,
            out=model.with_name(f"{model.name}.{task}.json"),
            device="cpu",
            resume=True,
            quiet=True,
        )
        figures = evaluate(options).figures
        sets = figures.get("sets", {"": {"title": "held out", **figures.get("figures", {})}})
        found |= {each["title"]: each["perplexity"] for each in sets.values()}
    return found


def benchmark(out: Path, steps: str, num: int, length: int, max_batch: int) -> Mapping[str, Any]:
    """Return the record of all models at every number of steps, judged by the bundled judge."""
    from didi_text.benchmark import benchmark as run
    from didi_text.benchmarking.options import BenchmarkOptions

    return run(
        BenchmarkOptions(
            models=",".join(str(out / name) for name in ROWS),
            out=out / "study",
            steps=steps,
            baseline=str(out / BASELINE),
            judge="tiny-judge",
            num=num,
            length=length,
            repeats=1,
            max_batch=max_batch,
            device="cpu",
            resume=True,
            offline=True,
        )
    ).record


def table_of(
    rows: Iterable[Mapping[str, Any]], bounds: Mapping[str, Mapping[str, float]]
) -> pd.DataFrame:
    """Join what was measured of samples with the likelihoods of their models."""
    return pd.DataFrame(
        {
            "model": row["model"],
            "sampler": row["sampler"],
            "steps": "" if row["steps"] is None else str(row["steps"]),
            "calls": row["calls"],
            "generative perplexity": row["perplexity"],
            "entropy": row["entropy"],
            **{f"perplexity, {title}": value for title, value in bounds[row["model"]].items()},
        }
        for row in rows
    )


def markdown(table: pd.DataFrame) -> str:
    """Write a table as Markdown, numbers with two decimals."""
    cells = [list(table.columns), ["---"] * len(table.columns)]
    cells += [[_cell(value) for value in row] for row in table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _cell(value: Any) -> str:
    if value is None or value != value:  # a missing number is not equal to itself
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(run_program(lambda: app(standalone_mode=False), goes_on=True))
