"""Objects behind URIs, and how they enter and leave a container."""
