"""DiT folders of ours: written, read back, refused by transformers."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from dit_fixtures import SETTINGS, WORDS, published_shapes, real_logits, tiny_dit, token_rows
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForMaskedLM

from didi_core.errors import UserError
from didi_core.models.discriminator import Discriminator, load_discriminator, save_discriminator
from didi_core.models.folder import load_denoiser, save_model_folder

LISTED = replace(WORDS, pad_id=0, generable_ids=tuple(range(1, WORDS.mask_id)))
"""A vocabulary that `vocab.txt` can hold: padding is an id of its own."""


def write(folder: Path, **options: object) -> Path:
    vocabulary = WORDS if "write_tokenizer" in options else LISTED
    save_model_folder(folder, tiny_dit(2), vocabulary, **{"card": "# A card\n", **options})
    return folder


def write_words(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text("{}")


def test_round_trip(tmp_path: Path) -> None:
    model = load_denoiser(write(tmp_path / "m", run={"seed": 3}))
    expected = real_logits(tiny_dit(2), *token_rows())
    assert torch.equal(real_logits(model.denoiser, *token_rows()), expected)
    assert model.denoiser.settings == SETTINGS and model.vocabulary == LISTED
    names = {path.name for path in (tmp_path / "m").iterdir()}
    assert names == {"config.json", "model.safetensors", "vocab.txt", "README.md", "run.json"}


def test_weights_have_the_published_names(tmp_path: Path) -> None:
    stored = load_file(write(tmp_path / "m") / "model.safetensors")
    assert set(stored) == {f"backbone.{name}" for name in published_shapes()}


def test_half_precision(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", dtype=torch.bfloat16)
    model = load_denoiser(folder, dtype=torch.float64)
    assert model.denoiser.embedding.weight.dtype == torch.float64
    wanted = tiny_dit(2).to(torch.bfloat16).double()
    tokens, lengths = token_rows()
    found = real_logits(model.denoiser, tokens, lengths)
    assert torch.equal(found, real_logits(wanted, tokens, lengths))
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"


def test_transformers_refuses_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "m")
    for opener in (AutoConfig, AutoModelForMaskedLM):
        with pytest.raises(ValueError, match="didi_dit"):
            opener.from_pretrained(folder)


def test_a_tokenizer_in_place_of_the_list_of_tokens(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", write_tokenizer=write_words)
    assert (folder / "tokenizer.json").is_file() and not (folder / "vocab.txt").exists()
    assert load_denoiser(folder, default_vocabulary=WORDS).vocabulary is WORDS
    with pytest.raises(UserError, match="may be generated"):
        load_denoiser(folder)
    fewer = replace(WORDS, generable_ids=WORDS.generable_ids[1:])
    with pytest.raises(UserError, match="14 ids may be generated, not 13"):
        load_denoiser(folder, default_vocabulary=fewer)


def test_discriminator_round_trip_under_published_names(tmp_path: Path) -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(tiny_dit(2)).eval()
    save_discriminator(discriminator, tmp_path / "discriminator.safetensors")
    blocks = {name for name in published_shapes() if not name.startswith("output_layer")}
    parts = ("weight_orig", "weight_u", "weight_v", "bias")
    head = {f"output_layer.main.{i}.{part}" for i in (0, 2) for part in parts}
    assert set(load_file(tmp_path / "discriminator.safetensors")) == blocks | head
    loaded = load_discriminator(tiny_dit(0), tmp_path / "discriminator.safetensors")
    tokens, lengths = token_rows()
    at = tokens == WORDS.mask_id
    with torch.no_grad():
        expected = discriminator.logits_at(tokens, lengths, at)
        assert torch.equal(loaded.logits_at(tokens, lengths, at), expected)
