"""Signing in at the operator's OpenID Connect provider: we are its relying party."""
