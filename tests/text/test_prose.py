"""English prose from docstrings: what is taken, what is not, and how it is set."""

import gc
import warnings

import pytest

from charrnn.text.prose import prose_of

PROSE = "A model reads one symbol after the other, and says which comes next."
OTHER = "What it has read before is kept in a state of fixed size."


def module(docstring):
    return f'"""{docstring}"""\n'.encode()


def taken(*docstrings):
    return "".join(prose_of(map(module, docstrings)))


def test_docstrings_of_modules_classes_and_functions_are_read_in_order():
    source = f'''"""{PROSE}"""
class Model:
    """Of models there are as many as there are people who make them."""

    def predict(self):
        """Give the probability of each symbol that may come next."""

        async def inner():
            """{OTHER}"""


def plain(): return "This is a string of eight words or more."
'''
    lines = "".join(prose_of([source.encode()])).split("\n\n")
    assert [" ".join(each.split()) for each in lines] == [
        PROSE,
        "Of models there are as many as there are people who make them.",
        "Give the probability of each symbol that may come next.",
        OTHER,
        "",
    ]


@pytest.mark.parametrize(
    "docstring",
    [
        ">>> print('This is a test of eight words at least.')",
        "The state of the network is kept in\n\n    state = [0.0 for each of the units that there are]",
        "Parameters\n----------\ntext : str\n    The text that is read, from its beginning to its end.",
        "Args:\n    text (str): The text that is read, from its beginning to its end.",
        ":param text: The text that is read, from its beginning to its end.",
        "- The text that is read, from its beginning to its end.",
        "=====  =====\nThe text  which is read from its beginning.\n=====  =====",
        "The loss is the sum of -ln p[t] over all t, or sum(nats) = 3.",
        "Sets max_len, num_layers, hidden_size and batch_size of the given model.",
        "See the pages that explain all of this:",
        "the first of these words does not begin a sentence.",
        "Return the state of it.",
        "Из всех букв здесь ни одной латинской нет, увы и ах.",
    ],
)
def test_code_lists_tables_formulas_and_fragments_are_left_out(docstring):
    assert taken(f"{docstring}\n\n{PROSE}", OTHER).split() == [*PROSE.split(), *OTHER.split()]


def test_markup_accents_and_typographic_signs_become_plain_text():
    docstring = """The *state* of a **network** [1]_ is what :meth:`~charrnn.Model.step` keeps in ``state``.

    Notes
    -----
    Erdős said \N{LEFT DOUBLE QUOTATION MARK}it depends\N{RIGHT DOUBLE QUOTATION MARK} on
    `the book <https://example.invalid>`__ \N{EN DASH} not\N{NO-BREAK SPACE}on the reader.
    """
    assert taken(docstring).splitlines() == [
        "The state of a network is what step keeps in state.",
        "",
        'Erdos said "it depends" on the book - not on the reader.',
        "",
    ]


def test_a_heading_is_no_part_of_the_paragraph_below():
    assert taken(f"The heading\n===========\n{PROSE}").split() == PROSE.split()


def test_a_paragraph_is_taken_once_whatever_its_lines_and_file():
    wrapped = PROSE.replace("after", "\nafter")
    assert taken(PROSE, f"{wrapped}\n\n{OTHER}", OTHER) == taken(f"{PROSE}\n\n{OTHER}")


def test_lines_are_filled_to_sixty_columns_and_words_stay_whole():
    word = "extraordinarily" * 5
    lines = taken(f"The {word} long sentences of this text are kept, but set anew. " * 9).splitlines()
    assert all(len(line) <= 60 or line == word for line in lines)
    assert max(len(line) for line in lines if line != word) > 50
    assert lines.count(word) == 9
    assert lines[-1] == ""


def test_files_that_are_no_python_or_have_hardly_a_docstring_have_no_prose():
    beyond = b"x = [" + b"1, " * 20_000 + b"]\n"
    contents = [b'"""' + PROSE.encode(), b"\xff\x00", b"", b'"""a"""; def', module(PROSE) + beyond, module(OTHER)]
    assert [text.split() for text in prose_of(contents)] == [[], [], [], [], [], OTHER.split()]


def test_a_file_of_a_megabyte_is_a_table_and_is_not_parsed():
    assert "".join(prose_of([module((PROSE + "\n") * 20_000)])) == ""


def test_nothing_that_a_file_holds_is_executed_or_complained_of(capsys):
    source = module(PROSE) + b'print("executed")\n"\\d" is "x"\n'
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = "".join(prose_of([source]))
    assert text.split() == PROSE.split()
    assert capsys.readouterr() == ("", "")
    assert gc.isenabled()
