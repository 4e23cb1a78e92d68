"""Scores of a whole population, shard by shard: resumable, and to the bit what each person's own call answers."""
