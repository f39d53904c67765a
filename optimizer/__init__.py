"""The optimiser: channel model, parameter convertor, RRM problem, solvers, certificate, checker, reflexion; Zigbee
delays; the decision between 6G and Zigbee.

Public: ``decision``, ``mixed.mixed_split``, ``convertor`` (convert, grants, conversion_json), ``solve.solve`` with
``solve.Options``, ``check.check``, ``instance`` (Instance, Solution, their files), ``make_instance.make_instance``,
``zigbee`` (zigbee_delays, ZigbeeLink), ``zigbee_simulation``, ``channel``, ``association.associate``.
"""
