"""How the story is told on a terminal: progress while something long runs, a line for each step."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from compliance.vocabulary import Category, Language
from scoring import explanation
from scoring.explanation import Reason

MEASURES = ("auc", "ks", "brier", "ece", "observed_over_expected", "calibration_slope")


class Telling:
    """Chapters, steps and their results; plain lines where there is no terminal."""

    def __init__(self) -> None:
        self.out = Console(highlight=False, soft_wrap=True)
        self.chapters = 0

    def chapter(self, en: str, zh: str) -> None:
        """A new chapter."""
        self.chapters += 1
        self.out.print(f"\n[bold]{self.chapters}. {en}[/bold]  {zh}")

    def step(self, what: str, result: str) -> None:
        """One step that held, and its result."""
        self.out.print(Text.assemble("   ", ("✓", "green"), f" {what}: ", (result, "cyan")))

    def reason(self, told: Mapping[str, Any]) -> None:
        """A reason's code as the bank gets it, and its text as only the person does."""
        reason = Reason(told["code"], told["version"], Category(told["category"]), told["direction"])
        texts = [explanation.text(reason, language) for language in (Language.ZH_CN, Language.EN)]
        self.out.print(
            f"     [dim]{reason.code}@{reason.version} {reason.direction}: {texts[0]} / {texts[1]}[/dim]"
        )

    def card(self, card: Mapping[str, Any], split: str) -> None:
        """What the model is worth on people it never saw, with 95 % intervals."""
        whole = card["slices"]["all"]
        table = Table(
            title=f"held back: {whole['rows']} applications, {whole['defaults']} defaults ({split})"
        )
        for column in ("measure", "value", "95 % interval"):
            table.add_column(column)
        for name in MEASURES:
            measured = whole[name]
            table.add_row(name, measured["value"], f"{measured['low']} to {measured['high']}")
        table.add_row("share answered", card["share_answered"], "")
        self.out.print(table)

    @contextmanager
    def progress(self) -> Iterator["Moving"]:
        """A bar for long work."""
        columns = (TextColumn("   {task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.out, transient=True) as bar:
            yield Moving(bar)


class Moving:
    """One bar that takes whatever step is told to it."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=1.0)

    def __call__(self, what: str, share: float) -> None:
        """Say what is being done, and how much of it is done (0 to 1)."""
        self._bar.update(self._task, description=what, completed=share)
