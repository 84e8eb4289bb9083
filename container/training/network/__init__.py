"""Networks: how they are built, and the twins of them that train faster."""
