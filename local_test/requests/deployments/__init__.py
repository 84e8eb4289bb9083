"""What a DeploymentConfig says about an update of an endpoint: its steps, and what is refused."""
