"""Real text as if it were samples: the scale on which samples are read."""

from pathlib import Path
from typing import Any

import numpy as np

from didi_core.commands.lengths import read_lengths
from didi_text.corpora import load_corpus
from didi_text.evaluate_models import CausalLanguageModel
from didi_text.generative_perplexity import Samples
from didi_text.packing import Packing
from didi_text.sample_measures import measure_samples
from didi_text.samples import WORDS
from didi_text.tokenizer import TextTokenizer


def reference_samples(
    path: str | Path,
    tokenizer: TextTokenizer,
    *,
    num: int,
    length: str,
    limit: int,
    seed: int = 0,
    offline: bool = False,
) -> Samples:
    """Blocks of a text, spread evenly over it, of the lengths that samples would have.

    Args:
        path: as `data=`.
        length: as `--length` of generate.
        limit: most tokens that the model takes.

    Returns:
        As many as `num`, or as there are.

    Raises:
        UserError: no such file, no text in it, or a length without sense.
    """
    lengths = read_lengths(length, num, seed, limit, WORDS)
    corpus = load_corpus(path, tokenizer, Packing(max(lengths)), offline=offline)
    places = np.linspace(0, len(corpus) - 1, min(num, len(corpus))).astype(int).tolist()
    ids = [corpus.ids(place, each) for place, each in zip(places, lengths, strict=False)]
    return Samples([tokenizer.decode(each) for each in ids], ids, {"file": str(path)})


def shuffled(samples: Samples, tokenizer: TextTokenizer, seed: int = 0) -> Samples:
    """Each sample with its own tokens in random order: its words without any text."""
    generator = np.random.default_rng(seed)
    ids = [generator.permutation(each).tolist() for each in samples.ids or []]
    return Samples([tokenizer.decode(each) for each in ids], ids, samples.made)


def measure_reference_rows(
    judge: CausalLanguageModel, held_out: Path, *, num: int = 512, length: int = 128
) -> dict[str, dict[str, Any]]:
    """What the judge finds of real and of shuffled text, for its folder's `reference_rows.json`.

    Returns:
        For `held_out_text` and `tokens_shuffled`: judge_perplexity as `{mean, low, high}`, and the
        means of entropy and repetition.
    """
    natural = reference_samples(
        held_out, judge.tokenizer, num=num, length=str(length), limit=length
    )
    rows = {"held_out_text": natural, "tokens_shuffled": shuffled(natural, judge.tokenizer)}
    found = {name: measure_samples(each, judge) for name, each in rows.items()}
    return {
        name: {
            "n": figures["num_samples"],
            "judge_perplexity": figures["perplexity"],
            "entropy": figures["entropy"]["mean"],
            "repetition": figures["repetition"]["mean"],
        }
        for name, figures in found.items()
    }
