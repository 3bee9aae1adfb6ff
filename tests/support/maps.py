"""Register maps of equipment as manuals would give them, written apart from the profiles.

Word orders, scales and types differ from device to device on purpose, so that profiles have work
to do. The profiles that lead to the same maps are `config/profiles/generic/`; that they do is
compared byte by byte in `tests/drivers/sim/test_equipment.py`.
"""

from __future__ import annotations

from drivers.sim.registers import Register

PERCENT = (0.0, 100.0)
SWITCH = (0.0, 1.0)
HZ = 0.02  # % in 0.01 Hz of 50 Hz


def booster_map(pumps: int = 3) -> tuple[Register, ...]:
    """A pump-set controller: floats with the low word first in bar, speeds in 0.01 Hz."""
    return (
        Register("discharge_pressure", "input", 0, "f32", "CDAB", scale=0.1),
        Register("suction_pressure", "input", 2, "f32", "CDAB", scale=0.1),
        Register("flow", "input", 4, "f32", "CDAB"),
        Register("energy", "input", 6, "u32", "CDAB", scale=0.1),
        Register("tank_level", "input", 8, scale=0.01),
        Register("running", "input", 9),
        *(register for i in range(1, pumps + 1) for register in _pump_map(i)),
    )


def _pump_map(i: int) -> tuple[Register, ...]:
    first = 10 + 10 * i
    return (
        Register(f"p{i}_running", "input", first, bit=0),
        Register(f"p{i}_fault", "input", first, bit=1),
        Register(f"p{i}_auto", "input", first, bit=2),
        Register(f"p{i}_speed", "input", first + 1, scale=HZ),
        Register(f"p{i}_power", "input", first + 2, scale=0.01),
        Register(f"p{i}_hours", "input", first + 3, "u32", "CDAB", scale=0.1),
        Register(f"p{i}_run", "coil", i - 1, "bit", writable=SWITCH),
        Register(f"p{i}_reference", "holding", 99 + i, scale=HZ, writable=PERCENT),
    )


def valve_map(i: int) -> tuple[Register, ...]:
    """An actuator: 0-10000 for 0-100.00 %, 65535 for a position that it does not know."""
    return (
        Register(f"v{i}_command", "holding", 0, scale=0.01, writable=PERCENT),
        Register(f"v{i}_position", "holding", 3, scale=0.01),
        Register(f"v{i}_auto", "holding", 4, bit=0),
    )


def meter_map(prefix: str) -> tuple[Register, ...]:
    """A pressure and flow meter: 0.1 kPa, a byte-swapped float, litres/10 with the high word
    first; every other address is refused."""
    return (
        Register(f"{prefix}_pressure", "holding", 0, scale=0.0001),
        Register(f"{prefix}_flow", "holding", 1, "f32", "BADC"),
        Register(f"{prefix}_volume", "holding", 3, "u32", "ABCD", scale=0.01),
    )


def io_map(channels: int = 8) -> tuple[Register, ...]:
    """Relays as coils, inputs as discrete inputs."""
    numbers = range(1, channels + 1)
    return (
        *(Register(f"relay{i}", "coil", i - 1, "bit", writable=SWITCH) for i in numbers),
        *(Register(f"input{i}", "discrete", i - 1, "bit") for i in numbers),
    )


def sump_map(pumps: int = 2) -> tuple[Register, ...]:
    """A sump panel: the level in mm, and of each pump three bits in a register of its own."""
    return (
        Register("sump_level", "input", 0, scale=0.001),
        Register("high_float", "discrete", 0, "bit"),
        *(
            register
            for i in range(pumps)
            for register in (
                Register(f"p{i + 1}_running", "input", 10 + i, bit=0),
                Register(f"p{i + 1}_fault", "input", 10 + i, bit=1),
                Register(f"p{i + 1}_auto", "input", 10 + i, bit=2),
                Register(f"p{i + 1}_run", "coil", i, "bit", writable=SWITCH),
            )
        ),
    )


GARAGE_MAP = (
    Register("level", "holding", 0, scale=0.1, writable=PERCENT),
    Register("motion", "discrete", 0, "bit"),
    Register("power", "input", 0),
    Register("energy", "input", 1, "u32", scale=0.01),
)

FIRE_MAP = (
    Register("hydrant_pressure", "input", 0, scale=0.001),
    Register("cabinet_auto", "discrete", 0, "bit"),
)


def tower_map(cells: int = 2) -> tuple[Register, ...]:
    """A cooling tower's panel: signed tenths, speeds in 0.01 Hz, a block of ten for each fan."""
    return (
        Register("leaving_temperature", "input", 0, "i16", scale=0.1, absent=0x7FFF),
        Register("wet_bulb", "input", 1, "i16", scale=0.1, absent=0x7FFF),
        Register("basin_level", "input", 2, scale=0.001),
        Register("fan_energy", "input", 3, "u32", "ABCD", scale=0.1),
        Register("makeup_valve", "coil", 4, "bit", writable=SWITCH),
        *(
            register
            for i in range(1, cells + 1)
            for register in (
                Register(f"f{i}_run", "coil", i - 1, "bit", writable=SWITCH),
                Register(f"f{i}_reference", "holding", i - 1, scale=HZ, writable=PERCENT),
                Register(f"f{i}_running", "input", 10 * i, bit=0),
                Register(f"f{i}_fault", "input", 10 * i, bit=1),
                Register(f"f{i}_switch", "input", 10 * i, bit=2),
                Register(f"f{i}_vibration", "input", 10 * i + 1, scale=0.1),
                Register(f"f{i}_bearing", "input", 10 * i + 2, "i16", scale=0.1, absent=0x7FFF),
            )
        ),
    )


BED_MAP = (
    Register("zone_flow", "input", 0, scale=0.01),
    Register("zone_volume", "input", 1, "u32", "ABCD", scale=0.01),
    *(Register(f"z{i}_valve", "coil", i - 1, "bit", writable=SWITCH) for i in range(1, 5)),
    Register("master_valve", "coil", 4, "bit", writable=SWITCH),
    Register("feed_pump", "coil", 5, "bit", writable=SWITCH),
)

WEATHER_MAP = (
    Register("et0", "input", 0, scale=0.0001),
    Register("rain", "input", 1, scale=0.0001),
    Register("wind", "input", 2, scale=100.0),
    Register("air", "input", 3, "i16", scale=0.1, absent=0x7FFF),
    Register("soil", "input", 4, scale=0.1),
)

YARD_MAP = (
    Register("illuminance", "input", 0, "f32", "ABCD"),
    Register("on", "coil", 0, "bit", writable=SWITCH),
    Register("level", "holding", 0, writable=PERCENT),
    Register("power", "input", 2),
)
