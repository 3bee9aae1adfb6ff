"""How the alarms are called that rules bring: ids are what platforms and people go by."""

from __future__ import annotations

import pytest

from edge.site.alarms import identity


@pytest.mark.parametrize(
    ("template", "rule", "id"),
    [
        ("{RULE}_VALVE_DEVIATION", "zone3", "ZONE3_VALVE_DEVIATION"),
        ("{RULE}_FIRE_PUMP_NOT_AUTO", "fire", "FIRE_PUMP_NOT_AUTO"),
        ("{RULE}_HYDRANT_P_LOW", "fire", "FIRE_HYDRANT_P_LOW"),
        ("{RULE}_HYDRANT_P_LOW", "hydrant", "HYDRANT_P_LOW"),
        ("{RULE}_FIRE_PUMP_NOT_AUTO", "fire_pump", "FIRE_PUMP_NOT_AUTO"),
        ("{RULE}_FIRE_PUMP_NOT_AUTO", "fi", "FI_FIRE_PUMP_NOT_AUTO"),
        ("{RULE}_DRY_RUN", "dry_run", "DRY_RUN"),
        ("{RULE}_TRAPPED", "lift", "LIFT_TRAPPED"),
        ("{RULE}_TRAPPED", "lift.east", "LIFT_EAST_TRAPPED"),
        ("{RULE}_OFFLINE", "offline", "OFFLINE"),
    ],
)
def test_the_name_of_the_rule_stands_once(template: str, rule: str, id: str) -> None:
    """No FIRE_FIRE_PUMP: whole words only, so that `fi` is not taken for the beginning of FIRE."""
    assert identity(template, rule) == id
