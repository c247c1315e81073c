"""`pretrain` and `distill` of both programs: settings, runs, the model folder they end in."""
