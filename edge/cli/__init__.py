"""The `edge` command. Thin: it talks to the app or to a running controller's socket."""
