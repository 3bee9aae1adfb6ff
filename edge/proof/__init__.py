"""Trying a site without its equipment: scenarios, simulated days, recorded runs replayed."""
