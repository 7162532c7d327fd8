from charrnn.inference.copying import Copying
from charrnn.reports.copying import copying_line, copying_to_json

LONG = "the king\n" * 10


def test_the_line_tells_share_length_and_beginning_of_the_passage():
    line = copying_line(Copying(num_words=1200, num_known_words=900, longest=LONG, sample=1), num_samples=3)
    assert "900 of 1,200 words (75 %)" in line
    assert "90 characters in sample 2, 'the king\\nthe king\\n" in line
    assert line.endswith("'...")
    assert line.count("the king") == 6
    assert repr(LONG[:60]) in line


def test_of_nothing_nothing_is_shown():
    line = copying_line(Copying(0, 0, "", 0), num_samples=2)
    assert "0 of 0 words are" in line
    assert line.endswith("0 characters")


def test_json_has_counts_and_the_beginning_of_the_passage():
    assert copying_to_json(Copying(4, 3, LONG, 1)) == {
        "num_words": 4,
        "num_known_words": 3,
        "longest": {"sample": 1, "num_chars": 90, "begins": LONG[:60]},
    }
