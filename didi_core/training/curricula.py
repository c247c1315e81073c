"""Settings of how training begins; imports no torch."""

from dataclasses import dataclass

from didi_core.number_checks import negative_errors, range_errors


@dataclass
class CurriculumSettings:
    """A gentler start: little noise, all weighted alike, until the network has learnt to look.

    The bound's weight -alpha'/(1 - alpha) makes rows with few masks noisy and rows with many
    masks uninformative at first; a plain masked-language-model start shortens that plateau.
    """

    steps: int = 0
    """Updates of the gentle start; 0 trains on the bound from the first."""
    mask_range: tuple[float, float] = (0.1, 0.5)
    """Shares of noised tokens it draws from, uniformly."""

    def problems(self) -> list[str]:
        """List what is wrong with the values, each with the setting's name."""
        return negative_errors(self, "steps") + range_errors(self, "mask_range", 0.0, 1.0)


@dataclass
class GaussianSettings:
    """How long and how soft. Published: half of training, temperature 0.001."""

    steps: int = 0
    """Updates with soft inputs, before the plain bound; published: half of them; 0 for none."""
    temperature: float = 0.001
    """tau of the softmax that makes soft inputs; 0 is the token itself."""
    top_k: int = 8
    """Other tokens in a mixture beside the true one; 0 for all."""
    tail: bool = False
    """Whether weights are shares of all tokens, those left out counted by their mean (Duo++)."""

    def problems(self) -> list[str]:
        """List what is wrong with the values, each with the setting's name."""
        return negative_errors(self, "steps", "temperature", "top_k")
