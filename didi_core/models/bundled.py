"""Models that ship inside a program's package, opened by name wherever a model is named."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from didi_core.errors import UserError


@dataclass(frozen=True)
class BundledModels:
    """What one program ships."""

    package: str
    """Its import name; the models lie in its folder `_models`."""
    denoisers: tuple[str, ...] = ("tiny", "tiny-student")
    """A teacher and its student."""
    judge: str = "tiny-judge"

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.denoisers, self.judge)

    def folder(self, name: str) -> Path:
        """Return where the model of that name lies."""
        return Path(str(files(self.package) / "_models" / name))

    def ships(self, name: str) -> bool:
        """Return whether the weights of that name are installed."""
        return any(self.folder(name).glob("*.safetensors"))

    def path_of(self, name: str) -> str:
        """Return the folder of a bundled name; any other name as it is: a path or a hub id.

        Raises:
            UserError: a bundled name whose weights this installation lacks.
        """
        if name not in self.names:
            return name
        if not self.ships(name):
            raise UserError(
                f"{name} is a bundled model, and this installation lacks its weights "
                f"({self.folder(name)}): install didi-protein anew, or name another model "
                f"(./{name} is a folder of yours)."
            )
        return str(self.folder(name))
