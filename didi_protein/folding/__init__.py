"""ESMFold without a compiler: the structure of each design, and how sure the model is of it."""

ESMFOLD = "esmfold"
ESMFOLD_HUB_ID = "facebook/esmfold_v1"
