"""Commands for people who write an algorithm: `init`, `doctor`, `describe`."""
