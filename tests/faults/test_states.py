"""Altered checkpoints, figures and weights that are not finite, and too little memory."""

import json
import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from didi_core.cli.run import run_program
from didi_core.data.batches import TokenBatch
from didi_core.errors import UserError
from didi_core.sampling import filling
from didi_core.training.checkpoints import Checkpoints
from didi_protein.app import app
from didi_protein.generate import generate
from didi_protein.generating.options import GenerateOptions
from didi_protein.pretrain import pretrain
from didi_protein.settings import ModelSettings, PretrainSettings

DAMAGES = {
    "cut short": lambda content: content[: len(content) // 2],
    "zeroed": lambda content: bytes(len(content)),
    "zeroed at the end": lambda content: content[:-64] + bytes(64),
    "one bit": lambda content: content[:-5] + bytes([content[-5] ^ 1]) + content[-4:],
    "empty": lambda _: b"",
    "other bytes": lambda _: b"not a checkpoint" * 50,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_altered_checkpoint_is_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    checkpoints = Checkpoints(tmp_path)
    paths = [
        checkpoints.save(step, {"method": {"w": torch.full((100,), step * 1.5)}})
        for step in (10, 20)
    ]
    paths[1].write_bytes(DAMAGES[damage](paths[1].read_bytes()))
    assert checkpoints.load_latest()["step"] == 10
    said = capsys.readouterr().err
    assert paths[1].name in said and "Falling back to the checkpoint before it" in said
    paths[0].write_bytes(DAMAGES[damage](paths[0].read_bytes()))
    with pytest.raises(UserError, match=r"None of the checkpoints in .* overwrite=true"):
        checkpoints.load_latest()


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    good = checkpoints.save(10, {"method": {"w": torch.ones(3)}})
    bad = {"method": {"network": {"w": torch.tensor([1.0, torch.nan])}}}
    with pytest.raises(
        UserError, match=rf"after step 11: method\.network\.w is not finite.*{good.name}.*resume"
    ):
        checkpoints.save(11, bad)
    assert list(checkpoints.folder.iterdir()) == [good]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> PretrainSettings:
    """A finished run of four updates."""
    place = tmp_path_factory.mktemp("run")
    fasta = place / "natural.fasta"
    fasta.write_text("".join(f">{i}\nMKTAYIAKQR{'ACDEFGHIKL'[i]}\n" for i in range(10)))
    settings = PretrainSettings(
        data=str(fasta),
        out=str(place / "run"),
        steps=4,
        tokens_per_batch=64,
        checkpoint_every=2,
        device="cpu",
        model=ModelSettings(num_layers=1, hidden_size=8, num_heads=2, intermediate_size=16),
    )
    pretrain(settings)
    return settings


def test_a_loss_that_is_not_finite_ends_the_command_and_spoils_nothing(
    trained: PretrainSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(trained.out)
    before = {path: path.read_bytes() for path in folder.rglob("*.safetensors")}
    names = ("num_layers", "hidden_size", "num_heads", "intermediate_size")
    shape = [f"model.{name}={getattr(trained.model, name)}" for name in names]
    arguments = [
        *("pretrain", f"data={trained.data}", f"out={folder}", "steps=40", "resume=true"),
        *("tokens_per_batch=64", "checkpoint_every=50", "device=cpu", "optimizer.lr=1e30"),
        *("optimizer.warmup_steps=1", *shape),
    ]
    status = run_program(lambda: app(arguments, standalone_mode=False))
    said = capsys.readouterr().err
    assert status == 2, said
    assert "Traceback" not in said and "resume=true" in said
    assert re.search(r"stopped (at|after) step \d+: .*not finite", said), said
    assert "step 4" in said or "step_00000004" in said, "the last good checkpoint is named"
    assert {path: path.read_bytes() for path in folder.rglob("*.safetensors")} == before


def test_no_good_checkpoint_ends_the_command_with_status_2(
    trained: PretrainSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "step_00000002.safetensors").write_bytes(bytes(500))
    arguments = ["pretrain", f"data={trained.data}", f"out={folder}", "resume=true", "device=cpu"]
    assert run_program(lambda: app(arguments, standalone_mode=False)) == 2
    said = capsys.readouterr().err
    assert "None of the checkpoints" in said and "overwrite=true" in said
    assert "Traceback" not in said


MEMORY = {
    "of a GPU": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "of a processor": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"),
    "of Python": MemoryError(),
}


@pytest.mark.parametrize("kind", MEMORY)
def test_too_little_memory_halves_the_batch_and_changes_nothing(
    trained: PretrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def design(name: str) -> bytes:
        out = tmp_path / f"{name}.fasta"
        generate(
            GenerateOptions(
                model=trained.out, num=12, length="9", steps=3, out=out, device="cpu", quiet=True
            )
        )
        return out.read_bytes()

    whole, seen = design("whole"), []
    pad = filling.pad_batch

    def small(rows: list[list[int]], *more: object) -> TokenBatch:
        seen.append(len(rows))
        if len(rows) > 4:
            raise MEMORY[kind]
        return pad(rows, *more)

    monkeypatch.setattr(filling, "pad_batch", small)
    assert design("small") == whole
    assert max(seen) == 12 and seen.count(3) == 4


def test_config_of_a_model_never_runs_its_code(trained: PretrainSettings, tmp_path: Path) -> None:
    """`auto_map` names code that transformers would import from the folder, if it were trusted."""
    mark = tmp_path / "mark"
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')")
    for name in ("EsmConfig", "EvilConfig"):
        config = json.loads((Path(trained.out) / "config.json").read_text())
        config |= {
            "model_type": "esm" if name == "EsmConfig" else "evil",
            "architectures": ["EvilForCausalLM"],
            "auto_map": {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"},
        }
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "model.safetensors").write_bytes(
            (Path(trained.out) / "model.safetensors").read_bytes()
        )
        for flag in ("--judge", "--pseudo"):
            other = "--pseudo" if flag == "--judge" else "--judge"
            result = CliRunner().invoke(
                app,
                [
                    *("score", trained.data, "--out", str(tmp_path / "s.csv"), flag, str(folder)),
                    *(other, "none", "--device", "cpu", "--overwrite"),
                ],
            )
            assert isinstance(result.exception, UserError), result.exception
    assert not mark.exists()
