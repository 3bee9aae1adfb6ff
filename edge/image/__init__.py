"""The process image: what the controller knows of every point at this moment."""
