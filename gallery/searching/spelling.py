"""The word that was meant by one that is nowhere: among the words of names, tags and first sentences."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

MAX_WORDS = 50_000
#: Words that were seen once go when so many are counted, so that a gallery of nonsense stays small.
_TOO_MANY = 4 * MAX_WORDS
_SHORTEST, _LONGEST = 4, 40
_WORD = re.compile(r"[^\W_]{4,40}")
_DIGITS = re.compile(r"\d+")


class Vocabulary:
    """Words and how often each was seen."""

    def __init__(self, counts: dict[str, int] | None = None) -> None:
        self._counts = Counter(counts or {})

    def add(self, text: str) -> None:
        self._counts.update(_WORD.findall(text.lower()))
        if len(self._counts) > _TOO_MANY:
            self._counts = Counter(dict(self._counts.most_common(MAX_WORDS)))

    def __or__(self, other: "Vocabulary") -> "Vocabulary":
        return Vocabulary(self._counts + other._counts)

    def dump(self) -> str:
        """One word a line, with its count."""
        return "\n".join(f"{word} {count}" for word, count in self._counts.most_common(MAX_WORDS))

    @classmethod
    def load(cls, text: str) -> "Vocabulary":
        pairs = (line.split(" ") for line in text.splitlines())
        return cls({word: int(count) for word, count in pairs})

    def nearest(self, word: str, unfinished: bool) -> str | None:
        """The most frequent of the nearest words, or None. Of an `unfinished` word only the beginning is there.

        One slip is forgiven in a word of four letters, two from six on; figures are never changed.
        """
        if not _SHORTEST <= len(word) <= _LONGEST:
            return None
        slips = 1 if len(word) < 6 else 2
        near = [(distance, -self._counts[other], other) for other, distance in self._near(word, slips, unfinished)]
        return min(near)[2] if near else None

    def _near(self, word: str, slips: int, unfinished: bool) -> Iterator[tuple[str, int]]:
        signs, figures, length = set(word), _DIGITS.findall(word), len(word)
        for other in self._counts:
            if len(other) < length - slips or (len(other) > length + slips and not unfinished):
                continue
            whole = len(other) <= length + slips
            compared = other if whole else other[:length]
            if len(signs.symmetric_difference(compared)) > 2 * slips or other[0] != word[0] != other[1]:
                continue
            distance = edits(word, compared, slips if whole else 1)
            if distance is not None and _DIGITS.findall(compared) == figures:
                yield other, distance


def edits(left: str, right: str, most: int) -> int | None:
    """Letters put in, left out, changed, or swapped with a neighbour between two words; None when more than `most`."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for place, letter in enumerate(left, start=1):
        before, row, last = row, [place], before
        for column, other in enumerate(right, start=1):
            cost = min(row[-1] + 1, before[column] + 1, before[column - 1] + (letter != other))
            if place > 1 and column > 1 and letter == right[column - 2] and left[place - 2] == other:
                cost = min(cost, last[column - 2] + 1)
            row.append(cost)
        if min(row) > most and (not before or min(before) > most):
            return None
    return row[-1] if row[-1] <= most else None


def vocabulary(texts: Iterable[str]) -> Vocabulary:
    found = Vocabulary()
    for text in texts:
        found.add(text)
    return found
