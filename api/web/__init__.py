"""Server-rendered pages for people and compliance officers."""
