"""What user code brings along: requirements, archives, versions, supervised processes."""
