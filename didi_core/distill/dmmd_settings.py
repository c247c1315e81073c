"""Settings of D-MMD, discrete moment matching of masked models (arXiv 2603.20155)."""

from dataclasses import dataclass

from didi_core.distill.matching_settings import MatchingSettings
from didi_core.number_checks import fraction_errors, negative_errors


@dataclass
class DmmdSettings(MatchingSettings):
    """What moment matching has for every process, and what belongs to masks."""

    reveal_exponent: float = 2.0
    """The student is trained for, and sampled by default with, alpha = (k / K) ** exponent after
    step k of K. Above 1 the first steps reveal few positions: those decide what the rest will be,
    and positions revealed together are drawn independently of each other."""
    sampler: str | None = None
    """What the student's folder names for `generate`: ancestral or apart; None: whichever was
    found better in the program's domain."""
    own_share: float = 0.0
    """Share of rows whose step starts from tokens the student drew itself, in its own steps and
    with the noise of the row, in place of the reference's (ours, see own_states)."""
    start_anchor: float = 0.0
    """Weight of KL(teacher || student) at rows that start all masked (ours). The first step of the
    grid reveals next to nothing, and one position alone is drawn rightly from the teacher."""

    def problems(self) -> list[str]:
        """What is wrong with the values, each with the setting's name."""
        wrong = super().problems()
        if self.sampler not in (None, "ancestral", "apart"):
            wrong.append(f"sampler={self.sampler} must be ancestral or apart")
        return wrong + fraction_errors(self, "own_share") + negative_errors(self, "start_anchor")
