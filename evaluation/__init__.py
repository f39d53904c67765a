"""Measurements: data planning (``planning``), the running system (``benchmarks``), the optimiser (``rrm``), Zigbee's
delays (``zigbee``), the paper's Fig. 6 (``fig6``, its model in ``fig6_model``), forecasters (``forecast``, ``table3``,
their speed ``forecast_speed``) and the decisions that stand on them (``tau``).

Each prints what it measured with the command that reproduces it; results are kept in ``docs/``.
"""
