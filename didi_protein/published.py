"""Figures that others published, to stand beside measured ones and marked as published."""

PUBLISHED_LENGTHS = tuple(range(100, 1001, 100))
"""Residues of the designs that the rows below are about."""

DPLM_PLDDT = {
    "airkingbd/dplm_150m": (73.3, 84.3, 84.8, 86.9, 81.7, 81.5, 81.6, 80.9, 78.7, 72.1),
    "airkingbd/dplm_650m": (74.0, 85.6, 85.9, 88.2, 82.6, 84.4, 83.9, 83.0, 84.9, 81.5),
    "airkingbd/dplm_3b": (77.8, 86.2, 87.4, 90.1, 87.4, 86.0, 84.6, 85.9, 85.9, 83.9),
}
"""Mean ESMFold pLDDT (0 to 100, all atoms) of DPLM's 500-step sampler at each length [1]_.

.. [1] Wang et al. "Diffusion language models are versatile protein learners", ICML 2024,
   arXiv 2402.18567.
"""
