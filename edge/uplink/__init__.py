"""What goes up and what comes down over MQTT: samples, events, retained state, commands."""
