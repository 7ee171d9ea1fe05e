"""Instruction counts of the core's hot paths, held against a baseline; run `make gate`."""
