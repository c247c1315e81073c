"""Model folders, weights, tokenizers and settings of others: data, whatever they hold."""

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from fuzzing import CASES, altered, damaged, only_user_errors, write
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from didi_core.cli.hydra_app import compose_settings
from didi_core.data.vocabulary import Vocabulary
from didi_core.models.discriminator import load_discriminator
from didi_core.models.dit import DitDenoiser, DitSettings
from didi_core.models.esm import EsmDenoiser, EsmSettings
from didi_core.models.folder import load_denoiser, save_model_folder
from didi_core.models.named import is_causal
from didi_core.models.noise_file import load_noise
from didi_core.models.safe_reader import read_weights
from didi_protein.models.judges import open_judge
from didi_protein.models.load import open_model
from didi_protein.sequences.alphabet import PROTEIN
from didi_protein.settings import DistillSettings, PretrainSettings
from didi_text.tokenizers.tokenizer import open_tokenizer
from didi_text.tokenizers.train import train_tokenizer

TEXT = Vocabulary(tokens=("a", "b", "[M]", "[P]"), mask_id=2, pad_id=3, generable_ids=(0, 1))
WEIGHTS = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.ones(2, dtype=torch.float16)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder in each layout, sound at first."""
    place = tmp_path_factory.mktemp("folders")
    esm = EsmDenoiser(EsmSettings(PROTEIN.size, 1, 8, 2, 16, PROTEIN.mask_id, max_tokens=32))
    dit = DitDenoiser(DitSettings(4, 1, 8, 2, 2, conditioning_size=4, max_tokens=16))
    save_model_folder(place / "esm", esm, PROTEIN, card="")
    save_model_folder(place / "dit", dit, TEXT, card="")
    config = json.loads((place / "esm" / "config.json").read_text())
    del config["didi"]
    dplm = place / "dplm"
    dplm.mkdir()
    (dplm / "config.json").write_text(json.dumps(config | {"architectures": ["EsmForDPLM"]}))
    os.link(place / "esm" / "model.safetensors", dplm / "model.safetensors")
    return {name: place / name for name in ("esm", "dit", "dplm")}


def _saved(content: object, zipped: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


LIGHTNING = {"pytorch-lightning_version": "2.5", "state_dict": WEIGHTS, "hyper": os.PathLike}
PICKLES = tuple(_saved(each, zipped) for each in (WEIGHTS, LIGHTNING) for zipped in (True, False))


@pytest.mark.parametrize("layout", ["esm", "dit", "dplm"])
def test_config_of_a_model_folder(folders: dict[str, Path], layout: str) -> None:
    folder = folders[layout]
    sound = json.loads((folder / "config.json").read_text())
    default = TEXT if layout == "dit" else PROTEIN

    @CASES
    @given(config=altered(sound))
    def check(config: dict[str, Any]) -> None:
        write(folder, "config.json", config)
        is_causal(folder)
        with only_user_errors():
            model = load_denoiser(folder, default_vocabulary=default)
            load_noise(model.denoiser, model.config, None, "m")
        if layout != "dit":
            with only_user_errors():
                open_model(str(folder), torch.device("cpu"), offline=True)

    check()


@CASES
@given(content=damaged(save(WEIGHTS), words=(b"F64", b"[", b"{", b"\xff" * 8)))
def test_safetensors(tmp_path: Path, content: bytes) -> None:
    with only_user_errors():
        read_weights(write(tmp_path, "w.safetensors", content))


@CASES
@given(
    content=damaged(*PICKLES, words=(b"c__builtin__\neval\n", b"cos\nsystem\n", b"R", b"b", b".")),
    suffix=st.sampled_from((".ckpt", ".bin", ".pt")),
)
def test_pickled_weights(tmp_path: Path, content: bytes, suffix: str) -> None:
    with only_user_errors():
        read_weights(write(tmp_path, f"w{suffix}", content))
    with only_user_errors():
        load_denoiser(tmp_path / f"w{suffix}", default_vocabulary=TEXT)


@CASES
@given(index=altered({"weight_map": {"a": "x.safetensors"}}))
def test_index_of_shards(folders: dict[str, Path], tmp_path: Path, index: dict[str, Any]) -> None:
    write(tmp_path, "config.json", (folders["esm"] / "config.json").read_bytes())
    write(tmp_path, "x.safetensors", save(WEIGHTS))
    write(tmp_path, "model.safetensors.index.json", index)
    with only_user_errors():
        load_denoiser(tmp_path, default_vocabulary=PROTEIN)


JUDGE = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": PROTEIN.size,
    "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "max_position_embeddings": 16, "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True, "auto_map": {"AutoConfig": "evil.Config"},
}  # fmt: skip


@CASES
@given(
    config=altered(JUDGE).filter(
        lambda config: not any(value == 10**9 for value in config.values())
    )
)
def test_config_of_a_judge(tmp_path: Path, config: dict[str, Any]) -> None:
    write(tmp_path, "config.json", config)
    write(tmp_path, "model.safetensors", save(WEIGHTS))
    with only_user_errors():
        open_judge(str(tmp_path), torch.device("cpu"), offline=True)


@CASES
@given(content=damaged(save(WEIGHTS)))
def test_discriminator(tmp_path: Path, content: bytes) -> None:
    dit = DitDenoiser(DitSettings(4, 1, 8, 2, 2, conditioning_size=4, max_tokens=16))
    with only_user_errors():
        load_discriminator(dit, write(tmp_path, "discriminator.safetensors", content))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(["the cat sat on the mat"] * 4, 270).save(folder)
    return (folder / "tokenizer.json").read_bytes()


@CASES
@given(data=st.data())
def test_tokenizer(tmp_path: Path, tokenizer: bytes, data: st.DataObject) -> None:
    content = data.draw(damaged(tokenizer, words=(b"null", b"[]", b'"BPE"', b"{}")))
    with only_user_errors():
        opened = open_tokenizer(write(tmp_path, "tokenizer.json", content))
        opened.decode(opened.encode("the cat"))
        assert opened.vocabulary.size > 0


KEYS = ("data", "out", "teacher", "method", "steps", "model.hidden_size", "optimizer.lr", "x.y")
VALUES = ("null", "???", "${steps}", "${oc.env:HOME}", "[1,2]", "{a:1}", "1e3", "'", "${", "dmmd")


@CASES
@given(
    verb=st.sampled_from(("pretrain", "distill")),
    overrides=st.lists(
        st.builds(
            lambda sign, key, value: f"{sign}{key}={value}",
            st.sampled_from(("", "", "+", "++", "~")),
            st.sampled_from(KEYS) | st.text(max_size=10),
            st.sampled_from(VALUES) | st.text(max_size=10),
        )
        | st.text(max_size=12),
        max_size=4,
    ),
)
def test_settings(verb: str, overrides: list[str]) -> None:
    kind = PretrainSettings if verb == "pretrain" else DistillSettings
    with only_user_errors():
        compose_settings(verb, kind, ["data=a.fasta", "out=b", *overrides])
