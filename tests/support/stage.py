"""The stage by its former name."""

from edge.proof.stage import Stage

__all__ = ["Stage"]
