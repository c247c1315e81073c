"""`didi-text generate` and `merge`: what comes out, that every flag acts, and what is refused."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from text_fixtures import DOCUMENTS, tiny_tokenizer, write_jsonl
from text_models import LIMIT, sample, texts
from typer.testing import CliRunner

from didi_core.commands.merge import MergeOptions, ShardsMissing
from didi_core.errors import UserError
from didi_core.io.journal import partial_path
from didi_text.app import app
from didi_text.corpora.documents import read_documents
from didi_text.merge import merge
from didi_text.samples.files import read_samples


def test_a_line_holds_id_provenance_and_text(model: Path, tmp_path: Path) -> None:
    result = sample(model, tmp_path / "s.jsonl.gz", num=3, length="20,30", seed=3)
    records = read_samples(result.out)
    assert [record["id"] for record in records] == [f"sample_00000{i}" for i in (1, 2, 3)]
    assert [record["length"] for record in records] == [20, 30, 20]
    for record in records:
        assert list(record) == [
            "id", "length", "model", "sampler", "steps", "nfe", "seed", "text", "ids",
        ]  # fmt: skip
        assert len(record["ids"]) == record["length"]
        assert tiny_tokenizer().decode(record["ids"]) == record["text"]
        assert (record["model"], record["sampler"]) == (str(model), "ancestral")
        assert record["steps"] == 4 and 1 <= record["nfe"] <= 4 and record["seed"] == 3
        assert tiny_tokenizer().encode(record["text"])
    summary = json.loads((tmp_path / "s.generate.json").read_text())
    assert summary["num_samples"] == result.num_made == 3
    assert summary["calls_made"] == sum(record["nfe"] for record in records)
    assert summary["settings"]["length"] == "20,30"
    assert not partial_path(result.out).exists()


CHANGES: list[dict[str, Any]] = [
    {"seed": 1},
    {"steps": 5},
    {"sampler": "first-hitting"},
    {"sampler": "dplm"},
    {"sampler": "remdm"},
    {"sampler": "saber"},
    {"sampler": "apart", "sampler_options": {"threshold": 0.2}},
    {"temperature": 0.3},
    {"top_p": 0.3},
    {"draws": "float32"},
    {"precision": "bf16"},
    {"grid": "published", "steps": 1},
    {"reveal_exponent": 3.0},
    {"num": 7},
    {"length": "20-22"},
    {"prefix": "The cat"},
    {"infill": "The ___{15} mat"},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_every_setting_changes_the_samples(
    model: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    usual = sample(model, tmp_path / "a.jsonl")
    changed = sample(model, tmp_path / "b.jsonl", **change)
    assert texts(changed) != texts(usual)


def test_batches_do_not_change_the_samples_and_what_is_done_stays(
    model: Path, tmp_path: Path
) -> None:
    usual = sample(model, tmp_path / "a.jsonl", num=20, length="10-40")
    other = sample(model, tmp_path / "b.jsonl", num=20, length="10-40", batch_tokens=1000)
    differing = [a != b for a, b in zip(texts(usual), texts(other), strict=True)]
    assert sum(differing) <= 1  # float32: a draw may lie within rounding of a boundary
    with pytest.raises(UserError, match="seed was 0, now 1"):
        sample(model, usual.out, num=20, length="10-40", seed=1, resume=True)
    written = usual.out.stat().st_mtime_ns
    again = sample(model, usual.out, num=20, length="10-40", resume=True)
    assert usual.out.stat().st_mtime_ns == written and again.num_made == 20


def test_a_prefix_is_kept_and_the_frame_is_not_shown(model: Path, tmp_path: Path) -> None:
    result = sample(model, tmp_path / "a.jsonl", prefix="The cat sat", num=4, length="12")
    for record in read_samples(result.out):
        assert record["text"].startswith("The cat sat")
        assert tiny_tokenizer().decode(record["ids"]) == record["text"]
        assert (record["template"], record["length"]) == ("The cat sat", 12)
    many = write_jsonl(tmp_path / "prefixes.jsonl", ["Dogs", "Cats"])
    made = read_samples(sample(model, tmp_path / "b.jsonl", prefix=str(many), num=2).out)
    assert [record["text"][:4] for record in made] == ["Dogs", "Dogs", "Cats", "Cats"]


def test_blanks_are_filled_and_the_rest_is_kept(model: Path, tmp_path: Path) -> None:
    def lengths(out: str, infill: str, **changes: Any) -> list[int]:
        result = sample(model, tmp_path / out, infill=infill, num=30, **changes)
        pieces = [re.escape(piece) for piece in re.split(r" ?_+(?:\{.*?\})?", infill)]
        records = read_samples(result.out)
        for record in records:
            assert re.fullmatch("(?s)" + ".*".join(pieces), record["text"]), record["text"]
        return [record["length"] for record in records]

    encode = tiny_tokenizer().encode
    kept = 1 + len(encode("The")) + len(encode(" sat."))
    assert set(lengths("a.jsonl", "The ___{5} sat.")) == {kept + 5}
    assert set(lengths("b.jsonl", "The ___{2-4} sat.")) == {kept + 2, kept + 3, kept + 4}
    assert set(lengths("c.jsonl", "The ___ sat.", length="25")) == {25}
    assert set(lengths("d.jsonl", "The ___ sat.___", length="25,26")) == {25, 26}


def test_plain_text_is_read_back_as_documents(model: Path, tmp_path: Path) -> None:
    lines = sample(model, tmp_path / "a.jsonl", temperature=0.7)
    plain = sample(model, tmp_path / "a2.txt", temperature=0.7)
    found = [text.removesuffix("\n") for text in read_documents(plain.out)]
    assert found == [text for text in texts(lines) if text.strip()]


def test_unique_redraws_and_counts_its_tries(model: Path, tmp_path: Path) -> None:
    narrow = {"length": "1", "num": 40, "temperature": 0.4, "batch_tokens": 4096}
    plain = sample(model, tmp_path / "a.jsonl", **narrow)
    unique = sample(model, tmp_path / "b.jsonl", unique=True, **narrow)
    assert len(set(texts(plain))) < 40
    assert unique.redraws > 0 and unique.num_made + len(unique.failed) == 40
    assert max(record.get("tries", 1) for record in read_samples(unique.out)) > 1


def test_shards_become_the_whole(model: Path, tmp_path: Path) -> None:
    whole = sample(model, tmp_path / "whole.jsonl", num=12)
    parts = [
        sample(model, tmp_path / f"part{i}.jsonl", num=12, shard=f"{i}/3").out for i in (3, 1, 2)
    ]
    result = merge(MergeOptions(shards=parts, out=tmp_path / "all.jsonl"))
    assert result.out.read_bytes() == whole.out.read_bytes()
    summary = json.loads(result.summary.read_text())
    assert summary["num_samples"] == result.num_records == 12
    merge(MergeOptions(shards=parts, out=tmp_path / "all.txt"))
    plain = sample(model, tmp_path / "plain.txt", num=12)
    assert (tmp_path / "all.txt").read_bytes() == plain.out.read_bytes()
    with pytest.raises(ShardsMissing, match="shard 2/3"):
        merge(MergeOptions(shards=parts[:2], out=tmp_path / "some.jsonl"))
    with pytest.raises(UserError, match=r"all\.jsonl exists"):
        merge(MergeOptions(shards=parts, out=tmp_path / "all.jsonl"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": None}, "--length is missing, as in --length 128"),
        ({"length": str(LIMIT + 1)}, f"65 tokens are past the model's limit of {LIMIT}"),
        ({"length": "x"}, "give tokens as 100, 50,100,200 or 80-120"),
        ({"prefix": "a", "infill": "___"}, "--prefix and --infill exclude each other"),
        ({"prefix": ""}, "--prefix '' holds no text"),
        ({"prefix": DOCUMENTS[0], "length": "4"}, "needs"),
        ({"prefix": "no_such.jsonl"}, "no file no_such.jsonl"),
        ({"infill": "no blank"}, "write ___ where something is to be filled in"),
        ({"infill": "a ___"}, "--length is missing: it says how much ___ is to hold"),
        ({"infill": "a ___{3}", "length": "9"}, "every blank has a size of its own"),
        ({"infill": "a ___{5-3}"}, "shortest first"),
        ({"infill": "a ___{99}"}, f"past the model's limit of {LIMIT}"),
        ({"steps": None}, "--steps is missing"),
        ({"without_noise": True}, "has no noise input"),
        ({"sampler_option": ["x=1"]}, "has no option"),
        ({"temperature": 0.0, "num": 0}, "--num 0 must be at least 1; --temperature 0 must be"),
        ({"out": Path("s.fasta")}, "the name must end in .jsonl, .txt"),
        ({"out": Path("s.txt"), "shard": "1/2"}, "shards are written as .jsonl"),
        ({"device": "abacus"}, "abacus"),
        ({"model": "nobody/nothing", "offline": True}, "nobody/nothing"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(
    model: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    out = tmp_path / changes.pop("out", "s.jsonl")
    with pytest.raises(UserError, match=re.escape(message)):
        sample(changes.pop("model", model), out, **changes)
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_the_command_line_prints_its_summary_and_is_refused_twice(
    model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "s.jsonl"
    arguments = ["generate", "--model", str(model), "--num", "2", "--length", "9", "--steps", "2"]
    runner = CliRunner()
    done = runner.invoke(app, [*arguments, "--out", str(out), "--json", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert '"num_samples": 2' in done.output
    again = runner.invoke(app, [*arguments, "--out", str(out)])
    assert isinstance(again.exception, UserError) and "exists" in str(again.exception)
    first = out.read_bytes()
    redone = runner.invoke(app, [*arguments, "--out", str(out), "--overwrite", "--seed", "5"])
    assert redone.exit_code == 0 and out.read_bytes() != first
    assert "2 samples in" in redone.output
