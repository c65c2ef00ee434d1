"""The labs: one folder a phenomenon, one file an experiment, found by name."""
