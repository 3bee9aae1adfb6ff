"""Proving a site before it is built: scenarios on the real controller, in virtual time."""
