"""The commands that use an AWS account: `--on aws`, and `byo aws`."""
