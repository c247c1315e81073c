"""Generative perplexities that others published, to stand beside measured ones, marked as such.

All but GPT-2's are of models trained on OpenWebText with GPT-2's tokens; all are of samples of
1,024 tokens under `gpt2-large`. A perplexity means nothing without its entropy and the precision
of its draws: float32 draws lower the temperature (arXiv 2409.02908).

.. [1] "The Diffusion Duality", arXiv 2506.10892.
.. [2] "DiDi-Instruct", arXiv 2509.25035.
"""

from dataclasses import dataclass

PUBLISHED_LENGTH = 1_024
PUBLISHED_JUDGE = "gpt2-large"
PUBLISHED_IDS = 50_257
NOT_STATED = "not stated"


@dataclass(frozen=True)
class PublishedFigure:
    """One row of somebody's table."""

    model: str
    steps: int | None
    """None for an autoregressive model."""
    perplexity: float
    entropy: float | None
    """Mean unigram entropy of a sample, nats; None where the source does not give it."""
    draws: str
    source: str


_DUO_STEPS = (8, 16, 32, 64, 128, 1024)
_DUO_TABLE = {
    "MDLM": "830.82/5.91 343.33/5.81 196.79/5.75 143.88/5.70 120.77/5.67 104.85/5.63",
    "Duo": "198.27/5.57 122.78/5.58 96.19/5.57 85.62/5.57 80.02/5.55 77.69/5.55",
    "MDLM + SDTT": "193.05/5.58 89.17/5.53 62.29/5.49 47.04/5.45 41.98/5.43 36.89/5.39",
    "Duo + DCD": "111.88/5.52 75.24/5.53 61.31/5.52 55.83/5.49 54.16/5.46 50.55/5.36",
    "Duo + DCD, greedy tail": ("69.58/5.30 54.11/5.37 46.31/5.38 43.12/5.35 40.12/5.30 36.53/5.19"),
}
"""Perplexity/entropy at each of `_DUO_STEPS` [1]_."""
_DIDI_TABLE = {8: 62.2, 16: 38.2, 32: 25.0, 64: 21.9, 128: 18.4}
"""DiDi-Instruct, 169M, guided by its discriminator (RGAS) [2]_."""
_DIDI_DRAWS = "float32 (inferred)"


def _duo_rows() -> list[PublishedFigure]:
    rows = []
    for model, figures in _DUO_TABLE.items():
        for steps, pair in zip(_DUO_STEPS, figures.split(), strict=True):
            perplexity, entropy = map(float, pair.split("/"))
            rows.append(
                PublishedFigure(model, steps, perplexity, entropy, "float64", "arXiv 2506.10892")
            )
    return rows


def _didi_rows() -> list[PublishedFigure]:
    source = "arXiv 2509.25035"
    rows = [
        PublishedFigure(
            "DiDi-Instruct 169M", steps, value, 5.21 if steps == 16 else None, _DIDI_DRAWS, source
        )
        for steps, value in _DIDI_TABLE.items()
    ]
    return [
        *rows,
        PublishedFigure("DiDi-Instruct 424M", 16, 32.8, None, _DIDI_DRAWS, source),
        PublishedFigure("MDLM 169M, its teacher", 1024, 38.5, None, _DIDI_DRAWS, source),
    ]


PUBLISHED = (
    *_duo_rows(),
    *_didi_rows(),
    PublishedFigure("IDLM", 16, 32.75, 5.42, NOT_STATED, "arXiv 2602.19066"),
    PublishedFigure("AR (Duo's)", None, 35.90, 5.58, "float64", "arXiv 2506.10892"),
    PublishedFigure("GPT-2 small", None, 18.3, None, NOT_STATED, "arXiv 2509.25035"),
)


def published_beside(steps: tuple[int, ...]) -> tuple[PublishedFigure, ...]:
    """What belongs beside a study at these numbers of steps: those, the longest published
    sampling (1,024 steps, a call a token), and autoregressive models."""
    wanted = {*steps, PUBLISHED_LENGTH, None}
    return tuple(figure for figure in PUBLISHED if figure.steps in wanted)


@dataclass(frozen=True)
class StudySetting:
    """What decides whether measured figures may be compared with published ones."""

    length: int
    judge: str
    draws: str
    num_ids: int
    """Size of the tokenizer of the models that were measured."""

    def differences(self, figure: PublishedFigure) -> tuple[str, ...]:
        """In what a published figure's setting differs, or may differ, from this one."""
        found = []
        if self.length != PUBLISHED_LENGTH:
            found.append(f"length {PUBLISHED_LENGTH:,}, here {self.length:,}")
        if self.judge.rpartition("/")[2] != PUBLISHED_JUDGE:
            found.append(f"judge {PUBLISHED_JUDGE}, here {self.judge}")
        if self.num_ids != PUBLISHED_IDS:
            found.append(f"{PUBLISHED_IDS:,} token ids, here {self.num_ids:,}")
        if figure.draws == NOT_STATED:
            found.append("draws not stated")
        elif not figure.draws.startswith(self.draws):
            found.append(f"draws {figure.draws}, here {self.draws}")
        return tuple(found)
