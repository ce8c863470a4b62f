"""Reading pairs: every line becomes a pair or is counted with its number and the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_export.corpus_readers import CorpusFormat, SentencePair, read_pairs
from model_export.errors import DataError

TMX_FORMAT = CorpusFormat(source_language="en", target_language="fr")


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def test_tsv_lines_become_pairs_or_are_counted(tmp_path: Path) -> None:
    lines = [
        b"\xef\xbb\xbfgood day\tbonjour\r\n",
        b"one column\n",
        b"a\tb\tc\n",
        b"\tvide\n",
        b"blank\t \xc2\xa0 \n",
        b"bad\xff\tutf-8\n",
        b"x" * 50 + b"\ttrop long\n",
        b"line\xe2\x80\xa8separator\tcaf\xc3\xa9",
    ]
    path = write(tmp_path / "pairs.tsv", b"".join(lines))
    corpus = read_pairs([path], CorpusFormat(max_characters=40))
    assert corpus.pairs == [SentencePair("good day", "bonjour"), SentencePair("line\u2028separator", "café")]
    assert corpus.lines == [1, 8]
    assert corpus.rejected == {
        "wrong column count": [2, 3],
        "empty side": [4, 5],
        "invalid UTF-8": [6],
        "over-long": [7],
    }


def test_the_report_shows_totals_and_the_first_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.tsv", "bad\n" * 12 + "good\tbon\n")
    assert read_pairs([path]).report().splitlines() == [
        f"{path}: 1 pairs",
        "  left out: wrong column count: 12 (line 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ...)",
    ]


def test_a_third_column_can_be_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.tsv", "good day\tbonjour\tby someone\ntea\tthé\n")
    corpus = read_pairs([path], CorpusFormat(columns=3))
    assert corpus.pairs == [SentencePair("good day", "bonjour")]
    assert corpus.rejected == {"wrong column count": [2]}


def test_fewer_than_two_columns_are_an_error() -> None:
    with pytest.raises(DataError, match="columns: a line needs at least 2, source and target; got 1"):
        CorpusFormat(columns=1)


def test_a_file_with_other_columns_throughout_asks_for_them(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.tsv", "one\ttwo\tthree\n")
    with pytest.raises(DataError, match=r"wrong column count: 1 \(line 1\); is --columns right\?$"):
        read_pairs([path])


def test_a_file_with_no_pair_left_is_an_error_that_says_why(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.tsv", "only one column\n\tempty\n")
    with pytest.raises(DataError) as caught:
        read_pairs([path])
    assert str(caught.value) == (
        f"{path}: no sentence pair left; left out: empty side: 1 (line 2); left out: wrong column count: 1 (line 1)"
    )


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.tsv: cannot be read: No such file"):
        read_pairs([tmp_path / "none.tsv"])


def test_parallel_files_are_read_line_by_line(tmp_path: Path) -> None:
    source = write(tmp_path / "text.en", "one\n\nthree\n")
    target = write(tmp_path / "text.fr", "un\ndeux\ntrois\n")
    corpus = read_pairs([source, target])
    assert corpus.pairs == [SentencePair("one", "un"), SentencePair("three", "trois")]
    assert corpus.rejected == {"empty side": [2]}


def test_parallel_files_of_different_length_are_an_error(tmp_path: Path) -> None:
    source, target = write(tmp_path / "text.en", "one\ntwo\n"), write(tmp_path / "text.fr", "un\n")
    with pytest.raises(DataError, match="differ in their number of lines"):
        read_pairs([source, target])


def test_three_files_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one per language; got 3"):
        read_pairs([tmp_path, tmp_path, tmp_path])


def test_tmx_units_are_found_by_language_prefix(tmp_path: Path) -> None:
    path = write(
        tmp_path / "memory.tmx",
        """<?xml version="1.0" encoding="UTF-8"?>
        <!DOCTYPE tmx SYSTEM "tmx14.dtd">
        <tmx version="1.4"><header srclang="en"/><body>
        <tu><tuv xml:lang="en-US"><seg>Press <bpt i="1">&lt;b></bpt><hi>Start</hi><ept i="1">&lt;/b></ept>.</seg></tuv>
            <tuv xml:lang="FR"><seg>Appuyez &amp; d\u00e9marrez.</seg></tuv></tu>
        <tu><tuv lang="en"><seg>Alone</seg></tuv><tuv lang="de"><seg>Allein</seg></tuv></tu>
        <tu><tuv lang="en_GB"><seg>Colour</seg></tuv><tuv lang="en"><seg>Color</seg></tuv>
            <tuv lang="fr-CA"><seg>Couleur</seg></tuv></tu>
        <tu><tuv lang="en"><seg/></tuv><tuv lang="fr"><seg>Vide</seg></tuv></tu>
        </body></tmx>""",
    )
    corpus = read_pairs([path], TMX_FORMAT)
    assert corpus.pairs == [SentencePair("Press Start.", "Appuyez & démarrez."), SentencePair("Color", "Couleur")]
    assert corpus.rejected == {"missing language": [2], "empty side": [4]}
    assert "  left out: missing language: 1 (unit 2)" in corpus.report().splitlines()


def test_tmx_in_utf_16_is_read(tmp_path: Path) -> None:
    text = (
        '<?xml version="1.0" encoding="UTF-16"?><tmx><body><tu><tuv xml:lang="en"><seg>tea</seg></tuv>'
        '<tuv xml:lang="fr"><seg>thé</seg></tuv></tu></body></tmx>'
    )
    corpus = read_pairs([write(tmp_path / "memory.tmx", text.encode("utf-16"))], TMX_FORMAT)
    assert corpus.pairs == [SentencePair("tea", "thé")]


@pytest.mark.parametrize("entity", ['lol "lol"', 'file SYSTEM "file:///etc/hostname"', '% part "x"'])
def test_tmx_that_declares_an_entity_is_refused(tmp_path: Path, entity: str) -> None:
    path = write(tmp_path / "memory.tmx", f"<!DOCTYPE tmx [<!ENTITY {entity}>]><tmx/>")
    with pytest.raises(DataError, match="entity declarations are not accepted"):
        read_pairs([path], TMX_FORMAT)


def test_malformed_tmx_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "memory.tmx", "<tmx><body></tmx>")
    with pytest.raises(DataError, match="no well-formed XML: mismatched tag"):
        read_pairs([path], TMX_FORMAT)


@pytest.mark.parametrize("encoding", ["klingon", "shift_jis"])
def test_tmx_in_an_encoding_that_the_parser_lacks_is_an_error(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path / "memory.tmx", f'<?xml version="1.0" encoding="{encoding}"?><tmx/>')
    with pytest.raises(DataError, match=r"memory\.tmx: has an encoding that cannot be read; convert it to UTF-8"):
        read_pairs([path], TMX_FORMAT)


def test_tmx_needs_languages(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs a source and a target language"):
        read_pairs([write(tmp_path / "memory.tmx", "<tmx/>")])
