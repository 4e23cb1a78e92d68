"""What a person allowed, and the permits that prove it."""
