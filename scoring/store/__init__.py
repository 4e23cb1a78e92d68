"""The behaviour store: how an operator brings events in, and how they are kept, used and deleted."""
