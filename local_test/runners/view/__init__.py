"""What a private view of the machine is made of; the standard library is enough for it."""
