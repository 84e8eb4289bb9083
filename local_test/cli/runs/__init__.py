"""Jobs that have run on this machine: listed, compared, and what to do after one."""
