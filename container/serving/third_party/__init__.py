"""Models that other tools have saved, served without code."""
