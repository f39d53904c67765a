"""Measurements: data planning (``planning``), the running system (``benchmarks``), the optimiser (``rrm``), Zigbee's
delays (``zigbee``) and the paper's Fig. 6 (``fig6``, its model in ``fig6_model``).

Each prints what it measured with the command that reproduces it; results are kept in ``docs/``.
"""
