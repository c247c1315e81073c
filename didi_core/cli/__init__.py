"""The command line: flags from dataclasses, Hydra settings, help, how a process ends."""
