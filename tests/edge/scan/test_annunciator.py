"""The panel: what beacon, buzzer and relay do, and what the buttons change (domain.md §2.6)."""

from __future__ import annotations

import itertools

from edge.image import quality
from edge.image.image import ProcessImage
from edge.image.slots import Slot
from edge.scan.alarms import Alarms, State
from edge.scan.annunciator import PANEL, Panel
from edge.site.site import Annunciator
from tests.support.records import alarm

BUTTONS = {"silence": 0, "acknowledge": 1, "reset": 2, "test": 3}
OUTPUTS = {"beacon": 0, "buzzer": 1, "relay": 2}


class Rig:
    """A panel and three alarms of priorities 1, 2 and 4, stepped ten times a second."""

    def __init__(self) -> None:
        self.image = ProcessImage(7, (4, 5, 6), 6)
        self.image.quality[:7] = 0
        self.image.value[:4] = 0.0
        self.first = self.image.first_cell
        self.image.value[self.first :] = 0.0
        definitions = [alarm("P1", priority=1), alarm("P2", priority=2), alarm("P4", priority=4)]
        cells = [self.first + i for i in range(6)]
        self.alarms = Alarms(definitions, self.image, {}, cells[:3], cells[3:])
        config = Annunciator("panel", "beacon", "buzzer", "relay", *BUTTONS)
        self.panel = Panel(config, self.image, BUTTONS, OUTPUTS)
        self.now = 0.0
        self.run(0.1)

    def run(self, seconds: float) -> list[tuple[float, float, float]]:
        """Outputs (beacon, buzzer, relay) of each step."""
        seen = []
        for _ in range(round(seconds * 10)):
            self.now = round(self.now + 0.1, 1)
            self.panel.buttons(self.alarms, self.now, self.now)
            transitions = self.alarms.step(self.now, self.now)
            self.panel.show(self.alarms, transitions, self.now)
            seen.append(tuple(self.image.request[Slot.CONTROL - 1]))
        return seen

    def raise_(self, number: int, active: float = 1.0) -> None:
        self.image.value[self.first + number] = active

    def press(self, button: str, seconds: float = 0.2) -> None:
        self.image.value[BUTTONS[button]] = 1.0
        self.run(seconds)
        self.image.value[BUTTONS[button]] = 0.0
        self.run(0.1)


def test_quiet_site() -> None:
    """No alarm: beacon and buzzer off, the relay energised."""
    assert set(Rig().run(1.0)) == {(0.0, 0.0, 1.0)}


def test_a_new_alarm_flashes_sounds_and_drops_the_relay() -> None:
    """Unacknowledged: beacon at 2 Hz, buzzer on, relay off, from the next step on."""
    rig = Rig()
    rig.raise_(1)
    seen = rig.run(10.0)
    assert {(1.0, 0.0)} == {(buzzer, relay) for _, buzzer, relay in seen}
    beacons = [beacon for beacon, _, _ in seen]
    changes = sum(a != b for a, b in itertools.pairwise(beacons))
    assert 36 <= changes <= 40


def test_advice_is_not_annunciated() -> None:
    """Priority 4 neither sounds nor shows nor drops the relay."""
    rig = Rig()
    rig.raise_(2)
    assert set(rig.run(1.0)) == {(0.0, 0.0, 1.0)}


def test_silence_stops_the_buzzer_only_and_a_new_alarm_sounds_again() -> None:
    """S35: states are unchanged by silence; a new P2 re-sounds at once."""
    rig = Rig()
    rig.raise_(0)
    rig.run(0.5)
    rig.press("silence")
    assert {0.0} == {buzzer for _, buzzer, _ in rig.run(5.0)}
    assert rig.alarms.states["P1"].state is State.UNACK
    rig.raise_(1)
    assert {1.0} == {buzzer for _, buzzer, _ in rig.run(1.0)}


def test_silence_of_an_unacknowledged_p1_ends_after_ten_minutes() -> None:
    """Nobody may sleep through a P1 by pressing one button."""
    rig = Rig()
    rig.raise_(0)
    rig.run(0.5)
    rig.press("silence")
    assert rig.run(595.0)[-1][1] == 0.0
    assert rig.run(10.0)[-1][1] == 1.0


def test_acknowledging_at_the_panel_makes_the_beacon_steady() -> None:
    """Everything shown is acknowledged, recorded as the panel's, and the buzzer stops."""
    rig = Rig()
    rig.raise_(0)
    rig.raise_(1)
    rig.run(0.5)
    rig.press("acknowledge")
    assert set(rig.run(2.0)) == {(1.0, 0.0, 0.0)}
    assert {PANEL} == {rig.alarms.states[a].acked_by for a in ("P1", "P2")}


def test_the_test_button_works_five_seconds_and_alters_no_state() -> None:
    """Beacon and buzzer on for 5 s, relay and states untouched."""
    rig = Rig()
    rig.press("test", 0.1)
    seen = rig.run(4.7)
    assert set(seen) == {(1.0, 1.0, 1.0)}
    assert rig.run(1.0)[-1] == (0.0, 0.0, 1.0)


def test_a_button_that_is_stuck_or_unreadable_does_nothing() -> None:
    """Pressed at the start, or with bad quality, it is not a press."""
    rig = Rig()
    rig.image.quality[BUTTONS["acknowledge"]] = quality.COMM
    rig.raise_(0)
    rig.run(0.5)
    rig.press("acknowledge")
    assert rig.alarms.states["P1"].state is State.UNACK


def test_the_reset_button_says_that_it_was_pressed() -> None:
    """Interlocks are reset by the scan: the panel only tells it, once per press."""
    rig = Rig()
    rig.image.value[BUTTONS["reset"]] = 1.0
    assert rig.panel.buttons(rig.alarms, rig.now, rig.now)
    assert not rig.panel.buttons(rig.alarms, rig.now, rig.now)
