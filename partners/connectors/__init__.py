"""How each lender is reached: no act, no table, only signed statements over the wire."""
