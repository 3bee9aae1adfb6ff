"""The controller's own points as a Modbus TCP server for the BMS next door."""
