"""Folding models without a compiler: the structure of each design, and how sure the model is."""

ESMFOLD = "esmfold"
ESMFOLD2 = "esmfold2"
HUB_IDS = {
    ESMFOLD: "facebook/esmfold_v1",
    ESMFOLD2: "biohub/ESMFold2",
    "esmfold2-fast": "biohub/ESMFold2-Fast",
}
"""The published models, by their short names."""
