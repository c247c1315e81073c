"""One file per distillation method, behind one interface."""
