"""The virtual loop by its former name."""

from edge.proof.virtual_loop import run_virtual

__all__ = ["run_virtual"]
