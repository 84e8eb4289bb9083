"""Text, and the bytes in which it arrives."""
