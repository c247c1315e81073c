"""Designs held against one protein family by counting: statistics that no network made.

profile = FamilyProfile.read("PF00595.fasta.gz")          # an alignment, or a profile HMM
nature = profile.align_members()
designs = profile.align(sequences)                        # bits, E-value, coverage, aligned rows
contacts = ContactMap.read("PF00595_contacts.tsv.gz", profile.num_columns)
statistics = measure_family(designs, nature, contacts)
statistics.designs.covariance_correlation                 # Interval(mean=0.93, low=..., high=...)
statistics.natural.covariance_correlation                 # nature against nature at the same n
statistics.independent.covariance_correlation             # every column drawn by itself
"""

from didi_protein.families.alignments import Alignment, read_alignment
from didi_protein.families.contacts import ContactMap, contact_precision, coupling_scores
from didi_protein.families.covariances import PairEntries, pair_covariances, select_entries
from didi_protein.families.identities import mean_identities, nearest_identities
from didi_protein.families.plot_data import FamilyPlotData, SetPlotData
from didi_protein.families.profile import FamilyAlignment, FamilyProfile
from didi_protein.families.sets import Family, split_designs
from didi_protein.families.statistics import (
    FamilyReference,
    FamilyStatistics,
    SetStatistics,
    measure_family,
)

__all__ = [
    "Alignment",
    "ContactMap",
    "Family",
    "FamilyAlignment",
    "FamilyPlotData",
    "FamilyProfile",
    "FamilyReference",
    "FamilyStatistics",
    "PairEntries",
    "SetPlotData",
    "SetStatistics",
    "contact_precision",
    "coupling_scores",
    "mean_identities",
    "measure_family",
    "nearest_identities",
    "pair_covariances",
    "read_alignment",
    "select_entries",
    "split_designs",
]
