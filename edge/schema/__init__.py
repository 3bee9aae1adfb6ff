"""Reading YAML strictly and saying clearly what is wrong with it."""
