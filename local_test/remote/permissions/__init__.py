"""Who may do what: the execution role, and the callers of the commands."""
