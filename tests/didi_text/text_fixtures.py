"""A tiny tokenizer, a few documents, and tiny models over its vocabulary."""

import gzip
import json
from functools import cache
from pathlib import Path

from didi_text.tokenizer import TextTokenizer
from didi_text.tokenizer_training import train_tokenizer

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


def write_jsonl(path: Path, texts: list[str] = DOCUMENTS) -> Path:
    lines = [
        json.dumps({"text": text, "license": LICENSES[i % 4], "source": "own"})
        for i, text in enumerate(texts)
    ]
    content = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path
