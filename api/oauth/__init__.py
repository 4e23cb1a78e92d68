"""The authorization server: one table of checks, one small file per check."""
