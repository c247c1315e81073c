"""One line of headroom for commands that do other things: the stored curve, or a short estimate.

`pretrain` and `distill` end with it, and `compare` notes it of its teacher.
"""

from collections.abc import Callable, Sequence

from torch import nn

from didi_core.commands.generating.domain import length_limit
from didi_core.commands.headroom.run import choose_sequences
from didi_core.data.batches import bucket_width
from didi_core.data.corpus import Corpus
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.process import DEFAULT_PROCESS
from didi_core.errors import UserError
from didi_core.evaluation.headroom import Curve, even_grid, masked_shares, masked_sums
from didi_core.evaluation.headroom_record import read_curve
from didi_core.models.fingerprint import count_parameters
from didi_core.models.folder import LoadedModel
from didi_core.progress import counted

SEQUENCES = 32
SHARES = masked_shares(8)
"""Half as many points as `headroom` measures: 256 passes of one sequence."""
CALLS = (4, 8, 16)
MOST_WORK = {"cpu": 5e11, "cuda": 2e14}
"""Multiplications and additions that an estimate may take, some ten seconds of a core or a GPU;
one that takes more is left out."""
TOKENS_AT_ONCE = 4_096


def teacher_line(
    teacher: LoadedModel,
    corpus: Callable[[], Corpus] | None,
    source: str,
    unit: str,
    calls: Sequence[int] = CALLS,
) -> str | None:
    """Return the line of an open model, by the curve in its folder or by a short estimate.

    Args:
        corpus: gives sequences to estimate on where the folder has no curve of these weights.
        source: what those are called.
        unit: what a token is called.

    Returns:
        None of a model that is not masked, where there is nothing to estimate on, and where it
        would take long.
    """
    if teacher.process != DEFAULT_PROCESS:
        return None
    try:
        stored = read_curve(teacher.folder)
    except UserError as error:  # of a line that other commands end with, nothing may depend
        return f"Headroom of {teacher.name}: {error}"
    if stored is not None and stored.is_of(teacher.denoiser):
        known = stored.measured
        return _line(teacher.name, stored.curve, unit, known.num_sequences, known.data, calls)
    if corpus is None:
        return None
    return estimated_line(
        *(teacher.name, teacher.denoiser, teacher.vocabulary, corpus()),
        longest=length_limit(teacher),
        source=source,
        unit=unit,
        calls=calls,
    )


def estimated_line(
    name: str,
    network: nn.Module,
    vocabulary: Vocabulary,
    corpus: Corpus,
    *,
    longest: int,
    source: str,
    unit: str,
    calls: Sequence[int] = CALLS,
) -> str | None:
    """Estimate a curve on few sequences; None where it would take long, or they are too short."""
    sequences = choose_sequences(corpus, SEQUENCES, longest, seed=0)
    device = next(network.parameters()).device
    if _work(network, sequences) > MOST_WORK.get(device.type, MOST_WORK["cpu"]):
        return None
    try:
        sums = masked_sums(network, vocabulary, sequences, SHARES, tokens_per_batch=TOKENS_AT_ONCE)
    except ValueError:
        return None
    return _line(name, sums.curve, unit, len(sequences), source, calls)


def _work(network: nn.Module, sequences: Sequence[Sequence[int]]) -> float:
    """Return about how many multiplications and additions an estimate takes."""
    positions = sum(bucket_width(len(each)) for each in sequences)
    return 2.0 * count_parameters(network) * len(SHARES) * positions


def _line(name: str, curve: Curve, unit: str, num: int, source: str, calls: Sequence[int]) -> str:
    # Rounded, and added to 0: no loss is no minus zero.
    losses = {k: round(curve.loss(even_grid(k)), 3) + 0.0 for k in calls}
    lost = ", ".join(f"{loss:.3f} in {k}" for k, loss in losses.items())
    return (
        f"Headroom of {name}: drawing tokens together loses {lost} calls (nats a {unit}, even "
        f"grid, {counted(num, 'sequence')} of {source}); `headroom` says more."
    )
