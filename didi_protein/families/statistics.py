"""Everything that is counted of a set of designs of one family, with nature and noise beside it.

No figure stands alone: *natural* is as many natural sequences against the others of nature, which
is what a perfect model would reach at this n; *independent* is as many sequences with every column
drawn by itself from nature's frequencies, which is what a model without any dependence reaches.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from didi_core.evaluation.bootstrap import Interval, warnings_of_few
from didi_core.progress import counted
from didi_protein.families.contacts import (
    MAX_COLUMNS,
    ContactMap,
    contact_precision,
    coupling_scores,
    strongest_pairs,
)
from didi_protein.families.covariances import (
    NUM_RESIDUES,
    PairEntries,
    Rows,
    fit_covariances,
    fit_sites,
    pair_covariances,
    select_entries,
    site_frequencies,
)
from didi_protein.families.identities import mean_identities, nearest_identities
from didi_protein.families.intervals import (
    bootstrap_weights,
    mean_interval,
    normal_interval,
    resampled_means,
)
from didi_protein.families.plot_data import FamilyPlotData, SetPlotData
from didi_protein.families.profile import FamilyAlignment
from didi_protein.similarity.neighbours import COPY_IDENTITY

NUM_RESAMPLES = 100
NUM_CONTACT_RESAMPLES = 10
"""Each inverts a matrix of 20 L x 20 L: two seconds of one core at 202 columns, 0.2 at 82."""
ENOUGH_DESIGNS = 2_048
"""From here on sets of other sizes compare roughly too; nature reaches 0.99 with itself."""
TOO_FEW_DESIGNS = 512
"""Below this the noise of covariances is as large as what is asked of them."""
MIN_NATURAL = 1_000
"""Below this the entries above the threshold are chosen by nature's own noise."""
MOST_PAIRED = 8_192
"""Sequences among which pairwise identity is counted; of more, the first ones at random."""
SETS = ("designs", "natural", "independent", "held_out")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class SetStatistics:
    """What is counted of one set; intervals are 95%, over sequences. None: not to be had."""

    n: int
    """Sequences counted: those that align."""
    n_given: int
    """Sequences given."""
    num_distinct: int
    """Different sequences among the `n`."""
    covariance_correlation: Interval | None
    """Pearson correlation of pair covariances with nature's, -1 to 1."""
    covariance_slope: Interval | None
    """Slope of the regression of the set's covariances on nature's; below 1: weakened."""
    site_correlation: Interval | None
    """Pearson correlation of residue frequencies by column with nature's, -1 to 1."""
    contact_precision: Interval | None
    """Share of contacts among the L pairs of columns coupled most strongly in this set."""
    nearest_identity: Interval | None
    """Mean identity to the nearest natural sequence, 0 to 1."""
    copies: Interval | None
    """Share of sequences with 95% identity or more to a natural sequence."""
    pairwise_identity: Interval | None
    """Mean identity of two sequences of the set, 0 to 1."""
    nearest_identities: Float[ndarray, "n"] = field(repr=False)
    """Identity of each sequence counted to its nearest natural one, for a histogram."""
    plot_data: SetPlotData = field(repr=False)
    """What is drawn of the set."""
    resampled: Mapping[str, Float[ndarray, "_"]] = field(repr=False)
    """Of some measures, by name, what each resample of the bootstrap has, NaN where undefined.
    Resample k of sets of one size holds the same places."""

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for JSON, the distribution of identities as quantiles."""
        plain, values = asdict(self), self.nearest_identities
        for name in ("nearest_identities", "plot_data", "resampled"):
            del plain[name]
        quantiles = np.quantile(values, QUANTILES) if len(values) else []
        plain["nearest_identity_quantiles"] = {
            f"{q:g}": float(value) for q, value in zip(QUANTILES, quantiles, strict=False)
        }
        return plain


@dataclass(frozen=True)
class FamilyStatistics:
    """A set of designs against nature."""

    designs: SetStatistics | None = None
    natural: SetStatistics | None = None
    """As many natural sequences (half of them where there are fewer) against the others."""
    independent: SetStatistics | None = None
    """As many sequences with every column drawn by itself from nature's frequencies."""
    held_out: SetStatistics | None = None
    """Natural sequences of which nature holds no near relative, where given."""
    num_natural: int = 0
    """Natural sequences, all of which designs are compared with."""
    num_columns: int = 0
    """Match columns, L."""
    num_entries: int = 0
    """Covariances compared: those above 0.01 in nature."""
    contact_share: float | None = None
    """Share of contacts among all pairs that count: the precision of a blind guess."""
    reason: str | None = None
    """Why there are no statistics."""
    warnings: tuple[str, ...] = ()
    plot_data: FamilyPlotData | None = field(default=None, repr=False)
    """What is drawn; None without statistics."""

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        plain = {
            name: None if (counted := getattr(self, name)) is None else counted.as_dict()
            for name in SETS
        }
        counts = ("num_natural", "num_columns", "num_entries", "contact_share", "reason")
        plain |= {name: getattr(self, name) for name in counts}
        return plain | {"warnings": list(self.warnings)}


def measure_family(
    designs: FamilyAlignment,
    nature: FamilyAlignment | None,
    contacts: ContactMap | None = None,
    *,
    held_out: FamilyAlignment | None = None,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
    num_contact_resamples: int = NUM_CONTACT_RESAMPLES,
    on_progress: Callable[[float], object] | None = None,
) -> FamilyStatistics:
    """Count a set of designs against nature; for many sets make one `FamilyReference`.

    Args:
        nature: the family's natural sequences, aligned to the same profile; None where a profile
            came without any, and then there are no statistics.
        contacts: known distances; without them no contact precision.
        held_out: other natural sequences, to stand beside the designs.
        seed: of the bootstrap, of the natural subset and of the independent columns.
        num_resamples: of the bootstrap, contacts excepted.
        num_contact_resamples: of the bootstrap of contact precision.
        on_progress: is given the number of passes made, of `num_passes`.
    """
    if nature is None:
        reason = "the family was given as a profile alone: an alignment holds natural sequences"
        return FamilyStatistics(reason=reason, num_columns=designs.num_columns)
    if nature.aligned.sum() < 2:
        reason = f"{nature.aligned.sum()} natural sequences align: two or more are needed"
        return FamilyStatistics(reason=reason, num_columns=designs.num_columns)
    reference = FamilyReference(nature, contacts, seed, num_resamples, num_contact_resamples)
    reference.on_progress = on_progress
    return reference.measure(designs, held_out)


def num_passes(contacts: ContactMap | None, num_columns: int) -> int:
    """Return how often a set and its two controls are passed over: what takes the time."""
    each = 1 + NUM_CONTACT_RESAMPLES if contacts and num_columns <= MAX_COLUMNS else 1
    return 3 * each


class FamilyReference:
    """Nature, to hold sets of designs against: what depends on nature and n is computed once."""

    def __init__(
        self,
        nature: FamilyAlignment,
        contacts: ContactMap | None = None,
        seed: int = 0,
        num_resamples: int = NUM_RESAMPLES,
        num_contact_resamples: int = NUM_CONTACT_RESAMPLES,
    ) -> None:
        """Choose the entries and count nature's covariances; arguments as in `measure_family`.

        Raises:
            ValueError: contacts of another number of columns, or fewer than two resamples.
        """
        if min(num_resamples, num_contact_resamples) < 2:
            raise ValueError("an interval needs two resamples or more")
        if contacts is not None and contacts.num_columns != nature.num_columns:
            raise ValueError(f"{contacts.num_columns} columns of {nature.num_columns}")
        self.nature = nature.take(nature.aligned)
        self.contacts = contacts if nature.num_columns <= MAX_COLUMNS else None
        self.left_out = contacts is not None and self.contacts is None
        self.seed = seed
        self.num_resamples = num_resamples
        self.num_contact_resamples = num_contact_resamples
        self.on_progress: Callable[[float], object] | None = None
        """Is given the number of passes made, see `num_passes`."""
        self._passes = 0
        self.entries: PairEntries = select_entries(self.nature.rows)
        self.target = _Target(self.nature.rows, self.entries)
        largest = np.abs(self.target.covariances).max(initial=0.05)
        self.covariance_limit = float(np.ceil(110 * largest) / 100)
        """Where histograms of covariances end: a tenth above nature's largest."""
        self._controls: dict[int, tuple[SetStatistics, SetStatistics]] = {}

    def measure(
        self, designs: FamilyAlignment, held_out: FamilyAlignment | None = None
    ) -> FamilyStatistics:
        """Count a set of designs, with its controls at the same n beside it."""
        aligned = designs.take(designs.aligned)
        shared: dict[str, Any] = {
            "num_natural": len(self.nature),
            "num_columns": self.nature.num_columns,
            "num_entries": len(self.entries),
            "contact_share": self._contact_share(),
        }
        if not len(aligned):
            reason = f"none of {counted(len(designs), 'design')} aligns to the family"
            return FamilyStatistics(**shared, reason=reason)
        measured = self._count(aligned.rows, aligned.sequences, len(designs), self.target)
        natural, independent = self.controls(len(aligned))
        beside = None
        if held_out is not None and held_out.aligned.any():
            other = held_out.take(held_out.aligned)
            beside = self._count(other.rows, other.sequences, len(held_out), self.target)
        sets = (measured, natural, independent, beside)
        return FamilyStatistics(
            *sets,
            **shared,
            warnings=tuple(self._warnings(measured, natural, independent)),
            plot_data=self._plot_data(sets),
        )

    def controls(self, n: int) -> tuple[SetStatistics, SetStatistics]:
        """Return the statistics of natural and of independent-column sequences, `n` of each.

        Of fewer than 2 n natural sequences the natural control takes half.
        """
        if n not in self._controls:
            generator = np.random.default_rng(self.seed)
            order = generator.permutation(len(self.nature))
            size = min(n, len(order) // 2)
            chosen, others = self.nature.take(np.sort(order[:size])), np.sort(order[size:])
            target = _Target(self.nature.rows[others], self.entries)
            natural = self._count(chosen.rows, chosen.sequences, size, target)
            rows = draw_independent_columns(self.nature.rows, n, generator)
            drawn = [row.tobytes().decode("latin-1") for row in rows]
            self._controls[n] = natural, self._count(rows, drawn, n, self.target)
        return self._controls[n]

    def _count(
        self, rows: Rows, sequences: Sequence[str], n_given: int, target: "_Target"
    ) -> SetStatistics:
        weights = bootstrap_weights(len(rows), self.num_resamples, self.seed)
        fit = fit_covariances(rows, self.entries, target.covariances, weights)
        nearest = nearest_identities(rows, target.rows)
        identity, identities = self._pairwise_identity(rows)
        precision, precisions, strongest = self._contacts(rows)
        own = pair_covariances(rows, self.entries)
        return SetStatistics(
            n=len(rows),
            n_given=n_given,
            num_distinct=len(set(sequences)),
            covariance_correlation=fit.correlation,
            covariance_slope=fit.slope,
            site_correlation=fit_sites(rows, target.sites, weights),
            contact_precision=precision,
            nearest_identity=mean_interval(nearest, weights),
            copies=mean_interval((nearest >= COPY_IDENTITY).astype(np.float64), weights),
            pairwise_identity=identity,
            nearest_identities=nearest,
            plot_data=SetPlotData.count(
                target.covariances, own, self.covariance_limit, nearest, strongest
            ),
            resampled={
                "covariance_correlation": fit.resampled[0],
                "covariance_slope": fit.resampled[1],
                "contact_precision": precisions,
                "pairwise_identity": identities,
            },
        )

    def _contacts(self, rows: Rows) -> tuple[Interval | None, ndarray, ndarray | None]:
        """Return contact precision, that of each resample, and the strongest pairs of columns."""
        if self.contacts is None:
            self._pass()
            return None, np.full(self.num_contact_resamples, np.nan), None
        scores = coupling_scores(rows)
        self._pass()
        resampled = []
        for counts in bootstrap_weights(len(rows), self.num_contact_resamples, self.seed):
            resampled.append(contact_precision(coupling_scores(rows, counts), self.contacts))
            self._pass()
        estimate = contact_precision(scores, self.contacts)
        best = strongest_pairs(scores, self.contacts)
        pairs = np.stack(self.contacts.pairs(), axis=1)[best]
        return normal_interval(estimate, resampled, "share"), np.array(resampled), pairs

    def _pass(self) -> None:
        """Take note of a pass over a set."""
        self._passes += 1
        if self.on_progress is not None:
            self.on_progress(self._passes)

    def _pairwise_identity(self, rows: Rows) -> tuple[Interval | None, ndarray]:
        """Return the mean identity of two sequences, and that of each resample."""
        if len(rows) < 2:
            return None, np.full(self.num_resamples, np.nan)
        if len(rows) > MOST_PAIRED:
            order = np.random.default_rng(self.seed).permutation(len(rows))
            rows = rows[order[:MOST_PAIRED]]
        means = mean_identities(rows)
        # A mean over pairs varies as the mean of twice each sequence's own part in it (Hoeffding).
        weights = bootstrap_weights(len(rows), self.num_resamples, self.seed)
        own_parts = 2 * means - means.mean()
        return mean_interval(own_parts, weights), resampled_means(own_parts, weights)

    def _plot_data(self, counted: Sequence[SetStatistics | None]) -> FamilyPlotData:
        """Return what is drawn of sets, in the order of `SETS`."""
        contacts = None
        if self.contacts is not None:
            contacts = np.zeros((self.nature.num_columns,) * 2, dtype=bool)
            contacts[self.contacts.pairs()] = self.contacts.in_contact()
        sets = {name: each.plot_data for name, each in zip(SETS, counted, strict=True) if each}
        return FamilyPlotData(self.nature.num_columns, self.covariance_limit, contacts, sets)

    def _contact_share(self) -> float | None:
        if self.contacts is None or not len(self.contacts.pairs()[0]):
            return None
        return float(self.contacts.in_contact().mean())

    def _warnings(
        self, designs: SetStatistics, natural: SetStatistics, independent: SetStatistics
    ) -> list[str]:
        """Warn of what is claimed on too little."""
        warnings = warnings_of_few(designs.n, "designs")
        unaligned = designs.n_given - designs.n
        if unaligned:
            warnings.append(
                f"{unaligned:,} of {counted(designs.n_given, 'design')} without an alignment to "
                "the family: in none of its statistics."
            )
        warnings += _size_warnings(designs, natural)
        if len(self.nature) < MIN_NATURAL:
            warnings.append(
                f"The family has {counted(len(self.nature), 'natural sequence')}: below "
                f"{MIN_NATURAL} the covariances compared are largely noise of nature's own."
            )
        if self.left_out:
            warnings.append(
                f"Contacts are left out above {MAX_COLUMNS} columns; the family has "
                f"{self.nature.num_columns}."
            )
        return warnings + self._contact_warnings(natural, independent)

    def _contact_warnings(self, natural: SetStatistics, independent: SetStatistics) -> list[str]:
        if self.contacts is None:
            return []
        known = len(self.contacts.pairs()[0])
        if known < self.contacts.num_columns:
            pairs = counted(known, "pair")
            return [f"Only {pairs} of columns with a distance, and 5 columns apart."]
        precision, blind = natural.contact_precision, independent.contact_precision
        # `not >`: true of undefined ends too.
        if precision is None or blind is None or not precision.low > blind.high:
            return [
                f"Contacts inferred from {natural.n} natural sequences are not clearly better than "
                "from as many with independent columns: contact precision says nothing at this n."
            ]
        return []


def _size_warnings(designs: SetStatistics, natural: SetStatistics) -> list[str]:
    warnings = []
    if designs.n < ENOUGH_DESIGNS:
        reached = natural.covariance_correlation
        beside = "" if reached is None else f" (nature itself reaches {reached.mean:.2f})"
        worth = "are mostly noise" if designs.n < TOO_FEW_DESIGNS else "compare at equal n only"
        warnings.append(f"Covariances and contacts of {designs.n} designs {worth}{beside}.")
    if designs.num_distinct < designs.n:
        warnings.append(
            f"{designs.num_distinct} of {designs.n} designs are distinct: repeats are no evidence, "
            "and intervals are too narrow by as much."
        )
    if natural.n < designs.n:
        warnings.append(
            f"Nature stands beside {designs.n} designs with {natural.n} sequences, half of what "
            "there is: compare it with as many designs."
        )
    return warnings


class _Target:
    """The natural sequences that a set is compared with, and what is counted of them."""

    def __init__(self, rows: Rows, entries: PairEntries) -> None:
        self.rows = rows
        self.covariances = pair_covariances(rows, entries)
        self.sites = site_frequencies(rows)


def draw_independent_columns(
    rows: Rows, n: int, generator: np.random.Generator
) -> UInt8[np.ndarray, "drawn columns"]:
    """Draw `n` sequences, every column by itself from its own frequencies, gaps among them."""
    drawn = np.empty((n, rows.shape[1]), dtype=np.uint8)
    for column in range(rows.shape[1]):
        counts = np.bincount(rows[:, column], minlength=NUM_RESIDUES + 1)
        drawn[:, column] = generator.choice(len(counts), size=n, p=counts / counts.sum())
    return drawn
