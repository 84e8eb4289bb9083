"""Endpoints and the servers behind them."""
