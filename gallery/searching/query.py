"""What a person typed, as words that a full-text index can be asked for. Nothing here knows a database."""

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

MAX_WORDS = 12
#: Scripts that put no space between words: each sign counts as one, and a word is a row of them.
_UNSPACED = re.compile("([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")
_TOKEN = re.compile(r"[^\W_]+")
_PART = re.compile(r"[^\W_]+(?:\.[^\W_]+)*")
_VERSION = re.compile(r"\d\.\d")
_LETTERS_THEN_DIGITS = re.compile(r"(?<=[^\W\d_])(?=\d)")


@dataclass(frozen=True)
class Phrase:
    """Tokens side by side; of the last one the beginning is enough when `prefix`."""

    tokens: tuple[str, ...]
    prefix: bool


@dataclass(frozen=True)
class Group:
    """One thing that has to be there: any of the alternatives, of which each is phrases that must all be there."""

    word: str
    alternatives: tuple[tuple[Phrase, ...], ...]


@dataclass(frozen=True)
class Query:
    """All of the groups. None of them means that nothing was asked that could be found."""

    groups: tuple[Group, ...]

    @cached_property
    def compact(self) -> str:
        """The words without anything between them: `qwen3-4b` and `qwen 3 4b` are the same."""
        return "".join(self._compact_words)

    @property
    def tokens(self) -> list[str]:
        """Everything that may be seen of the words in what they found, each once."""
        spellings = (alternative for group in self.groups for alternative in group.alternatives)
        asked = chain.from_iterable(group.alternatives[0] for group in self.groups)
        joined = (phrase for phrase in chain.from_iterable(spellings) if len(phrase.tokens) == 1)
        return list(dict.fromkeys(token for phrase in chain(asked, joined) for token in phrase.tokens))

    def is_in(self, compact_name: str) -> bool:
        """Whether every word is somewhere in the name."""
        return all(word in compact_name for word in self._compact_words)

    @cached_property
    def _compact_words(self) -> list[str]:
        # The other spellings of a word are the same without what stands between.
        return ["".join(phrase.tokens) for group in self.groups for phrase in group.alternatives[0]]


def searchable(text: str) -> str:
    """The text as it is indexed: lower-cased, with a space around each sign of a script without spaces."""
    return _UNSPACED.sub(r" \1 ", text.lower())


def compact(name: str) -> str:
    return "".join(_TOKEN.findall(name.lower()))


def parse(text: str) -> Query:
    """Whatever was typed: signs only part words, and the order of words does not matter."""
    units = list(chain.from_iterable(_units(part) for part in _PART.findall(text.lower())))[:MAX_WORDS]
    groups = []
    while units:
        unit, *rest = units
        pair = bool(rest) and _belong_together(unit, rest[0])
        units = rest[1:] if pair else rest
        is_last = not units
        groups.append(_pair(unit, rest[0], is_last) if pair else _single(unit, is_last))
    return Query(tuple(groups))


def _units(part: str) -> list[tuple[str, ...]]:
    """What stands together in one word: a version (2.5) and a row of signs stay whole, all else is taken apart."""
    if _UNSPACED.search(part):
        return [tuple(_TOKEN.findall(searchable(part)))]
    tokens = _TOKEN.findall(part)
    return [tuple(tokens)] if _VERSION.search(part) else [(token,) for token in tokens]


def _belong_together(left: tuple[str, ...], right: tuple[str, ...]) -> bool:
    """A word and a number after it, which names write as one as often as not: `qwen 3`, `qwen3`."""
    return len(left) == 1 and left[0][-1].isalpha() and right[0][0].isdigit()


def _pair(left: tuple[str, ...], right: tuple[str, ...], is_last: bool) -> Group:
    joined = (left[0] + right[0], *right[1:])
    return Group(left[0], ((_phrase(left, False), _phrase(right, is_last)), (_phrase(joined, is_last),)))


def _single(unit: tuple[str, ...], is_last: bool) -> Group:
    phrase = _phrase(unit, is_last)
    apart = tuple(chain.from_iterable(_LETTERS_THEN_DIGITS.split(token) for token in unit))
    spellings = [phrase] if apart == unit else [phrase, Phrase(apart, phrase.prefix)]
    return Group("".join(unit), tuple((spelling,) for spelling in spellings))


def _phrase(tokens: tuple[str, ...], is_last: bool) -> Phrase:
    """One letter or figure in the middle means itself; everything else may go on: `qwen` finds `qwen3`."""
    return Phrase(tokens, prefix=is_last or len(tokens[-1]) > 1)
