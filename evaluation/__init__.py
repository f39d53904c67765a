"""Measurements: scores of data planning (``planning``) and benchmarks of the running system (``benchmarks``).

Each prints what it measured with the command that reproduces it; results are kept in ``docs/``.
"""
