"""A family's alignment, profile and contacts: any bytes, and only messages come back."""

import gzip
import io
from pathlib import Path

import pytest
from fuzzing import CASES, damaged, only_user_errors, write
from hypothesis import given

from didi_protein.families import ContactMap, FamilyProfile, read_alignment
from didi_protein.families.alignments import alignment_of

ROWS = ["MKVLAAGIVG-CAKAYLEHWQ", "MKVLSAGIVGLCARAY-EHWQ", "MRVLAAGIIGLCAKAYIEHFQ"]
FASTA = "".join(f">s{place} x=1\n{row}\n" for place, row in enumerate(ROWS)).encode()
A3M = FASTA.replace(b"GIV", b"GgggIV", 1)
STOCKHOLM = b"# STOCKHOLM 1.0\n#=GF ID fam\ns1 ACDK\ns2 A-DK\n#=GC RF x.xx\n//\n"
CONTACTS = b"column_i\tcolumn_j\tdistance_angstrom\n1\t7\t4.5\n2\t9\t12\n3\t21\t7.99\n"
ALIGNMENTS = (FASTA, A3M, STOCKHOLM, gzip.compress(FASTA, mtime=0))
WORDS = (b">", b".", b"-", b"a", b"//\n", b"#=GC RF ", b"\r\n", b"\xef\xbb\xbf", b"~")


@CASES
@given(content=damaged(*ALIGNMENTS, words=WORDS))
def test_alignments(tmp_path: Path, content: bytes) -> None:
    with only_user_errors():
        found = read_alignment(write(tmp_path, "family", content))
        assert {len(row) for row in found.match_rows()} == {found.num_columns}
        assert found.num_columns > 0


@CASES
@given(content=damaged(CONTACTS, words=(b"\t", b"nan", b"1e999", b"-1", b'"', b"\n", b"22")))
def test_contacts(tmp_path: Path, content: bytes) -> None:
    with only_user_errors():
        found = ContactMap.read(write(tmp_path, "c.tsv", content), 21)
        assert found.distances.shape == (21, 21)
        found.in_contact()


def _profile() -> bytes:
    buffer = io.BytesIO()
    FamilyProfile.from_alignment(alignment_of(ROWS)).hmm.write(buffer)
    return buffer.getvalue()


@CASES
@given(content=damaged(*ALIGNMENTS, words=WORDS))
def test_profiles_built_of_alignments(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("pyhmmer")
    with only_user_errors():
        profile = FamilyProfile.read(write(tmp_path, "family", content))
        assert len(profile.align(["MKVLAAGIVGCAKAYLEHWQ"])) == 1


@pytest.fixture(scope="module")
def profile() -> bytes:
    pytest.importorskip("pyhmmer")
    return _profile()


@CASES
@given(data=damaged(b"\x01" * 8))
def test_damaged_profiles(tmp_path: Path, profile: bytes, data: bytes) -> None:
    """A profile cut anywhere, with any bytes put in."""
    place = sum(data) * 131 % len(profile)
    content = profile[:place] + data + profile[place + len(data) :]
    with only_user_errors():
        read = FamilyProfile.read(write(tmp_path, "family.hmm", content))
        assert len(read.align(["MKVLAAGIVGCAKAYLEHWQ"])) == 1
    with only_user_errors():
        FamilyProfile.read(write(tmp_path, "family.hmm", profile[:place]))
