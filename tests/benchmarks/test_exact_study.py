"""The study's jobs: keys, order, skipping, limits; and one tiny study run through."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.exact import jobs as jobs_module
from benchmarks.exact import study, sweep
from benchmarks.exact.ablation import ablation, ablation_methods
from benchmarks.exact.ablation_figure import ablation_figure
from benchmarks.exact.ablation_table import ablation_tables
from benchmarks.exact.figures import write_figures
from benchmarks.exact.jobs import run_job
from benchmarks.exact.measures import truth_of
from benchmarks.exact.models import METHODS, UPDATES
from benchmarks.exact.paired_families import PairedFamilies
from benchmarks.exact.runner import Runner, missing_jobs
from benchmarks.exact.study import Job, duality, full, parse_key, quick, with_needs
from benchmarks.exact.training import Scale, student_settings
from didi_core.distill.registry import method_settings
from didi_core.errors import UserError


def tiny_process() -> PairedFamilies:
    return PairedFamilies(
        num_families=2, columns=(8, 9), pairs=(2, 2), least_range=3, tail=1, max_length=16, seed=4
    )


@pytest.fixture
def tiny_study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The study with one tiny process, its results in a folder of its own."""
    monkeypatch.setattr(study, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(study, "PROCESSES", {"pairs": tiny_process})
    for module in ("jobs", "training", "figures", "table"):
        monkeypatch.setattr(f"benchmarks.exact.{module}.PROCESSES", {"pairs": tiny_process})
    scale = Scale(100, 1, 32, 2, 1, 1, 128, 5, 128, 16, "float32")  # DCD has 5 rounds
    train_teacher, train_student = jobs_module.train_teacher, jobs_module.train_student
    monkeypatch.setattr(
        jobs_module, "train_teacher", lambda job, runs: train_teacher(job, runs, scale)
    )
    monkeypatch.setattr(
        jobs_module, "train_student", lambda job, runs: train_student(job, runs, scale)
    )
    monkeypatch.setattr(jobs_module, "truth_of", lambda process: truth_of(process, 200))
    monkeypatch.setattr(jobs_module, "NUM_SAMPLES", 24)
    monkeypatch.setattr(sweep, "FEWER", 24)
    monkeypatch.setattr(sweep, "TEMPERATURES", (0.8, 1.2))
    monkeypatch.setattr(jobs_module, "BOUND_STEPS", (1, 4))
    monkeypatch.setattr(jobs_module, "BOUND_SEQUENCES", 20)
    return tmp_path


def test_keys_name_jobs_and_their_files() -> None:
    job = parse_key("pairs/dmmd/2/16-late")
    assert job == Job("pairs", "dmmd", 2, "16-late")
    assert job.steps == 16 and job.variant.reveal_exponent == 2.0
    assert job.result.name == "dmmd.2.16-late.json" and job.result.parent.name == "pairs"
    assert parse_key("pairs/teacher/0/limit").steps is None
    assert parse_key("profiles/truth").key == "profiles/truth"
    for job in quick() + full() + duality() + ablation():
        assert parse_key(job.key) == job
    for key in ("pairs/duo/0/limit", "pairs/teacher/0/8-psi", "pairs/dcd/0/8-remdm"):
        with pytest.raises(UserError, match=r"draws no (absorbing|uniform) model"):
            parse_key(key)
    for wrong in ("nothing/truth", "pairs/dmmd", "pairs/other/0/8", "pairs/dmmd/0/8-x", "pairs"):
        with pytest.raises(UserError):
            parse_key(wrong) if wrong != "pairs/dmmd" else parse_key(wrong + "/0")


def test_quick_is_what_it_promises_and_part_of_full() -> None:
    keys = {job.key for job in quick()}
    for process in study.PROCESSES:
        for steps in ("8", "16"):
            for model in ("teacher", "didi-paper", "dmmd"):
                assert f"{process}/{model}/0/{steps}" in keys
        assert f"{process}/teacher/0/limit" in keys
    assert keys <= {job.key for job in full()}
    ordered = [job.key for job in with_needs(quick())]
    for job in with_needs(quick()):
        for need in job.needs():
            assert ordered.index(need.key) < ordered.index(job.key)


def test_every_student_s_settings_are_known_to_its_method(tmp_path: Path) -> None:
    seen = {}
    assert set(ablation_methods()) < set(METHODS)
    for name in METHODS:
        job = Job("pairs", name, 0, "train")
        settings = student_settings(job, tmp_path / "teacher", tmp_path, Scale(num_training=10))
        seen[name] = repr((settings.steps, method_settings(settings.method)))
    assert len(set(seen.values())) == len(seen)  # no two are the same student
    paper = student_settings(
        Job("pairs", "didi-paper", 0, "train"), tmp_path, tmp_path, Scale(num_training=10)
    )
    assert paper.method["student"]["lr"] == 1e-6
    assert paper.method["student"]["warmup_steps"] == Scale().student_updates // 10
    assert paper.steps == Scale().student_updates and paper.preset == "paper"


def cell(model: str, seed: int, gap: float, task: str = "8") -> dict:
    figures = {
        "signed_gap": {"mean": gap},
        "family_tv": {"mean": 0.25},
        "pooled_3mer_entropy": {"mean": 4.0},
        "pooled_3mer_entropy_of_process": {"mean": 8.0},
    }
    job = {"process": "profiles", "model": model, "seed": seed, "task": task}
    return {"job": job, "figures": figures}


def test_the_ablation_s_figure_has_a_point_a_student_and_seed() -> None:
    cells = [cell("didi-all", 0, 0.5), cell("didi-all", 1, 0.25), cell("teacher", 0, 0.9)]
    figure = ablation_figure([*cells, cell("sdtt", 0, 0.7), cell("didi-all", 0, 0.1, "16")])
    (panel,) = figure.axes
    points = [line.get_ydata()[0] for line in panel.lines if line.get_marker() in ("o", "s", "^")]
    assert points == [0.5, 0.25, 0.9]
    named = {text.get_text() for text in panel.texts}
    words = [text.get_text() for text in panel.get_legend().get_texts()]
    assert any(word == f"{named.difference({''}).pop()}  + regulariser (all)" for word in words)
    assert ablation_figure([cell("dmmd", 0, 0.5)]) is None


def test_the_ablation_s_tables_name_each_component_with_its_seeds() -> None:
    found = ablation_tables(
        [
            cell("didi-all", 1, 0.125),
            cell("didi-all", 0, 0.5),
            cell("didi-all", 0, -0.5, "8-rgas"),
            cell("didi-without-omega", 0, 0.75),
            cell("dmmd", 0, 0.9),
        ]
    )
    assert "| + regulariser (all) | 0.500, 0.125 | 0.250, 0.250 | 0.500, 0.500 | 88.3 |" in found
    assert "| + RGAS | -0.500 | 0.250 | 0.500 | 62.2 |" in found
    assert "| without omega | 0.750 | 0.250 | 0.500 |" in found
    assert "without pi" not in found and "0.900" not in found
    assert ablation_tables([cell("dmmd", 0, 0.9)]) == ""


def test_done_jobs_are_skipped_and_weights_are_trained_again_only_where_needed(
    tiny_study: Path,
) -> None:
    assert study.RESULTS.parent == tiny_study
    plan = [Job("pairs", "teacher", 0, "8"), Job("pairs", "teacher", 0, "16")]
    keys = [job.key for job in missing_jobs(plan)]
    assert keys == ["pairs/truth", "pairs/teacher/0/train", *[job.key for job in plan]]
    for key in keys[:3]:
        result = parse_key(key).result
        result.parent.mkdir(parents=True, exist_ok=True)
        result.write_text("{}")
    without_weights = [job.key for job in missing_jobs(plan, trained=lambda _: False)]
    assert without_weights == ["pairs/teacher/0/train", "pairs/teacher/0/16"]
    assert [j.key for j in missing_jobs(plan, trained=lambda _: True)] == ["pairs/teacher/0/16"]
    plan[1].result.write_text("{}")
    assert missing_jobs(plan, trained=lambda _: False) == []


def script(job: Job, code: str) -> subprocess.Popen:
    del job
    return subprocess.Popen([sys.executable, "-c", code])


def test_the_runner_names_what_failed_and_leaves_out_what_needs_it() -> None:
    jobs = with_needs([Job("pairs", "dmmd", 0, "8"), Job("profiles", "truth")])
    started = []

    def start(job: Job) -> subprocess.Popen:
        started.append(job.key)
        return script(job, "raise SystemExit(3)" if job.model == "teacher" else "pass")

    failed = Runner(start, at_once=2, pause=0.02).run(jobs)
    assert failed == {
        "pairs/teacher/0/train": "exit status 3",
        "pairs/dmmd/0/train": "needs pairs/teacher/0/train",
        "pairs/dmmd/0/8": "needs pairs/dmmd/0/train",
    }
    assert set(started) == {"pairs/truth", "pairs/teacher/0/train", "profiles/truth"}


def test_the_runner_ends_a_job_past_its_limit() -> None:
    runner = Runner(lambda job: script(job, "import time; time.sleep(60)"), 1, 0.2, pause=0.02)
    assert "run again" in runner.run([Job("pairs", "truth")])["pairs/truth"]
    assert not runner.running


def test_a_tiny_study_runs_through_and_is_not_run_twice(tiny_study: Path, monkeypatch) -> None:
    runs = tiny_study / "runs"
    monkeypatch.setitem(UPDATES, "dmmd-long", 3)
    plan = [
        Job("pairs", "bound"),
        Job("pairs", "process", 0, "draws"),
        Job("pairs", "exact", 0, "4"),
        Job("pairs", "dmmd", 0, "4"),
        Job("pairs", "teacher", 0, "limit"),
        Job("pairs", "frontier", 0, "4"),
        Job("pairs", "dcd", 0, "4-greedy-tail"),
        Job("pairs", "frontier-noise", 0, "4"),
        Job("pairs", "exact", 0, "4-late"),
    ]
    for job in with_needs(plan):
        run_job(job, runs)
    results = tiny_study / "results"
    cell = json.loads((results / "pairs" / "dmmd.0.4.json").read_text())
    assert cell["settings"]["draws"] == "float64" and cell["settings"]["reveal_exponent"] == 2.0
    assert cell["figures"]["n"] == 24 and 0 < cell["cost"]["mean_nfe"] <= 4
    assert cell["figures"]["gap"]["mean"] > 0.3  # five updates teach nothing
    limit = json.loads((results / "pairs" / "teacher.0.limit.json").read_text())
    assert limit["cost"]["mean_nfe"] > 8 and limit["settings"]["sampler"] == "first-hitting"
    teacher = json.loads((results / "pairs" / "teacher.0.train.json").read_text())
    assert teacher["training"]["bound_above_truth"] > 0
    duo = json.loads((results / "pairs" / "duo.0.train.json").read_text())
    assert duo["training"]["bound"] != teacher["training"]["bound"]
    student = json.loads((results / "pairs" / "dcd.0.4-greedy-tail.json").read_text())
    assert student["settings"]["sampler"] == "greedy-tail" and student["cost"]["mean_nfe"] == 4
    swept = json.loads((results / "pairs" / "frontier.0.4.json").read_text())["frontier"]
    point = swept["frontiers"]["teacher, 4 steps, apart-late"]["points"][0]
    assert point["temperature"] == 0.8 and 0 < point["mean_nfe"] <= 4
    assert 0 < point["family_tv"]["mean"] < 1 and "broken_above_true" in point
    assert list(swept["frontiers"]) == [
        "teacher, 64 steps, ancestral",
        "teacher, 4 steps, apart-late",
        "didi-paper, 4 steps, ancestral",
        "dmmd, 4 steps, ancestral",
        "dmmd-long, 4 steps, apart",
    ]
    noises = json.loads((results / "pairs" / "frontier-noise.0.4.json").read_text())["frontier"]
    kinds = {name.partition(",")[0] for name in noises["frontiers"]}
    assert noises["baseline"] == "teacher, 4 steps, ancestral" and kinds == {
        "teacher",
        "duo",
        "dcd",
        "dmmd-uniform",
    }
    write_figures(results)
    for name in ("measures.png", "bound.png", "frontier_pairs_0.png", "frontier-noise_pairs_0.png"):
        assert (results / name).stat().st_size > 5_000
    assert "| dmmd | 4 | 0 |" in (results / "table.md").read_text()
    before = (results / "pairs" / "dmmd.0.4.json").stat().st_mtime_ns
    run_job(parse_key("pairs/dmmd/0/4"), runs)
    assert (results / "pairs" / "dmmd.0.4.json").stat().st_mtime_ns == before
