"""Jobs as they are kept in their directories: for the command `runs` and for the console."""
