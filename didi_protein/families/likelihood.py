"""What a family's profile HMM makes of whole sequences, in the nats that models are measured in."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from didi_core.errors import UserError
from didi_core.io.text_files import open_text
from didi_protein.families.alignments import Alignment, read_alignment
from didi_protein.families.profile import FamilyProfile, bare_name, import_pyhmmer
from didi_protein.sequences.bundled import sequences_named
from didi_protein.sequences.residues import CANONICAL_RESIDUES


def profile_nats(profile: FamilyProfile, sequences: Sequence[str]) -> NDArray[np.float64]:
    """Return the nats [sequences] under the profile HMM, summed over alignments.

    A bit score is the log-ratio to HMMER's background, whose share is put back here; a sequence
    that does not align has the background alone. What both say of the length cancels.
    """
    pyhmmer = import_pyhmmer()
    alphabet = pyhmmer.easel.Alphabet.amino()
    background = np.log(np.asarray(pyhmmer.plan7.Background(alphabet).residue_frequencies))
    of_letter = {each: background[alphabet.symbols.index(each)] for each in CANONICAL_RESIDUES}
    null = np.array([sum(of_letter[each] for each in one) for one in sequences])
    bits = np.nan_to_num(profile.align(sequences).bits)
    return -(null + bits * np.log(2))


def open_baseline(family: str, left_out: Sequence[str], name: str = "family=") -> FamilyProfile:
    """Open a family's profile as a baseline, built of its alignment without some sequences.

    Args:
        family: an alignment, a profile HMM, or a bundled family.
        left_out: sequences on which it is to be tested; of a profile HMM nobody knows what it saw.
        name: how messages call it: the flag or setting.

    Raises:
        UserError: it cannot be read, or no sequence is left.
    """
    bundled = sequences_named(family, name)
    if len(bundled) > 1:
        raise UserError(f"{name}{family} holds several families: give one of them.")
    place = bundled[0] if bundled else family
    with open_text(place, name) as stream:
        is_hmm = stream.read(32).lstrip().startswith("HMMER")
    if is_hmm:
        return FamilyProfile.read(place, name)
    whole, tested = read_alignment(place, name), set(left_out)
    pairs = zip(whole.rows, whole.sequences(), strict=True)
    rows = tuple(row for row, sequence in pairs if sequence not in tested)
    if not rows:
        raise UserError(f"{name}{family}: all of its sequences are held out; leave it out.")
    return FamilyProfile.from_alignment(Alignment(rows, whole.num_columns), bare_name(place))
