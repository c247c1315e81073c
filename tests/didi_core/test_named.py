"""Models by name: the wrong kind, and a slip of the pen, are said with the name that fits."""

import json

import pytest

from didi_core.errors import UserError
from didi_core.models.bundled import BundledModels
from didi_core.models.named import find_denoiser, find_judge, find_model

BUNDLED = BundledModels("didi_protein")


@pytest.mark.parametrize(
    ("find", "name", "message"),
    [
        (find_denoiser, "tiny-judge", r"--model tiny-judge is autoregressive.* tiny or tiny-stud"),
        (
            find_judge,
            "tiny",
            r"--judge tiny is a masked-diffusion model.* the bundled tiny-judge\.",
        ),
        (find_model, "tiny-studnet", r"tiny-studnet: did you mean the bundled tiny-student\? "),
        (find_judge, "tiny-jugde", r"did you mean the bundled tiny-judge\? "),
        (find_model, "someone/dplm_150m", r"^someone/dplm_150m is not a folder here"),
    ],
)
def test_names_that_do_not_fit(find, name, message, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=message):
        find(BUNDLED, name, offline=True)


def test_the_kind_of_a_folder_is_read_from_its_config(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    assert find_judge(BUNDLED, str(tmp_path), offline=True) == tmp_path
    with pytest.raises(UserError, match=r"teacher=/.* is autoregressive, a judge"):
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
