"""Real text as if it were samples: the scale on which samples are read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from didi_core.commands.comparing.sweep import Natural
from didi_core.commands.generating.domain import read_lengths
from didi_core.evaluation.frontier import Level
from didi_core.evaluation.ratio import MeanUnigramEntropy, Ratio
from didi_core.models.causal_folder import read_reference_rows
from didi_text.corpora.load import load_corpus
from didi_text.corpora.packing import Packing
from didi_text.models.load import CausalLanguageModel
from didi_text.samples.measures import BIGRAMS, Samples, measure_samples
from didi_text.samples.samples import WORDS
from didi_text.tokenizers.tokenizer import TextTokenizer


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
        As many as `num`, or as there are. What is left at the end of the text and fills no block
        is none, unless it is all there is: its entropy is that of a shorter text.

    Raises:
        UserError: no such file, no text in it, or a length without sense.
    """
    lengths = read_lengths(length, num, seed, limit, WORDS)
    corpus = load_corpus(path, tokenizer, Packing(max(lengths)), offline=offline)
    whole = max(1, int((corpus.lengths == max(lengths)).sum()))  # all but the last, as a rule
    places = np.linspace(0, whole - 1, min(num, whole)).astype(int).tolist()
    ids = [corpus.ids(place, each) for place, each in zip(places, lengths, strict=False)]
    return Samples([tokenizer.decode(each) for each in ids], ids, {"file": str(path)})


def natural_text(blocks: Sequence[Sequence[int]], source: str = "that of held-out text") -> Natural:
    """Natural text that curves are compared at: its unigram entropy, and that of its 2-grams.

    2-grams are pooled over a set, so that their entropy grows with it: it is that of as many
    blocks as there are samples, and unknown where there are fewer.
    """

    def level(ids: Sequence[object]) -> Level:
        places = np.linspace(0, len(blocks) - 1, len(ids)).astype(int)
        is_known = len(ids) <= len(blocks)
        bigrams = BIGRAMS.where_known([blocks[i] for i in places]) if is_known else None
        return Level(MeanUnigramEntropy()(blocks), source, bigrams)

    return Natural(level)


def stored_natural(
    judge: CausalLanguageModel, tokenizer: TextTokenizer, length: str
) -> Natural | None:
    """The text that a judge was bundled with, where samples are cut into the same blocks.

    Its entropies are on file, its tokens are not: 2-grams are not compared.
    """
    row = (read_reference_rows(judge.folder) or {}).get("held_out_text", {})
    if "entropies" not in row or str(row["length"]) != length:
        return None
    if tokenizer.digest != judge.tokenizer.digest:
        return None
    source = f"that of the held-out text that {judge.name} was bundled with"
    level = Level(Ratio.mean_of(row["entropies"]), source)
    return Natural(lambda _: level)


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
        For `held_out_text` and `tokens_shuffled`: judge_perplexity as `{mean, low, high}`, the
        means of entropy and repetition, and the length and the entropy of each sample.
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
            "length": length,
            "entropies": figures["per_sample_entropy"],
        }
        for name, figures in found.items()
    }
