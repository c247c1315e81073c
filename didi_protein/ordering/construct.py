"""What stands on the DNA of one design: flank, start, tag, design, tag, stop, flank."""

from dataclasses import dataclass

from didi_core.errors import UserError
from didi_protein.sequences.residues import is_canonical

TAGS = {
    "His6": "HHHHHH",
    "His8": "HHHHHHHH",
    "His10": "HHHHHHHHHH",
    "StrepII": "WSHPQFEK",
    "FLAG": "DYKDDDDK",
    "HA": "YPYDVPDYA",
    "Myc": "EQKLISEEDL",
    "Avi": "GLNDIFEAQKIEWHE",
    "TEV": "ENLYFQG",
    "HRV3C": "LEVLFQGP",
    "Thrombin": "LVPRGS",
    "G4S": "GGGGS",
    "G4Sx3": "GGGGSGGGGSGGGGS",
}
"""Tags, protease sites and linkers by name. TEV cuts before the last G, HRV3C before GP, thrombin
before GS."""


@dataclass(frozen=True)
class Construct:
    """One design with all that is ordered around it."""

    flank5: str
    """DNA in front, kept as it is."""
    protein: str
    """What the host makes: start, tags and design."""
    stop: str
    """Stop codons."""
    flank3: str
    """DNA behind, kept as it is."""

    @property
    def coding_start(self) -> int:
        """Place of the first codon."""
        return len(self.flank5)

    @property
    def coding_end(self) -> int:
        """Place behind the last codon of a residue."""
        return len(self.flank5) + 3 * len(self.protein)

    @property
    def length(self) -> int:
        """Bases in all."""
        return self.coding_end + len(self.stop) + len(self.flank3)

    def dna(self, codons: str) -> str:
        """Return the whole with these codons of the protein."""
        return self.flank5 + codons + self.stop + self.flank3

    def codons(self, dna: str) -> str:
        """Return the codons of the protein in the whole."""
        return dna[self.coding_start : self.coding_end]


@dataclass(frozen=True)
class Frame:
    """What is the same in all constructs of an order."""

    flank5: str
    start: bool
    n_tag: str
    c_tag: str
    stop: str
    flank3: str

    def around(self, design: str) -> Construct:
        """Return the construct of a design."""
        protein = self.n_tag + design + self.c_tag
        if self.start and not protein.startswith("M"):
            protein = "M" + protein
        return Construct(self.flank5, protein, self.stop, self.flank3)


def parse_tag(flag: str, text: str | None) -> str:
    """Return the residues of parts joined by `+`; a name of `TAGS` goes before its letters.

    >>> parse_tag("--n-tag", "His6+GS+TEV")
    'HHHHHHGSENLYFQG'

    Raises:
        UserError: a part is neither a name nor residues.
    """
    names = {name.lower(): residues for name, residues in TAGS.items()}
    residues = ""
    for part in text.split("+") if text else []:
        found = names.get(part.lower(), part)
        if not is_canonical(found):
            raise UserError(
                f"{flag} {text}: {part!r} is neither residues in capitals nor one of "
                f"{', '.join(TAGS)}; join parts with +."
            )
        residues += found
    return residues
