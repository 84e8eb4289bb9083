"""Whether a container keeps the contract: checks of any image, program or URL."""
