"""The files of `generate`: the output, NAME.generate.json, and OUTPUT.partial while it runs."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from didi_core.cli.run import check_output
from didi_core.errors import UserError
from didi_core.io.files import Unwritable, write_json
from didi_core.io.journal import (
    partial_path,
    partials_of,
    process_path,
    require_same_settings,
)
from didi_core.sampling.run_request import SampledBatches


def generate_json_path(out: Path) -> Path:
    """`NAME.generate.json` beside `NAME.fasta` or `NAME.fasta.gz`."""
    bare = out.with_name(out.name.removesuffix(".gz"))
    return bare.with_suffix(".generate.json")


@dataclass(frozen=True)
class OutputFiles:
    """Where one run writes."""

    out: Path
    suffixes: tuple[str, ...]
    """Ends that the output's name may have; .gz may follow."""
    example: str
    """A name that would do, for messages."""

    @property
    def summary(self) -> Path:
        return generate_json_path(self.out)

    @property
    def partial(self) -> Path:
        return partial_path(self.out)

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Refuse a name with another end, and whatever would be lost.

        With `--overwrite` the old file stays until the new one is whole.

        Raises:
            UserError: see above.
        """
        bare = Path(self.out.name.removesuffix(".gz"))
        if self.out.is_dir():
            raise UserError(f"--out {self.out} is a folder: give a file, as in {self.example}.")
        if bare.suffix not in self.suffixes:
            raise UserError(
                f"--out {self.out}: the name must end in {', '.join(self.suffixes)}, or that "
                "and .gz."
            )
        for path in (self.out, self.summary, *partials_of(self.out)):
            check_output(path, resume=resume, overwrite=overwrite)

    def forget_partials(self) -> None:
        """Remove what is left of earlier runs, of whatever number of processes."""
        for path in partials_of(self.out):
            path.unlink(missing_ok=True)

    def read_others(self, settings: Mapping[str, Any], rank: int) -> list[SampledBatches]:
        """What other processes than `rank` have finished of this request, also in earlier runs.

        Raises:
            UserError: it was made with other settings.
        """
        own = process_path(self.partial, rank)
        paths = (path for path in partials_of(self.out) if path != own)
        others = [SampledBatches.at(path, settings) for path in paths]
        for each in others:
            each.journal.load()
        return others

    def open_partial(
        self, settings: Mapping[str, Any], *, resume: bool, rank: int = 0
    ) -> SampledBatches:
        """The work in progress of process `rank`: continued where there is some, else new.

        Raises:
            UserError: it was made with other settings, or the place cannot be written.
        """
        own = SampledBatches.at(process_path(self.partial, rank), settings)
        if resume and own.path.exists():
            own.journal.resume()
            return own
        try:
            own.journal.begin()
        except Unwritable as error:
            raise UserError(f"--out {self.out}: {error}") from error
        return own

    def finished_summary(self, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """What a finished run with these settings left; None where none is there.

        Raises:
            UserError: there is a finished run with other settings, or a file of another origin.
        """
        if partials_of(self.out) or not self.out.exists():
            return None
        try:
            summary = json.loads(self.summary.read_text(encoding="utf-8"))
            stored = summary["settings"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"--resume: {self.out} is there without a {self.summary.name} that says how it "
                "was made; replace it with --overwrite, or choose another --out."
            ) from error
        require_same_settings(stored, settings, self.out)
        return summary

    def write(self, write_out: Callable[[Path], None], summary: Mapping[str, Any]) -> None:
        """Write the output and the summary, then let the work in progress go."""
        write_out(self.out)
        write_json(self.summary, summary)
        self.forget_partials()
