"""Model folders: written, opened by transformers, read back; and what is refused."""

import json
import math
import os
from pathlib import Path

import pytest
import torch
from esm_fixtures import (
    HIDDEN,
    TOKENS,
    masked_batch,
    our_copy,
    our_logits,
    reference_logits,
    reference_model,
    relative_error,
    write_dplm_folder,
)
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, AutoTokenizer

from didi_core.data.vocabulary import Vocabulary
from didi_core.errors import UserError
from didi_core.models import folder as folder_module
from didi_core.models.causal_folder import load_causal_model
from didi_core.models.folder import load_denoiser, save_model_folder

EMBEDDING = "esm.embeddings.word_embeddings.weight"
ODD = Vocabulary(
    tokens=("<s>", "<p>", "</s>", "<unk>", *(f"t{index}" for index in range(28)), "[M]"),
    mask_id=32,
    pad_id=1,
    generable_ids=tuple(range(4, 32)),
    bos_id=0,
    eos_id=2,
)


def write(folder: Path, **options: object) -> Path:
    denoiser = our_copy(reference_model(token_dropout=bool(options.pop("token_dropout", False))))
    options = {"card": "# A card\n", "run": {"seed": 3}, **options}
    save_model_folder(folder, denoiser, ODD, **options)
    return folder


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in config.items() if value != "absent"}))


def edit_weights(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)


@pytest.mark.parametrize("token_dropout", [False, True])
def test_transformers_opens_what_we_write(tmp_path: Path, token_dropout: bool) -> None:
    folder = write(tmp_path / "m", token_dropout=token_dropout)
    model, report = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    tokens, lengths = masked_batch(0.5)
    loaded = load_denoiser(folder)
    ours = our_logits(loaded.denoiser, tokens, lengths)
    assert relative_error(ours, reference_logits(model.eval(), tokens, lengths)) < 1e-5
    assert loaded.denoiser.settings.token_dropout == token_dropout
    assert not model.esm.contact_head.regression.weight.any()


def test_tokenizer_opens(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(write(tmp_path / "m"))
    assert type(tokenizer).__name__ == "EsmTokenizer"
    assert tokenizer("t0t5[M]").input_ids == [0, 4, 9, 32, 2]
    assert (tokenizer.pad_token_id, tokenizer.mask_token_id) == (1, 32)
    assert tokenizer.model_max_length == 130


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", extra_config={"didi": {"kind": "student"}, "note": "x"})
    loaded = load_denoiser(folder)
    original = our_copy(reference_model(token_dropout=False))
    assert loaded.denoiser.settings == original.settings
    for name, tensor in original.state_dict().items():
        assert torch.equal(tensor, loaded.denoiser.state_dict()[name]), name
    assert loaded.vocabulary == ODD
    assert loaded.name == str(folder) and loaded.extras == {}
    assert loaded.config["didi"]["kind"] == "student" and loaded.config["note"] == "x"
    assert not loaded.denoiser.training
    assert (folder / "README.md").read_text() == "# A card\n"
    assert json.loads((folder / "run.json").read_text()) == {"seed": 3}
    assert all(parameter.requires_grad for parameter in loaded.denoiser.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_become_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    folder = write(tmp_path / "m", dtype=dtype)
    stored = load_file(folder / "model.safetensors")
    assert stored[EMBEDDING].dtype == dtype
    frequencies = "esm.encoder.layer.0.attention.self.rotary_embeddings.inv_freq"
    assert stored[frequencies].dtype == torch.float32
    weight = load_denoiser(folder).denoiser.embedding.weight
    assert weight.dtype == torch.float32
    original = our_copy(reference_model(token_dropout=False)).embedding.weight
    assert torch.equal(weight, original.to(dtype).float())
    assert load_denoiser(folder, dtype=dtype).denoiser.embedding.weight.dtype == dtype
    model = AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokens, lengths = masked_batch(0.5)
    ours = our_logits(load_denoiser(folder).denoiser, tokens, lengths)
    assert relative_error(ours, reference_logits(model, tokens, lengths)) < 1e-5


def test_weights_too_large_for_half_precision(tmp_path: Path) -> None:
    denoiser = our_copy(reference_model(token_dropout=False))
    denoiser.head_bias.data[3] = 1e6
    with pytest.raises(UserError, match=r"float16 holds NaN or infinity in lm_head\.bias"):
        save_model_folder(tmp_path / "m", denoiser, ODD, card="", dtype=torch.float16)
    assert not (tmp_path / "m").exists()


def test_extras_are_listed(tmp_path: Path) -> None:
    folder = write(tmp_path / "m")
    save_file({"w": torch.ones(1)}, folder / "noise.safetensors")
    save_file({"w": torch.ones(1)}, folder / "discriminator.safetensors")
    assert load_denoiser(folder).extras == {
        "noise": folder / "noise.safetensors",
        "discriminator": folder / "discriminator.safetensors",
    }


@pytest.mark.parametrize("failing", ["model.safetensors", "config.json", "vocab.txt"])
def test_interrupted_writing_is_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """A kill before the last file: the folder is called unfinished, and no half file is left."""
    replace = os.replace

    def die(source: object, target: object) -> None:
        if Path(str(target)).name == failing:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / "m")
    assert not [path for path in (tmp_path / "m").iterdir() if path.name.startswith(".")]
    with pytest.raises(UserError, match="was not finished"):
        load_denoiser(tmp_path / "m")


def test_interrupted_overwriting_never_mixes_two_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "m", extra_config={"note": "first"})
    with monkeypatch.context() as patch:
        patch.setattr(folder_module, "write_text", lambda *_: (_ for _ in ()).throw(OSError))
        with pytest.raises(OSError):
            write(folder, extra_config={"note": "second"})
        with pytest.raises(UserError, match="was not finished"):
            load_denoiser(folder)
    write(folder, extra_config={"note": "second"})
    with monkeypatch.context() as patch:
        patch.setattr(folder_module, "write_text", lambda *_: (_ for _ in ()).throw(OSError))
        with pytest.raises(OSError):
            write(folder, extra_config={"note": "second"})
    assert load_denoiser(folder).config["note"] == "second"


# What is refused.


KEY = "esm.encoder.layer.0.attention.self.key.weight"


def remove_two(weights: dict) -> None:
    del weights["lm_head.bias"], weights["esm.encoder.layer.1.LayerNorm.weight"]
    weights["lm_head.decoder.bias"] = torch.zeros(33)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            remove_two,
            r"missing: esm\.encoder\.layer\.1\.LayerNorm\.weight, lm_head\.bias; "
            r"unexpected: lm_head\.decoder\.bias\.",
        ),
        (
            lambda weights: weights.update({KEY: torch.zeros(2, HIDDEN)}),
            rf"{KEY} \[2, {HIDDEN}\], not \[{HIDDEN}, {HIDDEN}\]",
        ),
        (lambda weights: weights[EMBEDDING].fill_(math.nan), rf"NaN or infinity in {EMBEDDING}:"),
        (lambda weights: weights[EMBEDDING].fill_(math.inf), rf"NaN or infinity in {EMBEDDING}:"),
        (
            lambda weights: weights.update({"lm_head.decoder.weight": torch.zeros(33, HIDDEN)}),
            r"lm_head\.decoder\.weight differs",
        ),
    ],
    ids=["missing and unexpected", "another shape", "nan", "inf", "untied output"],
)
def test_weights_that_do_not_fit_are_named(tmp_path: Path, change, message: str) -> None:
    folder = write(tmp_path / "m")
    edit_weights(folder, change)
    with pytest.raises(UserError, match=message):
        load_denoiser(folder)


def test_ignored_tensors_may_be_anything(tmp_path: Path) -> None:
    folder = write(tmp_path / "m")
    nan = torch.tensor([math.nan])

    def change(weights: dict) -> None:
        ignored = [
            "esm.contact_head.regression.weight",
            "esm.embeddings.position_ids",
            "esm.embeddings.position_embeddings.weight",
            "esm.pooler.dense.weight",
            "esm.rotary_embeddings.inv_freq",
        ]
        weights.update({name: nan.clone() for name in ignored})
        weights["lm_head.decoder.weight"] = weights[EMBEDDING].clone()

    before = load_denoiser(folder).denoiser
    edit_weights(folder, change)
    after = load_denoiser(folder).denoiser
    tokens, lengths = masked_batch(0.5)
    assert torch.equal(our_logits(before, tokens, lengths), our_logits(after, tokens, lengths))


def test_no_weights(tmp_path: Path) -> None:
    folder = write(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    save_file({"w": torch.ones(1)}, folder / "discriminator.safetensors")
    with pytest.raises(UserError, match=r"has no weights: model\.safetensors"):
        load_denoiser(folder)


def test_missing_shard_and_broken_index(tmp_path: Path) -> None:
    reference_model(token_dropout=False).save_pretrained(tmp_path, max_shard_size="40KB")
    shard = sorted(tmp_path.glob("model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(UserError, match=rf"lacks the shards {shard.name}"):
        load_denoiser(tmp_path, default_vocabulary=TOKENS)
    for text in ("[]", "{", '{"weight_map": 3}', '{"weight_map": {"a": "../x"}}'):
        (tmp_path / "model.safetensors.index.json").write_text(text)
        with pytest.raises(UserError, match="index"):
            load_denoiser(tmp_path, default_vocabulary=TOKENS)


def test_lightning_checkpoint_beside_a_config(tmp_path: Path) -> None:
    """`model.net.` before every name, as DPLM's training writes it."""
    folder = write(tmp_path / "m")
    expected = load_denoiser(folder).denoiser
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    content = {
        "pytorch-lightning_version": "2.5.0",
        "state_dict": {f"model.net.{name}": tensor for name, tensor in weights.items()},
    }
    torch.save(content, folder / "last.ckpt")
    found = load_denoiser(folder).denoiser
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, found.state_dict()[name])
    torch.save(content, folder / "best.ckpt")
    with pytest.raises(UserError, match=r"several files of weights \(best\.ckpt, last\.ckpt\)"):
        load_denoiser(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bert"}, "model_type 'bert'"),
        ({"architectures": ["EsmForProteinFolding"]}, "EsmForProteinFolding"),
        ({"position_embedding_type": "absolute"}, "position_embedding_type is 'absolute'"),
        ({"position_embedding_type": "absent"}, "position_embedding_type is 'absolute'"),
        ({"emb_layer_norm_before": True}, "emb_layer_norm_before is True"),
        ({"tie_word_embeddings": False}, "missing: lm_head.decoder.weight"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings is 'no'"),
        ({"is_decoder": True}, "is_decoder"),
        ({"rope_theta": 5000.0}, "rope_theta"),
        ({"hidden_size": "absent"}, "lacks hidden_size"),
        ({"hidden_size": "48"}, "hidden_size is '48'"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"num_attention_heads": 7}, "multiple of num_attention_heads 7"),
        ({"mask_token_id": 31}, "without special tokens"),
        ({"mask_token_id": 33}, "mask_token_id"),
        ({"vocab_size": 40}, "vocab_size in config.json is 40, not 33"),
        ({"didi": {"generable_ids": [4, 99]}}, "generable_ids"),
        ({"didi": {"generable_ids": "all"}}, "generable_ids"),
        ({"didi": {}}, "may be generated"),
        ({"didi": {"sampler": 3}}, "didi.sampler is 3, not a sampler's name"),
        ({"didi": "x"}, "didi is 'x'"),
        ({"didi": {"generable_ids": [5, 4]}}, "generable_ids"),
        ({"didi": {"generable_ids": [2, 4]}}, "generable_ids"),
        ({"pad_token_id": "absent"}, "pad_token_id"),
        ({"num_hidden_layers": 2}, "unexpected: esm.encoder.layer.2"),
        ({"intermediate_size": 81}, "another shape"),
    ],
    ids=str,
)
def test_unsupported_configs(tmp_path: Path, changes: dict, message: str) -> None:
    folder = write(tmp_path / "m")
    edit_config(folder, **changes)
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        load_denoiser(folder, default_vocabulary=None if "didi" in changes else ODD)


def test_others_vocabulary_must_agree(tmp_path: Path) -> None:
    folder = write_dplm_folder(tmp_path / "m", reference_model(token_dropout=True))
    with pytest.raises(UserError, match="may be generated"):
        load_denoiser(folder)
    (folder / "vocab.txt").write_text("\n".join(TOKENS.tokens))
    assert load_denoiser(folder, default_vocabulary=TOKENS).vocabulary is TOKENS
    with pytest.raises(UserError, match=r"vocab\.txt lists other tokens"):
        load_denoiser(folder, default_vocabulary=ODD)
    edit_config(folder, mask_token_id=31)
    with pytest.raises(UserError, match=r"mask_token_id in config\.json is 31, not 32"):
        load_denoiser(folder, default_vocabulary=TOKENS)


def test_not_a_model_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no model folder, .*no config\.json"):
        load_denoiser(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="is not JSON"):
        load_denoiser(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(UserError, match="not a JSON object"):
        load_denoiser(tmp_path)
    with pytest.raises(UserError, match="is a file"):
        load_denoiser(tmp_path / "config.json")
    with pytest.raises(UserError, match=r"nowhere: there is no such model folder"):
        load_denoiser(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "kind", [torch.int8, torch.uint8, torch.int32, torch.float8_e4m3fn, torch.float8_e5m2]
)
@pytest.mark.parametrize("pickled", [False, True])
def test_quantised_weights_are_refused(tmp_path: Path, kind: torch.dtype, pickled: bool) -> None:
    write(tmp_path)
    name = "esm.encoder.layer.0.attention.self.query.weight"
    edit_weights(tmp_path, lambda weights: weights.update({name: weights[name].to(kind)}))
    if pickled:
        torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
        (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match=rf"{str(kind)[6:]}, as in {name}"):
        load_denoiser(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_pointer_of_git_lfs_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d7a' * 16}\nsize 593\n"
    (tmp_path / name).write_text(pointer)
    with pytest.raises(UserError, match=rf"{name} is a Git LFS pointer.*git lfs pull"):
        load_denoiser(tmp_path)


def test_an_adapter_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    save_file({"base.lora_A.weight": torch.ones(2, 2)}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(UserError, match=r"holds an adapter \(LoRA\)"):
        load_denoiser(tmp_path)
    with pytest.raises(UserError, match=r"holds an adapter \(LoRA\)"):
        load_causal_model(tmp_path, "--judge x")


@pytest.mark.parametrize("shards", [2, 1])
def test_shards_without_their_index_are_named(tmp_path: Path, shards: int) -> None:
    write(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    for number in range(shards):
        part = dict(list(weights.items())[number::2])
        save_file(part, tmp_path / f"model-{number + 1:05d}-of-00002.safetensors")
    with pytest.raises(UserError, match=r"of-00002.*without the index.*index\.json"):
        load_denoiser(tmp_path)


def test_one_shard_of_one_and_hidden_files_are_no_matter(tmp_path: Path) -> None:
    write(tmp_path)
    whole = tmp_path / "model.safetensors"
    whole.rename(tmp_path / "model-00001-of-00001.safetensors")
    (tmp_path / "._model-00001-of-00001.safetensors").write_bytes(b"\0\5\26\7")
    (tmp_path / ".old.ckpt").write_bytes(b"")
    assert load_denoiser(tmp_path).vocabulary == ODD


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS pointer"),
        ({"lm_head.weight": torch.ones(4, 4, dtype=torch.int8)}, "int8"),
        ({"lm_head.weight": torch.ones(4, 4).to(torch.float8_e4m3fn)}, "float8_e4m3fn"),
    ],
)
def test_of_a_judge_too(tmp_path: Path, content: bytes | dict, named: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content) if isinstance(content, bytes) else save_file(content, path)
    with pytest.raises(UserError, match=named):
        load_causal_model(tmp_path, "--judge x")
