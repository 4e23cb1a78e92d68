"""Licensed institutions: their products, lists, referrals and how people are routed to them."""
