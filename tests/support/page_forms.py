"""A page as a browser without scripts has it: where its links lead, and what its forms send."""

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class FormOnPage:
    """One form: what it sends unasked, what can be ticked, and its buttons."""

    action: str
    hidden: dict[str, str] = field(default_factory=dict)
    boxes: list[tuple[str, str]] = field(default_factory=list)
    ticked: list[tuple[str, str]] = field(default_factory=list)
    buttons: list[dict[str, str]] = field(default_factory=list)

    def button(self, value: str = "") -> dict[str, str]:
        """The button with this value, or the only one."""
        (found,) = [each for each in self.buttons if each.get("value", "") == value]
        return found

    def sent(self, button: dict[str, str], *boxes: tuple[str, str]) -> list[tuple[str, str]]:
        """What the browser sends when these boxes are ticked and this button is pressed."""
        pressed = [(button["name"], button["value"])] if "name" in button else []
        return [*self.hidden.items(), *self.ticked, *boxes, *pressed]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.forms: list[FormOnPage] = []
        self.open: FormOnPage | None = None

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attributes}
        if tag == "a" and told.get("href", "").startswith("/"):
            self.links.append(told["href"])
        elif tag == "form":
            self.open = FormOnPage(told["action"])
            self.forms.append(self.open)
        elif self.open and tag == "button":
            self.open.buttons.append(
                {name: told[name] for name in ("name", "value", "class") if name in told}
            )
        elif self.open and tag == "input" and told.get("type") == "hidden":
            self.open.hidden[told["name"]] = told["value"]
        elif self.open and tag == "input" and told.get("type") == "checkbox":
            box = (told["name"], told["value"])
            (self.open.ticked if "checked" in told else self.open.boxes).append(box)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.open = None


def read(html: str) -> tuple[list[str], list[FormOnPage]]:
    """The links to our own pages and the forms, in their order."""
    reader = _Reader()
    reader.feed(html)
    return reader.links, reader.forms
