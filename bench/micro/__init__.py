"""Primitives of meshcore beside the libraries that people use for the same.

Every case stands once, in the module of its subject. `python -m bench.micro` times them in
interleaved rounds and prints ratios and the figures to reach; `pytest bench/micro` gives them to
pytest-benchmark, for its statistics and its stored records.
"""
