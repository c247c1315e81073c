"""`push` in both programs: what is checked, what goes, and what is said where it cannot."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi
from huggingface_hub.utils import filter_repo_objects

import didi_protein.push as protein
import didi_text.push as text
from didi_core.cli.run import run_program
from didi_core.commands.hub import PushOptions, licensed_card
from didi_core.errors import UserError
from didi_core.training.run_folder import write_run_record
from didi_protein.app import app
from didi_protein.models.load import BUNDLED_MODELS
from didi_text.models.load import BUNDLED_MODELS as TEXT_MODELS

NOWHERE = "http://127.0.0.1:9"
WEIGHTS = "model.safetensors"


@dataclass
class Hub:
    """What reached the hub."""

    repositories: list[tuple[str, bool | None]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def create_repo(self, _api: HfApi, name: str, private: bool | None, exist_ok: bool) -> None:
        assert exist_ok
        self.repositories.append((name, private))

    def upload_folder(self, api: HfApi, **given: Any) -> str:
        assert api.token == "hf_writes"
        folder = Path(given["folder_path"])
        every = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
        self.files += filter_repo_objects(every, allow_patterns=given["allow_patterns"])
        return f"https://huggingface.co/{given['repo_id']}/commit/1"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub's client up to where it would send something."""
    hub = Hub()
    monkeypatch.setattr(HfApi, "create_repo", lambda *a, **k: hub.create_repo(*a, **k))
    monkeypatch.setattr(HfApi, "upload_folder", lambda *a, **k: hub.upload_folder(*a, **k))
    monkeypatch.setenv("HF_TOKEN", "hf_writes")
    return hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder that ended in a model: the bundled one, with what training leaves."""
    run = tmp_path / "run"
    shutil.copytree(BUNDLED_MODELS.folder("tiny-student"), run)
    (run / "checkpoints").mkdir()
    shutil.copy(run / WEIGHTS, run / "checkpoints" / "step_3.safetensors")
    (run / "metrics.jsonl").write_text("{}\n")
    return run


def options(folder: Path, **changes: Any) -> PushOptions:
    return PushOptions(**{"folder": folder, "repo": "me/student", **changes})


def test_the_files_of_the_model_go_and_no_others(hub: Hub, folder: Path) -> None:
    result = protein.push(options(folder, private=True))
    assert hub.repositories == [("me/student", True)]
    assert sorted(hub.files) == sorted(result.files)
    assert {"config.json", WEIGHTS, "README.md", "vocab.txt"} <= set(result.files)
    assert not any(name.startswith(("checkpoints", "metrics")) for name in hub.files)
    assert result.url == "https://huggingface.co/me/student/commit/1"
    assert result.num_bytes == sum((folder / name).stat().st_size for name in result.files)


@pytest.mark.parametrize("name", [*TEXT_MODELS.denoisers, TEXT_MODELS.judge])
def test_text_models_and_judges_are_whole_too(hub: Hub, name: str) -> None:
    result = text.push(options(TEXT_MODELS.folder(name)))
    assert {"tokenizer.json", "config.json"} <= set(result.files) and hub.files


def test_a_dry_run_needs_no_token_and_changes_nothing(folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("didi_core.commands.hub.get_token", lambda: None)
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    command = ["push", str(folder), "--repo", "me/student", "--dry-run"]
    assert run_program(lambda: app(command, standalone_mode=False)) == 0
    assert "the folder is whole and would go to me/student" in capsys.readouterr().out
    assert run_program(lambda: app([*command, "--json"], standalone_mode=False)) == 0
    assert json.loads(capsys.readouterr().out)["url"] is None
    assert before == {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert run_program(lambda: app(command[:-1], standalone_mode=False)) == 2
    assert "log in with `hf auth login`, or set HF_TOKEN" in capsys.readouterr().err


def test_a_card_without_a_license_is_refused_and_mended(hub: Hub, folder: Path) -> None:
    card = folder / "README.md"
    card.write_text("---\nlibrary_name: didi-protein\ntags: [protein]\n---\n\n# Student\n")
    with pytest.raises(UserError, match=r"names no license: give --license NAME"):
        protein.push(options(folder))
    assert not hub.files
    protein.push(options(folder, license_name="mit"))
    assert card.read_text().startswith(
        "---\nlibrary_name: didi-protein\ntags: [protein]\nlicense: mit\n---\n\n# Student"
    )
    protein.push(options(folder))  # it stays
    with pytest.raises(UserError, match=r"--license cc0-1\.0: .* already names mit"):
        protein.push(options(folder, license_name="cc0-1.0"))
    card.write_text("# No head\n")
    assert licensed_card(card, "mit") == "---\nlicense: mit\n---\n\n# No head\n"


def test_what_is_not_whole_stays_here(hub: Hub, folder: Path, tmp_path: Path) -> None:
    write_run_record(tmp_path / "begun", "distill", {}, seed=0)
    cases = {
        r"no such folder": tmp_path / "none",
        r"not finished .* `didi-protein distill ... out=.*begun resume=true`": tmp_path / "begun",
    }
    for message, place in cases.items():
        with pytest.raises(UserError, match=f"^FOLDER {place}.*{message}"):
            protein.push(options(place))
    weights = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(weights[: len(weights) // 2])
    with pytest.raises(UserError, match=r"model\.safetensors"):
        protein.push(options(folder))
    (folder / "README.md").unlink()
    with pytest.raises(UserError, match=r"no whole model folder: it has no README\.md"):
        protein.push(options(folder))
    for name, message in (("mine", "as in --repo YOUR-NAME/mine"), ("a/b/c", "is no name")):
        with pytest.raises(UserError, match=f"^--repo {name}.*{message}"):
            protein.push(options(BUNDLED_MODELS.folder("tiny"), repo=name))
    assert not hub.files


def test_without_network_the_folder_is_kept_and_the_message_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_writes")
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", NOWHERE)
    with pytest.raises(UserError, match=r"^--repo me/student: huggingface\.co cannot be reached"):
        protein.push(options(folder))
