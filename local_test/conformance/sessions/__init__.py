"""The situations that containers are put into, each with the checks that it answers."""
