"""What the server reports about itself: metrics and logs."""
