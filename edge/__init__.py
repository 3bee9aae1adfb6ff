"""Edge controller for building equipment: polls, decides, drives, alarms, reports."""

__version__ = "0.1.0"
