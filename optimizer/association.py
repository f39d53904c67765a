"""Which cell hears a sensor or user best: association by strongest received power, averaged over fading."""

from collections.abc import Sequence

from optimizer.convertor import scenario_links
from twin.scenario import Scenario, Sensor, UserEquipment


def associate(scenario: Scenario, senders: Sequence[Sensor | UserEquipment], seed: int) -> dict[str, str]:
    """Cell id by sender id, for some or all of the scenario's sensors or users.

    The cell with the least path loss plus shadowing, as ``convert`` draws them from the same seed. The scenario's own
    ``cell`` of a sensor is the gateway that it is wired to, and need not be this one.
    """
    best = scenario_links(scenario, senders, scenario.cells, seed).strongest_cell()
    return {sender.id: scenario.cells[c].id for sender, c in zip(senders, best, strict=True)}
