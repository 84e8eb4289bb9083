"""Does a container keep the contract? Checks of any image, program or URL, each with evidence and remedy."""
