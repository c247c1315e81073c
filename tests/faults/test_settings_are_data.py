"""No configuration runs code, whoever wrote it."""

import pickle
from pathlib import Path

import pytest

from didi_core.cli.hydra_safety import refuse_code
from didi_core.cli.run import run_program
from didi_core.errors import UserError
from didi_protein.app import app

HARMLESS = (
    *("data=a.fasta", "optimizer.lr=0.1", "seed=${oc.env:SEED,1}", "--multirun", "out=x=y"),
    *("data=/x/callbacks/a.txt", "out=runs/callbacks:1"),
)


def test_ordinary_overrides_and_folders_pass(tmp_path: Path) -> None:
    folder = tmp_path / "callbacks" / "mine"
    folder.mkdir(parents=True)
    content = "# @package _global_\nsteps: 5\nout: ${data}-${now:%H}\ndata: /x/callbacks/a.txt\n"
    (folder / "mine.yaml").write_text(content)
    (folder / "again").symlink_to(folder)
    refuse_code([*HARMLESS, "--config-dir", str(folder)])
    refuse_code([f"--config-dir={folder}"])


@pytest.mark.parametrize(
    "override",
    [
        "+_target_=os.system",
        "+hydra.callbacks.x._target_=os.system",
        "hydra.job.env_set={LD_PRELOAD: x.so}",
        "hydra.searchpath=[file:///tmp/x]",
        "+hydra.callbacks={x:{_target_:os.system}}",
        "+hydra={job: {env_set : {LD_PRELOAD: x.so}}}",
    ],
)
def test_overrides_that_name_code_are_refused(override: str) -> None:
    with pytest.raises(UserError, match="could run code"):
        refuse_code(["data=a", override])


FILES = {
    "a callback": "hydra:\n  callbacks:\n    x: {_target_: os.system, command: touch MARK}\n",
    "an escaped key": 'hydra:\n  x: {"\\x5ftarget_": os.system}\n',
    "another group": "defaults:\n  - override hydra/callbacks: x\n",
    "a package": "# @package hydra.job.env_set\nLD_PRELOAD: x.so\n",
    "a package of another file": "defaults:\n  - b@_global_.hydra.job.env_set\n",
    "text that becomes a key": "out: ${oc.create:'{a: b}'}\n",
    "a variable": "out: ${oc.env:HOME}\n",
    "a variable by a computed name": "device: env\nout: ${oc.${device}:HOME}\n",
    "no YAML": "a: [\n",
    "an object": "a: !!python/object/apply:os.system ['touch MARK']\n",
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("flag", ["--config-dir", "-cd"])
def test_files_that_name_code_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, flag: str
) -> None:
    mark, folder = tmp_path / "mark", tmp_path / "settings"
    folder.mkdir()
    (folder / "evil.yaml").write_text(FILES[kind].replace("MARK", str(mark)))
    arguments = ["pretrain", flag, str(folder), "data=a.fasta", f"out={tmp_path / 'run'}"]
    assert run_program(lambda: app(arguments, standalone_mode=False)) == 2
    said = capsys.readouterr().err
    assert "evil.yaml" in said and "Traceback" not in said
    assert not mark.exists() and not (tmp_path / "run").exists()


def test_a_linked_folder_and_a_folder_s_name_are_looked_at(tmp_path: Path) -> None:
    """Hydra follows links, and puts a file's content where its folders say."""
    given, linked = tmp_path / "given", tmp_path / "elsewhere"
    linked.mkdir()
    (linked / "a.yaml").write_text("hydra: {job: {env_set: {LD_PRELOAD: x.so}}}\n")
    given.mkdir()
    (given / "more").symlink_to(linked)
    with pytest.raises(UserError, match=r"a\.yaml: env_set could run code"):
        refuse_code(["--config-dir", str(given)])
    named = tmp_path / "named" / "hydra" / "job" / "env_set"
    named.mkdir(parents=True)
    (named / "b.yaml").write_text("LD_PRELOAD: x.so\n")
    with pytest.raises(UserError, match=r"b\.yaml: env_set could run code"):
        refuse_code(["--config-dir", str(tmp_path / "named")])


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.mark,))


def test_a_pickled_job_is_not_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Hydra's --experimental-rerun opens a pickle."""
    (tmp_path / "config.pickle").write_bytes(pickle.dumps(Evil(tmp_path / "mark")))
    arguments = ["pretrain", "--experimental-rerun", str(tmp_path / "config.pickle")]
    assert run_program(lambda: app(arguments, standalone_mode=False)) == 2
    assert "--experimental-rerun" in capsys.readouterr().err
    assert not (tmp_path / "mark").exists()
