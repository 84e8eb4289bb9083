"""Pictures of any kind: their pixels, and where one ends."""
