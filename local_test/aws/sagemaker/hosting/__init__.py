"""What endpoints and transform jobs of an account run on."""
