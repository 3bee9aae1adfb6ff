"""`python -m edge.cli`, the same as `edge`."""

from edge.cli import main

main()
