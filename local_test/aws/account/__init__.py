"""What the local account remembers: records, logs, measurements."""
