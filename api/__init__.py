"""HTTP, pages and the command line: the only package that knows about requests and responses."""
