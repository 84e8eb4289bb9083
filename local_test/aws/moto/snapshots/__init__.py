"""The state of moto's services, so that it survives a restart."""
