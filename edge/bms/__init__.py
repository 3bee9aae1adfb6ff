"""The controller's own points as a Modbus TCP server for the building management system next door."""
