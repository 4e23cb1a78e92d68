"""What is measured of behaviour: each measure declared once, with its words, what law forbids, and the dictionary of all."""
