"""Dates and durations as people read them."""

import datetime as dt


def format_duration(seconds: float | None) -> str:
    """Format a duration as 12.3 s, 4 min 5 s or 2 h 3 min; nothing for None."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest_s} s"
    return f"{minutes // 60} h {minutes % 60} min"


def format_date(seconds: float, pattern: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Format seconds since the epoch in the time zone of this machine."""
    return dt.datetime.fromtimestamp(seconds).astimezone().strftime(pattern)
