"""DiDi for proteins: train or load a teacher, distil it, design, score, report."""
