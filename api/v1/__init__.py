"""Version 1 of the public contract: one file per noun."""
