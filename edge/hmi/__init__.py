"""The local API: what a terminal, and later the page, may see and ask of a running controller."""
