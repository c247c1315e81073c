"""A real task by lm-evaluation-harness's own model and by ours: topics of AG News.

    python -m benchmarks.harness_task ag_news_test.csv.gz --num 500 --out harness.json

Every question is a title and its text; the four choices are the topics. The harness's own model
(`HFLM`, float32) and ours answer the same questions with the same weights, of an autoregressive
folder; `--masked` adds masked models by their bound, which the harness has no model for. Needs
lm-eval with its extra hf. docs/text-evaluation.md has the figures.
"""

import csv
import gzip
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from didi_core.cli.run import run_program
from didi_core.errors import UserError, missing_extra
from didi_core.evaluation.bootstrap import bootstrap_mean
from didi_core.io.files import write_json
from didi_core.training.run_folder import git_revision, package_versions
from didi_text.evaluating.choice import choose, harness_model, read_questions
from didi_text.evaluating.likelihood import BoundSettings
from didi_text.models.load import BUNDLED_MODELS, describe_model
from didi_text.models.writers import open_language_model

TOPICS = ("World", "Sports", "Business", "Science and technology")
TASK = """
task: news_topic
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{context}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list:
  - metric: acc
  - metric: acc_norm
"""


@dataclass(frozen=True)
class Answered:
    """What one model answers."""

    log_likelihoods: np.ndarray
    """[questions, choices], nats."""
    figures: Mapping[str, Any]
    """acc and acc_norm as the harness computes them."""


def main(
    data: Annotated[Path, typer.Argument(help="AG News: class (1 to 4), title, text a line.")],
    out: Annotated[Path, typer.Option(help="JSON to write.")],
    model: Annotated[str, typer.Option(help="Autoregressive: folder or bundled.")] = "tiny-judge",
    masked: Annotated[str, typer.Option(help="Masked models, between commas.")] = "tiny",
    num: Annotated[int, typer.Option(help="Questions, spread evenly over the file.")] = 500,
    mask_draws: Annotated[int, typer.Option(help="Of the bound, for each choice.")] = 32,
    seed: Annotated[int, typer.Option(help="Of masks and intervals.")] = 0,
) -> None:
    """Answer with every model; write one JSON, print one table."""
    settings = BoundSettings(draws=mask_draws, spread="draws", seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        questions = Path(folder) / "questions.jsonl"
        records = write_questions(data, questions, num)
        ours = open_language_model(model)
        theirs = by_the_harness(own_harness_model(model), questions)
        same = by_the_harness(harness_model(ours, settings), questions)
        built_in = choose(ours, read_questions(questions), settings)
        others = {}
        for name in filter(None, masked.split(",")):
            other = open_language_model(name)
            answered = by_the_harness(harness_model(other, settings), questions)
            others[name] = accuracies(answered, seed) | {"model": describe_model(other)}
    record = {
        "num_questions": len(records),
        "chance": 1 / len(TOPICS),
        "harness": accuracies(theirs, seed),
        "ours": accuracies(same, seed),
        "built_in": {key: built_in[key] for key in ("accuracy", "accuracy_per_character")},
        "largest_difference_nats": difference(theirs, same),
        "model": describe_model(ours),
        "masked": others,
        "versions": package_versions() | {"lm-eval": harness_version()},
        "git_revision": git_revision(),
    }
    write_json(out, record)
    show(record)


def write_questions(data: Path, path: Path, num: int) -> list[dict[str, Any]]:
    """Write questions as JSONL; return them.

    Raises:
        UserError: a file without such lines.
    """
    with gzip.open(data, "rt", encoding="utf-8") if data.suffix == ".gz" else data.open() as file:
        rows = list(csv.reader(file))
    if not rows or any(len(row) != 3 or row[0] not in {"1", "2", "3", "4"} for row in rows):
        raise UserError(f"{data}: give AG News's CSV, class (1 to 4), title and text a line.")
    chosen = np.linspace(0, len(rows) - 1, min(num, len(rows))).astype(int)
    records = [
        {
            "context": f"{title.strip()} {' '.join(text.split()[:60])}\nTopic:",
            "choices": list(TOPICS),
            "answer": int(topic) - 1,
        }
        for topic, title, text in (rows[each] for each in chosen)
    ]
    path.write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")
    return records


def by_the_harness(model: Any, questions: Path) -> Answered:
    """Let the harness put the questions to `model`, one of its `LM`s, and compute its figures."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "news_topic.yaml").write_text(TASK.format(data=questions))
        manager = TaskManager(include_path=folder, include_defaults=False)
        found = lm_eval.simple_evaluate(
            model=model, tasks=["news_topic"], task_manager=manager, log_samples=True
        )
    samples = sorted(found["samples"]["news_topic"], key=lambda each: each["doc_id"])
    answers = [[float(each[0]) for each in sample["filtered_resps"]] for sample in samples]
    figures = {name: [float(sample[name]) for sample in samples] for name in ("acc", "acc_norm")}
    means = found["results"]["news_topic"]
    assert all(np.isclose(means[f"{name},none"], np.mean(figures[name])) for name in figures)
    return Answered(np.array(answers), figures)


def own_harness_model(name: str) -> Any:
    """Return the harness's own model of a folder or of a bundled one."""
    try:
        from lm_eval.models.huggingface import HFLM
    except ImportError as error:
        raise missing_extra("lm-eval", "harness") from error
    folder = Path(name) if Path(name).exists() else BUNDLED_MODELS.path_of(name)
    return HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=8)


def accuracies(answered: Answered, seed: int) -> dict[str, Any]:
    """Return acc and acc_norm with their intervals (95%, bootstrap over questions)."""
    return {
        name: bootstrap_mean(values, seed).as_dict() for name, values in answered.figures.items()
    }


def difference(one: Answered, other: Answered) -> float:
    """Return the largest difference of two models' log-likelihoods, nats."""
    return float(np.abs(one.log_likelihoods - other.log_likelihoods).max())


def harness_version() -> str:
    from importlib.metadata import version

    return version("lm-eval")


def show(record: Mapping[str, Any]) -> None:
    """Print a row for each model."""
    rows: Sequence[tuple[str, Any]] = [
        ("harness", record["harness"]),
        ("ours", record["ours"]),
        *record["masked"].items(),
    ]
    for name, found in rows:
        values = [
            f"{key} {found[key]['mean']:.4f} [{found[key]['low']:.4f}, {found[key]['high']:.4f}]"
            for key in ("acc", "acc_norm")
        ]
        print(f"{name:12} {'  '.join(values)}")
    print(f"largest difference of log-likelihoods {record['largest_difference_nats']:.2g} nats")


if __name__ == "__main__":
    app = typer.Typer(help=__doc__, pretty_exceptions_enable=False)
    app.command()(main)
    sys.exit(run_program(lambda: app(standalone_mode=False)))
