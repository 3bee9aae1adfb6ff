"""Simulated equipment: the entry of the driver. The plant on real sockets is `plant.py`."""

from drivers.sim.driver import SIM, Line, sim_kind

__all__ = ["SIM", "Line", "sim_kind"]
