"""Parameters of a URL, which anybody may have typed: what makes no sense counts as not said."""


def page_number(text: str, most: int) -> int:
    """From 1 to `most`; 1 for what is no number."""
    return min(max(int(text), 1), most) if text.isascii() and text.isdigit() and len(text) < 9 else 1


def words(text: str, longest: int) -> str:
    """The text as a database takes it, at most `longest` characters, without space around it."""
    return text.replace("\x00", "")[:longest].strip()
