"""The distillation engine: knows nothing of amino acids or English."""

__version__ = "0.1.0"
