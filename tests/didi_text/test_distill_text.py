"""`didi-text distill`: from a teacher to a student that writes, by data and by pool."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from text_fixtures import DOCUMENTS, tiny_tokenizer, write_jsonl
from text_models import LIMIT, sample, texts, weights_differ

from didi_core.commands.training.distill import DistillRun
from didi_core.errors import UserError
from didi_text.distill import distill, in_one_name
from didi_text.domain import TRAINING
from didi_text.models.load import open_model, tokenizer_of
from didi_text.settings import DistillSettings


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("data") / "some.jsonl", DOCUMENTS * 4)


def settings_for(teacher: Path, out: Path, **changes: Any) -> DistillSettings:
    values: dict[str, Any] = {
        "method": {"name": "dmmd"},
        "reference": "pool",
        "pool_size": 6,
        "pool_steps": 2,
        "pool_length": "12-20",
        "steps": 2,
        "tokens_per_batch": 128,
        "device": "cpu",
    }
    return DistillSettings(teacher=str(teacher), out=str(out), **{**values, **changes})


@pytest.mark.parametrize("method", ["dmmd", "didi", "mmd"])
def test_a_student_of_a_pool_writes(teacher: Path, tmp_path: Path, method: str) -> None:
    student = distill(settings_for(teacher, tmp_path / "s", method={"name": method}))
    opened = open_model(student)
    assert weights_differ(open_model(teacher).denoiser, opened.denoiser)
    assert tokenizer_of(opened).digest == tiny_tokenizer().digest
    own = json.loads((student / "config.json").read_text())["didi"]
    assert (own["teacher"], own["method"]) == (str(teacher), method)
    card = (student / "README.md").read_text()
    # What is not the default is named, also where it was given in part.
    chosen = "" if method == "dmmd" else f"method={method} "
    assert "6 samples of the teacher" in card and f"didi-text distill {chosen}teacher=" in card
    plain = sample(student, tmp_path / "a.jsonl")
    if method == "didi":
        guided = sample(student, tmp_path / "b.jsonl", sampler="rgas")
        assert texts(guided) != texts(plain)
        options = {"sampler": "rgas", "sampler_option": ["num_candidates=1"]}
        assert texts(sample(student, tmp_path / "c.jsonl", **options)) != texts(guided)


def test_a_student_of_data_sees_blocks_of_the_length_asked_for(
    teacher: Path, data: Path, tmp_path: Path
) -> None:
    settings = settings_for(
        teacher, tmp_path / "s", reference="data", data=str(data), max_length=16
    )
    blocks = TRAINING.load_corpus(settings, open_model(teacher), 16)
    assert set(blocks.lengths[:-1]) == {16} and blocks.lengths[-1] <= 16
    student = distill(settings)
    assert f"blocks of `{data}`" in (student / "README.md").read_text()
    assert weights_differ(open_model(teacher).denoiser, open_model(student).denoiser)


def test_settings_of_the_data_act(teacher: Path, tmp_path: Path) -> None:
    many = write_jsonl(tmp_path / "many.jsonl", DOCUMENTS * 300)  # encoded by the thousand

    def blocks(**changes: Any) -> int:
        common = {"reference": "data", "data": str(many), "max_length": 16}
        settings = settings_for(teacher, tmp_path, **common, **changes)
        return len(TRAINING.load_corpus(settings, open_model(teacher), 16))

    whole = blocks()
    assert blocks(licenses="public domain") < whole
    assert blocks(data_tokens=30) < whole


def test_a_pool_has_the_teacher_s_own_length_unless_told(teacher: Path, tmp_path: Path) -> None:
    for changes, expected in (
        ({"pool_length": None}, [LIMIT] * 6),
        ({"pool_length": None, "max_length": 30}, [30] * 6),
        ({"pool_length": "10,20"}, [10, 20] * 3),
    ):
        run = DistillRun(settings_for(teacher, tmp_path, **changes), TRAINING)
        assert TRAINING.pool_lengths(run.settings, run.longest(open_model(teacher))) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference": "data", "data": None}, "reference=data needs data=FILE"),
        ({"method": {"name": "best"}}, "method=best is unknown"),
        ({"seed": -1}, "seed=-1 must be from 0"),
        ({"pool_length": "65"}, f"past the model's limit of {LIMIT}"),
        ({"stream": True, "reference": "data", "data": "here.jsonl"}, "is a file here"),
        ({"teacher_name": "nobody/nothing", "offline": True}, "nobody/nothing"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(
    teacher: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    chosen = Path(changes.pop("teacher_name", teacher))
    with pytest.raises(UserError, match=message):
        distill(settings_for(chosen, tmp_path / "s", **changes))


def test_block_length_is_the_name_of_pretrain_for_max_length(teacher: Path, tmp_path: Path) -> None:
    asked = settings_for(teacher, tmp_path, pool_length=None, block_length=30)
    older = settings_for(teacher, tmp_path, pool_length=None, max_length=30)
    one, other = (DistillRun(in_one_name(each), TRAINING) for each in (asked, older))
    assert one.settings == other.settings
    assert one.longest(open_model(teacher)) == 30
    with pytest.raises(UserError, match="block_length=30 and max_length=20"):
        distill(settings_for(teacher, tmp_path, block_length=30, max_length=20))
    with pytest.raises(UserError, match="=0 must be"):
        distill(settings_for(teacher, tmp_path, block_length=0))


@pytest.mark.parametrize("method", ["dmmd", "didi"])
def test_a_distillation_that_has_not_ended_writes(
    teacher: Path, tmp_path: Path, method: str
) -> None:
    run = distill(settings_for(teacher, tmp_path / "run", method={"name": method}))
    sampler = {"sampler": "rgas"} if method == "didi" else {}
    finished = texts(sample(run, tmp_path / "a.jsonl", **sampler))
    (run / "config.json").unlink()
    assert texts(sample(run, tmp_path / "b.jsonl", **sampler)) == finished


def test_generate_takes_a_tokenizer_for_a_folder_without_one(teacher: Path, tmp_path: Path) -> None:
    spelling, bare = tmp_path / "spelling", tmp_path / "bare"
    tiny_tokenizer().save(spelling)
    shutil.copytree(teacher, bare)
    (bare / "tokenizer.json").unlink()
    prompt = {"prefix": "The cat", "tokenizer": str(spelling)}
    with_own = sample(teacher, tmp_path / "a.jsonl", prefix="The cat")
    assert texts(sample(bare, tmp_path / "b.jsonl", **prompt)) == texts(with_own)
    with pytest.raises(UserError, match=r"--tokenizer .*nowhere"):
        sample(bare, tmp_path / "c.jsonl", tokenizer=str(tmp_path / "nowhere"))
