"""The optimiser: channel model, parameter convertor, RRM problem and solvers, checker, Zigbee delays, tau decision.

Public: ``decision.decide``, ``convertor.convert`` and ``convertor.grants``, ``solve.solve`` with ``solve.Options``,
``check.check``, ``instance`` (Instance, Solution, their files), ``zigbee.zigbee_delays``, ``channel``.
"""
