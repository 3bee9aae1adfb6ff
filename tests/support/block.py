"""One block on its own, as the documentation runs its examples."""

from edge.proof.block import Instance  # noqa: F401 - for the tests of kinds
