"""How hard a text is to read, by published measures, in English and in Chinese."""

import re
from dataclasses import dataclass

from compliance.vocabulary import Language

GRADE_MAX = 8.0
"""The school year of somebody who is fourteen."""
WORDS_MAX = 25
"""The longest sentence that GOV.UK's content guidance lets stand."""
SENTENCE_MEAN_MAX, SENTENCE_MAX, CLAUSE_MEAN_MAX = 25.0, 50, 12.0
"""In characters. Ours: no measure of Chinese has a published limit for this age."""

SENTENCE_END = re.compile(r"[.!?](?:\s|$)|\n")
WORD = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*")
VOWELS = re.compile(r"[aeiouy]+")
SILENT = re.compile(r"(?:[^laeiouy]es?|[^aeiouytd]ed|[^aeiouy]ely)$")

HAN = re.compile(r"[\u4e00-\u9fff]")
CHINESE_SENTENCE_END = re.compile(r"[。！？]|\n")
CHINESE_CLAUSE_END = re.compile(r"[。！？；，：、（）“”]|\n")
LEVEL_1 = range(0xB0, 0xD8)
"""The rows of GB/T 2312-1980 that hold its level 1: the 3,755 characters in common use, which a codec of Python's has."""


@dataclass(frozen=True)
class English:
    """Of a text: the words in a sentence, the syllables in a word, and the grade that they make."""

    words_per_sentence: float
    syllables_per_word: float
    longest: int

    @property
    def grade(self) -> float:
        """The years of school that a reader needs (Kincaid, Fishburne, Rogers and Chissom 1975)."""
        return 0.39 * self.words_per_sentence + 11.8 * self.syllables_per_word - 15.59


@dataclass(frozen=True)
class Chinese:
    """Of a text: the characters in a sentence and between two marks, and those that are not in common use."""

    characters_per_sentence: float
    characters_per_clause: float
    longest: int
    uncommon: str


def syllables(word: str) -> int:
    """Count groups of vowels, less a silent ending: right for most words, one off for some."""
    lowered = word.lower()
    return max(1, len(VOWELS.findall(lowered)) - len(SILENT.findall(lowered)))


def english(text: str) -> English:
    """Measure a text of whole sentences; what holds no word is no sentence."""
    sentences = [found for part in SENTENCE_END.split(text) if (found := WORD.findall(part))]
    words = [word for sentence in sentences for word in sentence]
    return English(
        len(words) / len(sentences), sum(map(syllables, words)) / len(words), max(map(len, sentences))
    )


def chinese(text: str) -> Chinese:
    """Measure a text of whole sentences."""
    sentences, clauses = (
        [len(found) for part in end.split(text) if (found := HAN.findall(part))]
        for end in (CHINESE_SENTENCE_END, CHINESE_CLAUSE_END)
    )
    return Chinese(
        sum(sentences) / len(sentences),
        sum(clauses) / len(clauses),
        max(sentences),
        "".join(c for c in HAN.findall(text) if not is_common(c)),
    )


def is_common(character: str) -> bool:
    """Whether a Chinese character is of level 1 of GB/T 2312-1980."""
    code = character.encode("gb18030")
    return len(code) == 2 and code[0] in LEVEL_1 and code[1] >= 0xA1


def refuse_hard(language: Language, text: str) -> None:
    """Fail where a reader of fourteen would stumble, and say by how much."""
    if language is Language.EN:
        told = english(text)
        assert told.grade <= GRADE_MAX, told
        assert told.longest <= WORDS_MAX, told
    else:
        found = chinese(text)
        assert found.characters_per_sentence <= SENTENCE_MEAN_MAX, found
        assert found.characters_per_clause <= CLAUSE_MEAN_MAX, found
        assert found.longest <= SENTENCE_MAX, found
        # By the end of school year nine 3,500 common characters are known (义务教育语文课程标准, 2022).
        assert found.uncommon == "", found
