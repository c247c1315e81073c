"""Models by name: the wrong kind, and a slip of the pen, are said with the name that fits."""

import json
from pathlib import Path

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from didi_core.commands.comparing.labels import label_of
from didi_core.errors import UserError
from didi_core.models import hub
from didi_core.models.bundled import BundledModels
from didi_core.models.hub import DOWNLOAD, find_folder
from didi_core.models.named import find_denoiser, find_judge, find_model, unfinished_run
from didi_core.training.run_folder import write_run_record

BUNDLED = BundledModels("didi_protein")


@pytest.mark.parametrize(
    ("find", "name", "message"),
    [
        (find_denoiser, "tiny-judge", r"--model tiny-judge is autoregressive.* tiny or tiny-stud"),
        (find_denoiser, "tiny-judge", r"a baseline, give it to `compare --students` or `generate"),
        (
            find_judge,
            "tiny",
            r"--judge tiny is a masked-diffusion model.* the bundled tiny-judge\.",
        ),
        (
            find_model,
            "tiny-studnet",
            r"^--model tiny-studnet: did you mean the bundled tiny-student\?$",
        ),
        (find_judge, "tiny-jugde", r"did you mean the bundled tiny-judge\?$"),
        (find_model, "me/tiny-student", r"tiny-student\? --model me/tiny-student is not a folder"),
        (find_model, "someone/dplm_150m", r"^--model someone/dplm_150m is not a folder here"),
        (find_judge, "someone/judge", r"^--judge someone/judge is not a folder here"),
        (find_model, "no/such/path", r"^--model no/such/path: there is no such model folder"),
        (find_model, "", r"^--model is empty"),
    ],
)
def test_names_that_do_not_fit(find, name, message, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=message):
        find(BUNDLED, name, offline=True)


@pytest.mark.parametrize("name", ["a/b@", "a/b@x y", "a/b@-x", "a/b@x@y", "a/b@../x", "a/b@x/"])
def test_a_revision_that_cannot_be_one(name, monkeypatch):
    """Nothing is asked of the hub, and nothing is looked for outside its cache."""
    monkeypatch.setattr(hub, "snapshot_download", None)
    with pytest.raises(UserError) as caught:
        find_model(BUNDLED, name, offline=False, flag="teacher=")
    assert str(caught.value).startswith(f"teacher={name}: ")
    assert "give a branch, a tag or a commit, as OWNER/NAME@main" in str(caught.value)


def test_a_folder_may_have_an_at_in_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "a@b").mkdir(parents=True)
    assert find_model(BUNDLED, "runs/a@b", offline=True) == Path("runs/a@b")
    with pytest.raises(UserError, match=r"no/such/a@b: there is no such model folder"):
        find_model(BUNDLED, "no/such/a@b", offline=True)


def test_a_label_keeps_the_revision_and_is_a_file_s_name():
    names = ["o/m", "o/m@step_1", "o/m@refs/pr/1", "n/m@refs/pr/2", "runs/o/m"]
    labels = ["m", "m-step_1", "m-refs-pr-1", "m-refs-pr-2", "m"]
    assert [label_of(name) for name in names] == labels


def test_the_kind_of_a_folder_is_read_from_its_config(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    assert find_judge(BUNDLED, str(tmp_path), offline=True) == tmp_path
    with pytest.raises(UserError, match=r"teacher=/.* is autoregressive, a judge or a baseline"):
        find_denoiser(BUNDLED, str(tmp_path), offline=True, flag="teacher=")
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["EsmForMaskedLM"]}))
    assert find_denoiser(BUNDLED, str(tmp_path), offline=True) == tmp_path
    with pytest.raises(UserError, match=r"is no causal model.*, such as gpt2-large\."):
        find_judge(
            BundledModels("didi_text", judge="none"),
            str(tmp_path),
            offline=True,
            otherwise="gpt2-large",
        )


@pytest.mark.parametrize(
    ("flag", "offline", "mend"),
    [
        ("--model", False, "on a machine with network run `didi-protein download a/b`, and set HF"),
        ("--model", True, r"run `didi-protein download a/b` where .* or give no --offline\.$"),
        ("teacher=", True, r"run `didi-protein download a/b` where .* or give offline=false\.$"),
        (DOWNLOAD, False, r"check the name, and run this where huggingface\.co can be reached"),
    ],
)
def test_the_mend_differs_from_the_command_that_failed(flag, offline, mend, monkeypatch):
    def unreachable(*_, **__):
        raise LocalEntryNotFoundError("nothing there")

    monkeypatch.setattr(hub, "snapshot_download", unreachable)
    with pytest.raises(UserError, match=mend) as caught:
        find_folder("a/b", offline=offline, program="didi-protein", flag=flag)
    assert str(caught.value).startswith(
        "teacher=a/b is" if flag == "teacher=" else f"{flag} a/b is"
    )
    assert (flag == DOWNLOAD) == ("download`" not in str(caught.value).replace(" a/b", ""))


def test_a_run_that_is_not_finished_says_so_and_how_to_go_on(tmp_path):
    write_run_record(tmp_path / "run", "pretrain", {"steps": 3}, seed=0)
    name = str(tmp_path / "run")
    with pytest.raises(UserError) as caught:
        find_denoiser(BundledModels("didi_text"), name, offline=True, flag="teacher=")
    assert str(caught.value).startswith(f"teacher={name} is a run that is not finished")
    assert f"`didi-text pretrain ... out={name} resume=true`" in str(caught.value)
    (tmp_path / "run" / "config.json").write_text("{}")
    assert find_denoiser(BUNDLED, name, offline=True) == tmp_path / "run"
    assert unfinished_run(tmp_path) is None  # a folder without a run says what it lacks itself
