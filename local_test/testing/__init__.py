"""Tests of a user's own project: fixtures for pytest that train, serve and ask it."""
