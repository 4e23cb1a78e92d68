"""Texts with headings and paragraphs, cut into what a template can write safely."""

from typing import NamedTuple


class Block(NamedTuple):
    """A paragraph (level 0) or a heading (1, 2, ...)."""

    level: int
    text: str


def blocks(text: str) -> list[Block]:
    """Cut at empty lines; a block that begins with `#` is a heading."""
    return [_block(part.strip()) for part in text.split("\n\n") if part.strip()]


def _block(part: str) -> Block:
    level = len(part) - len(part.lstrip("#"))
    return Block(level, part[level:].strip())
