"""Answers other than points: an income, a limit, a portrait, above or below a cut-off, and what would help."""
