"""A tiny tokenizer, a few documents, and tiny models over its vocabulary."""

import gzip
import json
from functools import cache
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel

from didi_core.models.dit import DitDenoiser, DitSettings
from didi_core.models.folder import LoadedModel
from didi_core.sampling.autoregressive import AutoregressiveSampler
from didi_core.sampling.filling import build_prior
from didi_core.sampling.registry import build_predictor
from didi_core.sampling.request import SampleSettings
from didi_text.models.load import CausalLanguageModel, DiffusionLanguageModel
from didi_text.tokenizers.tokenizer import WORD_PIECES, TextTokenizer
from didi_text.tokenizers.train import train_tokenizer

DOCUMENTS = [
    "The cat sat on the mat, and the cat was glad.",
    'She said: "The mat is mine."\nThe cat did not agree.',
    "A naïve café costs 3 € — no more.",
    "Dogs bark; cats do not. The dog sat by the door and the cat by the window.",
]
LICENSES = ["public domain", "CC BY 4.0", "unstated", "public domain"]


@cache
def tiny_tokenizer() -> TextTokenizer:
    """300 tokens, learned from `DOCUMENTS`."""
    return train_tokenizer(DOCUMENTS * 3, 300)


SPECIAL = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
"""Special tokens in the order of BERT's vocabulary."""


def word_piece_backend(special: list[str] = SPECIAL) -> Tokenizer:
    """A tokenizer in the layout of bert-base-uncased: short words of `DOCUMENTS`, and letters."""
    normalizer = normalizers.BertNormalizer(lowercase=True)
    splitter = pre_tokenizers.BertPreTokenizer()
    text = normalizer.normalize_str(" ".join(DOCUMENTS))
    words = {word for word, _ in splitter.pre_tokenize_str(text)}
    letters = sorted({letter for word in words for letter in word})
    pieces = [*letters, *(f"##{letter}" for letter in letters), *sorted(words)]
    kept = dict.fromkeys([*special, *(piece for piece in pieces if len(piece) < 5)])
    ids = {piece: index for index, piece in enumerate(kept)}
    backend = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizer, splitter
    backend.decoder = decoders.WordPiece()
    backend.add_special_tokens(special)
    return backend


@cache
def tiny_word_pieces() -> TextTokenizer:
    """Some eighty word pieces, as `open_tokenizer` would have them."""
    backend = word_piece_backend()
    backend.encode_special_tokens = True
    return TextTokenizer(backend, WORD_PIECES)


def write_jsonl(path: Path, texts: list[str] = DOCUMENTS) -> Path:
    lines = [
        json.dumps({"text": text, "license": LICENSES[i % 4], "source": "own"})
        for i, text in enumerate(texts)
    ]
    content = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def tiny_masked_model(
    seed: int = 0, width: int = 8, max_tokens: int = 64
) -> DiffusionLanguageModel:
    """A DiT over the tiny tokenizer in which every tensor is random, in float64."""
    settings = DitSettings(
        vocabulary_size=tiny_tokenizer().vocabulary.size,
        num_layers=1,
        hidden_size=width,
        num_heads=2,
        mask_id=tiny_tokenizer().vocabulary.mask_id,
        conditioning_size=4,
        max_tokens=max_tokens,
    )
    denoiser = randomised(DitDenoiser(settings), seed).double()
    loaded = LoadedModel(denoiser, tiny_tokenizer().vocabulary, {}, "tiny-dit", Path("."), {})
    return DiffusionLanguageModel("tiny-dit", loaded, tiny_tokenizer())


def tiny_causal_model(seed: int = 0, max_tokens: int = 64) -> CausalLanguageModel:
    """A GPT-2 over the tiny tokenizer in which every tensor is random."""
    config = GPT2Config(
        vocab_size=tiny_tokenizer().size,
        n_positions=max_tokens,
        n_embd=8,
        n_layer=1,
        n_head=2,
        bos_token_id=tiny_tokenizer().end_id,
        eos_token_id=tiny_tokenizer().end_id,
    )
    network = randomised(GPT2LMHeadModel(config), seed)
    return CausalLanguageModel("tiny-gpt2", network, tiny_tokenizer())


def save_causal(folder: Path) -> Path:
    """The tiny GPT-2 as a folder that --model and --judge open."""
    model = tiny_causal_model()
    model.network.save_pretrained(folder)
    model.tokenizer.save(folder)
    return folder


@torch.no_grad()
def randomised(network: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Zeros and ones agree with anything, so norms, biases and gates are drawn too."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return network.eval()


def autoregressive_ids(
    model: CausalLanguageModel, records: list[int], length: int, seed: int
) -> list[list[int]]:
    """What its sampler draws, from the end of text on."""
    vocabulary = model.loaded.vocabulary
    sampler = AutoregressiveSampler(build_predictor(model.loaded))
    prior = build_prior([[vocabulary.mask_id] * length] * len(records), records, vocabulary, "cpu")
    return sampler.sample(prior, SampleSettings(None, seed)).tokens[:, :length].tolist()
