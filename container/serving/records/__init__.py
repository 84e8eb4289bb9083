"""What bodies hold before anything is known of the model: tables, parts, JSON values."""
