"""The loop that drives any method: devices, checkpoints, resume, logs, progress."""
