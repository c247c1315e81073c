"""The worked example of docs/adding-a-method.md, run as it stands there."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from doc_commands import files_of
from tiny_models import FRAMED, cpu_fabric, tiny_corpus, tiny_denoiser

from didi_core.distill import registry
from didi_core.distill.reference import GroupedReference
from didi_core.distill.registry import method_settings
from didi_core.errors import UserError
from didi_core.models.noise import without_noise
from didi_core.training.checkpoints import Checkpoints
from didi_core.training.loop import LoopSettings, train

FILES = files_of("adding-a-method.md")


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The page's file as a module, and its entry in the registry."""
    module = ModuleType("didi_core.distill.mine")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # dataclasses look it up
    source = FILES["didi_core/distill/mine.py"]
    exec(compile(source, "mine.py", "exec"), module.__dict__)
    monkeypatch.setitem(registry.METHODS, "mine", module.ENTRY)
    return module


def test_what_is_wrong_with_its_settings_is_named(mine: ModuleType) -> None:
    del mine
    with pytest.raises(UserError, match=r"method.kl_kind=both must be forward or backward"):
        method_settings({"name": "mine", "kl_kind": "both"})


@pytest.mark.parametrize("kind", ["none", "sequence"])
def test_it_trains_and_resumes(mine: ModuleType, kind: str, tmp_path: Path) -> None:
    del mine
    torch.set_num_threads(1)
    noise = {"kind": kind, "size": 4, "scale": 0.5}
    name, settings = method_settings({"name": "mine", "noise": noise, "student": {"lr": 0.01}})

    def trained(folder: str, *stops: int) -> list[torch.Tensor]:
        for steps in stops:
            reference = GroupedReference(tiny_corpus(30), FRAMED, 1, 128, 20, seed=1)
            build = registry.METHODS[name].build
            method = build(tiny_denoiser(1), FRAMED, reference, settings, 3)
            loop = LoopSettings(steps=steps, checkpoint_every=2)
            train(method, loop, tmp_path / folder, cpu_fabric(), validate=None)
        assert Checkpoints(tmp_path / folder).load_latest()["step"] == stops[-1]
        return list(without_noise(method.result())[0].parameters())

    whole, parts = trained("whole", 6), trained("parts", 2, 6)
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))
    start = tiny_denoiser(1).parameters()
    moved = [float((a - b).detach().abs().max()) for a, b in zip(whole, start, strict=True)]
    assert max(moved) > 1e-4
