"""The files of `generate`: F.fasta, F.generate.json, and F.fasta.partial while it runs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from didi_core.cli import check_output
from didi_core.errors import UserError
from didi_core.files import write_json
from didi_core.sampling.partial_file import (
    PartialFile,
    continue_partial,
    partial_path,
    require_same_settings,
    start_partial,
)
from didi_protein.fasta import FASTA_SUFFIXES, ProteinRecord, write_fasta


def generate_json_path(fasta: Path) -> Path:
    """`NAME.generate.json` beside `NAME.fasta` or `NAME.fasta.gz`."""
    bare = fasta.with_name(fasta.name.removesuffix(".gz"))
    return bare.with_suffix(".generate.json")


@dataclass(frozen=True)
class DesignFiles:
    """Where one run writes."""

    fasta: Path

    @property
    def summary(self) -> Path:
        return generate_json_path(self.fasta)

    @property
    def partial(self) -> Path:
        return partial_path(self.fasta)

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Refuse a name that is no FASTA file's, and whatever would be lost.

        With `--overwrite` the old file stays until the new one is whole.

        Raises:
            UserError: see above.
        """
        bare = Path(self.fasta.name.removesuffix(".gz"))
        if self.fasta.is_dir():
            raise UserError(f"--out {self.fasta} is a folder: give a file, as in designs.fasta.")
        if bare.suffix not in FASTA_SUFFIXES:
            raise UserError(
                f"--out {self.fasta}: the name must end in {', '.join(FASTA_SUFFIXES)}, or that "
                "and .gz."
            )
        for path in (self.fasta, self.summary, self.partial):
            check_output(path, resume=resume, overwrite=overwrite)

    def open_partial(self, settings: Mapping[str, Any], *, resume: bool) -> PartialFile:
        """The work in progress: continued where there is some, else new.

        Raises:
            UserError: it was made with other settings, or the place cannot be written.
        """
        if resume and self.partial.exists():
            return continue_partial(self.partial, settings)
        try:
            return start_partial(self.partial, settings)
        except OSError as error:
            raise UserError(f"--out {self.fasta} cannot be written: {error.strerror}.") from error

    def finished_summary(self, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """What a finished run with these settings left; None where none is there.

        Raises:
            UserError: there is a finished run with other settings, or a file of another origin.
        """
        if self.partial.exists() or not self.fasta.exists():
            return None
        try:
            summary = json.loads(self.summary.read_text(encoding="utf-8"))
            stored = summary["settings"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"--resume: {self.fasta} is there without a {self.summary.name} that says how it "
                "was made; replace it with --overwrite, or choose another --out."
            ) from error
        require_same_settings(stored, settings, self.fasta)
        return summary

    def write(self, records: Sequence[ProteinRecord], summary: Mapping[str, Any]) -> None:
        """Write the designs and the summary, then let the work in progress go."""
        write_fasta(self.fasta, records)
        write_json(self.summary, summary)
        self.partial.unlink(missing_ok=True)
