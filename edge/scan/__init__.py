"""One synchronous step: latch, protect, control, arbitrate, alarm, say what changed."""
