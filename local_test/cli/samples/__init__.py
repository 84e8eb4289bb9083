"""What a job learns from and a server is asked where nothing is named: a project, or digits."""
