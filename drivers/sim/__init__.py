"""Simulated equipment: the entry of the driver. On real sockets it is `equipment.py`."""

from drivers.sim.driver import SIM, Line, sim_kind

__all__ = ["SIM", "Line", "sim_kind"]
