"""Invented behaviour of the kinds of data that no installation offers until it turns them on."""
