"""Text -> sentences, as character ranges of the text; nothing is changed, nothing is lost.

Rules of our own, one set for all languages, in one pass over the text: pySBD and its successor mark the text up with
reserved characters (which users may type themselves), need seconds for a megabyte, and are tied to one language each.

A sentence ends
  1. at every line break;
  2. after an ideographic full stop, question or exclamation mark, a danda and their like, white space or not;
  3. after `.` `!` `?` `…` and their like, with the closing quotes and brackets behind them, where white space follows,
     except that
     - a closing quote, a closing bracket or an ellipsis before a small letter ends nothing: `"Stop!" he said.`;
     - titles and abbreviations that need a continuation never end a sentence (`Mr.`, `Mme.`, `e.g.`), those that
       number something do not before a digit (`No. 5`, `Sept. 11`), and those that can close a sentence do not before
       a small letter (`etc.`, `p.m.`);
     - initials (`J.`), initialisms (`U.S.`) and numbers of one or two digits (`3. Oktober`, `1. Open the lid.`) end a
       sentence only before a word that commonly begins one (`He`, `The`, `Mais`).

A line in capitals throughout has no small letters to go by. In it titles (`CAPT.`), initials and initialisms (`U.S.`,
`P.M.`) end a sentence only before a word that commonly begins one and seldom goes on with one: `I LIVE IN THE U.S. HE
DOES NOT.`, but `THE U.S. IS BIG.` What would otherwise go on with a small letter is cut: `"STOP!"` `HE SAID.`

A sentence that is too long for a model is parted where a reader would pause: behind a semicolon, colon or dash, then
behind a comma or a closing bracket, then between words; within what has no white space, never.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import TypeAlias

Place: TypeAlias = tuple[int, int]

_LINE = re.compile(r"[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")  # the line boundaries of str.splitlines
_CLOSING = "\"'”’»›)\\]}」』】〉》〕）］｝＂＇"
_OPENING = "\"'“‘«‹([{「『【〈《（„‚¿¡-–—"
_ENDS_ANYWHERE = "。｡！？।॥။។៕።፧"  # scripts that write on without white space, or use the mark for nothing else
_ENDS_BEFORE_SPACE = ".!?…‽⁇⁈⁉؟۔։．"
_ELLIPSIS = re.compile(r"…|\.{2,}")
# A French quotation mark closes behind a space of its own; a German one opens there, but its word follows at once.
_SPACED_QUOTE = r"[ \u00a0\u2009\u202f]»(?!\w)"
_BOUNDARY = re.compile(
    rf"(?P<mark>[{_ENDS_ANYWHERE}{_ENDS_BEFORE_SPACE}]++)(?P<closing>(?:[{_CLOSING}]|{_SPACED_QUOTE})*+)"
)
_NEXT_WORD = re.compile(rf"\s*[{re.escape(_OPENING)}\s]*(\w*)")
_PARTS_ANYWHERE = "—―；：，、"  # marks that are written without white space behind them
_PAUSES = (  # the strongest first; each with the white space behind it, so that no position is looked at twice
    re.compile(rf"(?:[;:!?…؛;—―–；：]|\.{{2,}}|(?<=\s)-)++[{_CLOSING}]*+(?P<space>\s*+)"),
    re.compile(rf"[,،，、)\]}}）］】]++[{_CLOSING}]*+(?P<space>\s*+)"),
    re.compile(r"(?<!\s)(?P<space>[^\S\u00a0\u2007\u202f]++)(?![\s;:!?»%,)\]}–—-])"),  # no-break spaces hold together
    re.compile(r"(?P<space>\s++)"),
)
_MAX_ABBREVIATION_LENGTH = 12
_INITIALS = re.compile(r"[^\W\d_](?:\.-?[^\W\d_])*|\d{1,2}")


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Abbreviations without their final full stop; all but titles in lower case.
_TITLES = _listed(
    "Ms Rev Hon Gen Col Capt Lt Sgt Maj Cpl Adm Gov Sen Rep Pres St Ste Mt M MM Me Mgr Hr Fr Sr Sra Srta Sig Dott"
)
_NEVER_END = _listed("""
    mr mrs dr prof messrs mme mmes mlle mlles e.g i.e cf viz vs v approx p pp p.ex c.-à-d av env
    z z.b d.h bzw vgl u.a p.ej
""")
_NEVER_BEFORE_DIGIT = _listed("""
    no nos nr n n° núm fig figs vol vols ch chap art sec par tab eq c ca
    jan feb mar apr jun jul aug sep sept oct nov dec janv févr avr juil déc
""")
_NEVER_BEFORE_SMALL_LETTER = _listed(
    "etc et.al al ex apr a.m p.m inc ltd co corp bros jr ph.d esq dept est min max hrs usw ecc ave blvd"
)
_STARTERS = _listed("""
    The A An I You He She It We They This That These Those My Your His Her Our Their There Here
    What When Where Who Why How If But And Or So Then Is Are Was Do Does Did Can Yes No Please
    Le La Les L Un Une Des Je J Tu Il Elle On Nous Vous Ils Elles Ce Cette Ces C Mon Ton Son Mais Et Ou Donc
    Que Qui Quand Où Pourquoi Comment Si Alors Puis Oui Non
    Der Die Das Ein Eine Ich Du Er Sie Es Wir Ihr Aber Und El Los Las Una Yo Ella Pero Y
""")
# For lines in capitals; ME and PRES (for PRÈS) more often end a sentence than they are titles.
_TITLES_IN_CAPITALS = frozenset(map(str.upper, _TITLES - {"Me", "Pres"}))
_STARTERS_IN_CAPITALS = _listed("""
    THE YOU HE SHE IT WE THEY MY YOUR HIS OUR THEIR WHAT WHY HOW JE TU IL ELLE ILS ELLES POURQUOI ICH ER WIR
""")


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Finds the sentences of a text.

    Args:
        text: any text.

    Returns:
        Half-open ranges in code points: in order, without overlap, none empty, none beginning or ending with white
        space. What lies before, between and after them is white space only.
    """
    return [
        (start, end)
        for line in _LINE.finditer(text)
        for start, end in _trimmed(text, _pieces(text, line.start(), line.end()))
    ]


def find_pauses(sentence: str) -> list[list[Place]]:
    """Finds where a sentence that is too long can be parted.

    Args:
        sentence: a sentence, without white space at its ends.

    Returns:
        For each strength of pause, the strongest first, its places in order. A place is where a part ends and where the
        next begins, white space lying between; there is text on both sides.
    """
    found = ([match.span("space") for match in pause.finditer(sentence)] for pause in _PAUSES)
    return [[place for place in places if _parts(sentence, *place)] for places in found]


def choose_pause(pauses: Sequence[Sequence[Place]], start: int, end: int) -> Place | None:
    """Chooses among the strongest pauses within a range the one nearest to its middle; None if there is none."""
    for places in pauses:
        first = bisect_right(places, start, key=itemgetter(0))
        behind_last = bisect_left(places, end, key=itemgetter(1))
        if first < behind_last:
            right = bisect_left(places, start + end, first, behind_last, key=sum)
            nearest = places[max(right - 1, first) : min(right + 1, behind_last)]
            return min(nearest, key=lambda place: abs(sum(place) - start - end))
    return None


def _parts(sentence: str, start: int, end: int) -> bool:
    """Whether there is text on both sides, and white space or a mark that needs none between."""
    return start > 0 and end < len(sentence) and (start < end or sentence[start - 1] in _PARTS_ANYWHERE)


def _pieces(text: str, line_start: int, line_end: int) -> Iterator[tuple[int, int]]:
    """Cuts one line behind every mark that ends a sentence; the pieces together are the line."""
    start, in_capitals = line_start, text[line_start:line_end].isupper()
    for boundary in _BOUNDARY.finditer(text, line_start, line_end):
        if _ends_sentence(text, boundary, start, line_end, in_capitals):
            yield start, boundary.end()
            start = boundary.end()
    yield start, line_end


def _trimmed(text: str, pieces: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Takes the white space off both ends of each piece and leaves out what is nothing else."""
    for start, end in pieces:
        piece = text[start:end]
        stripped = piece.strip()
        if stripped:
            start += len(piece) - len(piece.lstrip())
            yield start, start + len(stripped)


def _ends_sentence(text: str, boundary: re.Match[str], sentence_start: int, line_end: int, in_capitals: bool) -> bool:
    mark, end = boundary["mark"], boundary.end()
    if end == line_end:
        return True
    if any(character in _ENDS_ANYWHERE for character in mark):
        return True
    if not text[end].isspace():
        return False
    next_word = _next_word(text, end, line_end)
    if next_word[:1].islower() and (boundary["closing"] or _ELLIPSIS.fullmatch(mark)):
        return False
    if mark != "." or boundary["closing"]:
        return True
    return _full_stop_ends(_word_before(text, boundary.start(), sentence_start), next_word, in_capitals)


def _full_stop_ends(word: str, next_word: str, in_capitals: bool) -> bool:
    """Whether a single full stop between these two words, of a line in capitals or not, ends a sentence (rule 3)."""
    abbreviation = word.lower()
    if word in _TITLES or abbreviation in _NEVER_END:
        return False
    if abbreviation in _NEVER_BEFORE_DIGIT:
        return not next_word[:1].isdigit()
    is_initials = _INITIALS.fullmatch(word) and (len(word) > 1 or not word.islower())
    if abbreviation in _NEVER_BEFORE_SMALL_LETTER and not (in_capitals and is_initials):
        return not next_word[:1].islower()
    begins = in_capitals and next_word in _STARTERS_IN_CAPITALS
    if in_capitals and word in _TITLES_IN_CAPITALS:
        return begins
    if is_initials:
        return begins or next_word in _STARTERS
    return True


def _word_before(text: str, end: int, sentence_start: int) -> str:
    """What stands between the last white space or opening mark and `end`, or its last characters where it is long."""
    start = max(sentence_start, end - _MAX_ABBREVIATION_LENGTH)
    words = text[start:end].split()
    return words[-1].lstrip(_OPENING) if words and not text[end - 1].isspace() else ""


def _next_word(text: str, start: int, line_end: int) -> str:
    match = _NEXT_WORD.match(text, start, line_end)
    return match[1] if match else ""
