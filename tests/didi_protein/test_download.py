"""Fetching models ahead, and opening by name, from a hub that stands on this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer
from file_server import Behaviour, serve
from hub_server import serve_hub

from didi_core.errors import UserError
from didi_core.models.esm import EsmDenoiser, EsmSettings
from didi_core.models.esm_names import to_published
from didi_core.models.folder import save_model_folder
from didi_protein import download as download_module
from didi_protein.download import download
from didi_protein.models.load import BUNDLED_MODELS, open_model
from didi_protein.sequences.alphabet import PROTEIN

SETTINGS = EsmSettings(33, 1, 16, 2, 24, PROTEIN.mask_id)
RUN = """
import json, sys
from didi_core.errors import UserError
from didi_protein.download import download
from didi_protein.models.load import open_model
for step in json.loads(sys.argv[1]):
    try:
        if step[0] == "download":
            print(json.dumps({name: str(path) for name, path in download(step[1:]).items()}))
        else:
            loaded = open_model(step[1], offline=step[0] == "offline")
            print(json.dumps([loaded.name, float(loaded.denoiser.embedding.weight.detach().sum())]))
    except UserError as error:
        print(json.dumps("Error: " + str(error)))
"""
NOWHERE = "http://127.0.0.1:9"


def run(steps: list[list[str]], endpoint: str, home: Path) -> list:
    """What each step printed, in a process of its own: the hub's address is read at import."""
    environment = {
        **{key: value for key, value in os.environ.items() if "proxy" not in key.lower()},
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_XET": "1",
    }
    command = [sys.executable, "-c", RUN, json.dumps(steps)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def denoiser(seed: int = 0) -> EsmDenoiser:
    made = EsmDenoiser(SETTINGS)
    made.initialise(torch.Generator().manual_seed(seed))
    return made


def weight_of(seed: int) -> object:
    return pytest.approx(float(denoiser(seed).embedding.weight.detach().sum()))


def published_models(tmp_path: Path) -> dict[str, Path]:
    """A model with safetensors and pickled weights, and one with pickled weights alone."""
    save_model_folder(tmp_path / "safe", denoiser(), PROTEIN, card="# card")
    (tmp_path / "safe" / "pytorch_model.bin").write_bytes(b"never fetched")
    (tmp_path / "safe" / "optimizer.pt").write_bytes(b"never fetched")
    save_model_folder(tmp_path / "pickled", denoiser(), PROTEIN, card="# card")
    weights = to_published(denoiser(), torch.float32)
    torch.save(weights, tmp_path / "pickled" / "pytorch_model.bin")
    (tmp_path / "pickled" / "model.safetensors").unlink()
    config = tmp_path / "pickled" / "config.json"
    changed = {**json.loads(config.read_text()), "architectures": ["EsmForDPLM"]}
    del changed["didi"]
    config.write_text(json.dumps(changed))
    return {"someone/safe": tmp_path / "safe", "someone/pickled": tmp_path / "pickled"}


def test_hub(tmp_path: Path) -> None:
    models, home = published_models(tmp_path), tmp_path / "home"
    expected = float(denoiser().embedding.weight.detach().sum())
    with serve_hub(models) as (endpoint, asked):
        before, fetched, opened, missing, partly = run(
            [
                ["offline", "someone/safe"],
                ["download", "someone/safe", "tiny"],
                ["online", "someone/pickled"],
                ["online", "someone/unknown"],
                ["download", "someone/unknown", "someone/safe", "no/such/id"],
            ],
            endpoint,
            home,
        )
    assert "run `didi-protein download someone/safe`" in before
    assert Path(fetched["someone/safe"]).is_relative_to(home)
    assert fetched["tiny"] == str(BUNDLED_MODELS.folder("tiny"))
    assert opened == ["someone/pickled", pytest.approx(expected)]
    assert "neither a folder here nor a model on the Hugging Face hub" in missing
    assert "someone/unknown is neither" in partly and "no/such/id is no hub id" in partly
    assert "someone/safe: fetched" in partly
    assert "optimizer.pt" not in asked and asked.count("model.safetensors") == 1
    assert asked.count("pytorch_model.bin") == 1, "pickled weights only where there are no others"

    offline, gone, absent = run(
        [["offline", "someone/safe"], ["online", "someone/pickled"], ["online", "someone/new"]],
        NOWHERE,
        home,
    )
    assert offline == ["someone/safe", pytest.approx(expected)]
    assert gone == ["someone/pickled", pytest.approx(expected)]
    assert "run `didi-protein download someone/new`" in absent


def test_revisions_are_models_of_their_own(tmp_path: Path) -> None:
    """As `jdeschena/sdtt`: nothing but a card on the main branch, a model on each other."""
    (tmp_path / "main").mkdir()
    (tmp_path / "main" / "README.md").write_text("# card")
    names = {1: "someone/students@step_10000", 2: "someone/students@refs/pr/2"}
    for seed in names:
        save_model_folder(tmp_path / str(seed), denoiser(seed), PROTEIN, card="# card")
    models = {name: tmp_path / str(seed) for seed, name in names.items()}
    with serve_hub({"someone/students": tmp_path / "main", **models}) as (endpoint, _asked):
        before, fetched, one, two, plain, unknown, empty, odd = run(
            [
                ["offline", names[1]],
                ["download", *names.values()],
                ["online", names[1]],
                ["online", names[2]],
                ["download", "someone/students"],
                ["online", "someone/students@step_20000"],
                ["download", "someone/students@"],
                ["online", "someone/students@../main"],
            ],
            endpoint,
            tmp_path / "home",
        )
    assert f"run `didi-protein download {names[1]}`" in before
    assert list(fetched) == list(names.values()) and len(set(fetched.values())) == 2
    assert [one, two] == [[names[1], weight_of(1)], [names[2], weight_of(2)]]
    assert one[1] != two[1], "control: the revisions differ"
    assert "download someone/students holds no model" in plain
    assert "name one: someone/students@REVISION" in plain
    assert "someone/students has no branch, tag or commit of that name" in unknown
    assert "download someone/students@: the revision after @ is empty: give a branch" in empty
    assert "'../main' after @ cannot be a revision: give a branch" in odd

    offline, absent = run(
        [["offline", names[2]], ["offline", "someone/students@step_20000"]],
        NOWHERE,
        tmp_path / "home",
    )
    assert offline == [names[2], weight_of(2)]
    assert "run `didi-protein download someone/students@step_20000`" in absent


def test_esm2_goes_where_torch_hub_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    name = "esm2_t6_8M_UR50D"
    with serve(Behaviour(b"weights" * 100_000, cut_after=[1_000]), f"{name}.pt") as told:
        address = told.url.partition(f"/{name}")[0]
        monkeypatch.setattr(download_module, "ESM2_URL", address)
        found = download([name])
    assert found == {name: tmp_path / "hub" / "checkpoints" / f"{name}.pt"}
    assert found[name].read_bytes() == b"weights" * 100_000
    assert told.requests == [None, "bytes=1000-"]


def test_uniref50_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default place and source are used: here the place is set, and the source not there."""
    monkeypatch.setenv("DIDI_CACHE", str(tmp_path))
    (tmp_path / "uniref50").mkdir()
    (tmp_path / "uniref50" / "uniref50.tar.gz").write_bytes(b"another file")
    with pytest.raises(UserError, match=r"zenodo\.org/records/6564798/.* checksum"):
        download(["uniref50"])


def test_nothing_to_fetch_and_unknown_names() -> None:
    with pytest.raises(UserError, match="at least one"):
        download([])
    with pytest.raises(UserError, match=r"a/b/c is no hub id.*\n.*d/e/f is no hub id"):
        download(["a/b/c", "d/e/f"])


def test_a_slip_of_the_pen_is_answered_with_the_name_meant(monkeypatch) -> None:
    def unknown(name, **_):
        raise UserError(f"download {name}: no.")

    monkeypatch.setattr("didi_core.models.hub.fetch_snapshot", unknown)
    with pytest.raises(UserError) as caught:
        download(["tiy", "uniref5", "esm2_t6_8M_UR50", "airkingbd/dplm_150", "some/other"])
    assert str(caught.value).splitlines() == [
        "tiy: did you mean tiny? download tiy: no.",
        "uniref5: did you mean uniref50? download uniref5: no.",
        "esm2_t6_8M_UR50: did you mean esm2_t6_8M_UR50D? download esm2_t6_8M_UR50: no.",
        "airkingbd/dplm_150: did you mean airkingbd/dplm_150m? download airkingbd/dplm_150: no.",
        "download some/other: no.",
    ]


@pytest.mark.parametrize("name", BUNDLED_MODELS.denoisers)
def test_bundled_models_come_first(name: str, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    loaded = open_model(name, offline=True)
    assert loaded.name == name and loaded.folder == BUNDLED_MODELS.folder(name)
    assert loaded.vocabulary == PROTEIN


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer()
    app.command()(download_module.download_command)
    app(["tiny", "tiny-judge"], standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{name}: {BUNDLED_MODELS.folder(name)}" for name in ("tiny", "tiny-judge")]
    app(["tiny", "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out) == {"tiny": str(BUNDLED_MODELS.folder("tiny"))}
    with pytest.raises(UserError, match=r"a/b/c is no hub id"):
        app(["a/b/c"], standalone_mode=False)
