"""The demo: a fictional world, told as real calls to a running server."""
