"""The page in a browser: every control used, by pointer, finger and keyboard; no error, and no request."""

import random
import re

import pytest
from browser import browser
from page_visit import opened
from small_model import make_model

from charrnn.explaining.explanation import Text, explain
from charrnn.explaining.settings import ExplainSettings
from charrnn.pages.explanation import write_explanation_page
from charrnn.storage.model_file import read_model

WORDS = 'the king (who "sleeps") said: no. Then\n'
CHARS = sorted(set(WORDS + "\t</script>é\u202e\U0001f600漢"))
BEGIN = "the king\n\tsaid: é漢\U0001f600 </script>\n"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def words(num_chars):
    """A text of words, quotes and brackets."""
    pick = random.Random(0)
    parts = [BEGIN]
    while sum(map(len, parts)) < num_chars:
        parts.append(pick.choice([*WORDS.split(" "), "\n", " ", " ", " "]))
    return "".join(parts)[:num_chars]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page of one network, and one of two networks with a text of several chunks."""
    with browser():  # where there is none, nothing need be computed
        pass
    folder = tmp_path_factory.mktemp("pages")
    alphabet = "".join(CHARS)
    models = {
        name: read_model(make_model(folder / name, text=alphabet, hidden_size=size, cell=cell))
        for name, size, cell in (("one", 6, "lstm"), ("two", 5, "rnn"))
    }
    made = {}
    for name, chosen, length in (("single", ["one"], 3000), ("double", ["one", "two"], 70_000)):
        text = Text(f"{name}.txt", words(length), False)
        settings = ExplainSettings(unit=("1.cell.0", "1.forget.1"), reach=5)
        explained = explain({each: models[each] for each in chosen}, text, settings)
        made[name] = folder / f"{name}.html"
        write_explanation_page(made[name], explained)
    return made


def ready(page):
    page.wait_for_selector("body[data-ready]")
    return page


def detail(page):
    return page.inner_text("#detail")


def character(page, row, column):
    return page.locator(f".pane >> nth=0 >> .row >> nth={row} >> span >> nth={column}")


def painted(page):
    """How many characters in sight have a colour."""
    return page.locator(".row span[class^=a], .row span[class^=b]").count()


def test_hovering_shows_what_was_expected_instead(pages):
    with opened(pages["single"]) as page:
        ready(page)
        assert "The first character is given." in detail(page)
        character(page, 0, 4).hover()
        page.wait_for_function("() => document.getElementById('detail').innerText.includes('column 5')")
        text = detail(page)
        assert text.startswith("k line 1, column 5")
        assert re.search(
            r"Surprisal \d+\.\d bits \(\d+\.\d nats\): (expected|plausible|surprising|very surprising)", text
        )
        assert re.search(r"Entropy \d\.\d bits", text)
        assert page.locator("#detail table tr").count() == 5
        page.wait_for_function(
            "() => /^k, line 1, column 5; Surprisal/.test(document.getElementById('spoken').textContent)"
        )
        assert "expected" in page.text_content("#spoken")


def test_arrow_keys_move_and_the_mark_follows(pages):
    with opened(pages["single"]) as page:
        ready(page).focus("#viewer")
        for keys, place in (
            ("ArrowRight ArrowRight", "e line 1, column 3"),
            ("ArrowLeft", "h line 1, column 2"),
            ("ArrowDown", "s line 2, column 2"),
            ("Home", "tab line 2, column 1"),
            ("ArrowUp", "t line 1, column 1"),
            ("End", "newline line 1, column 9"),
            ("Control+Home", "t line 1, column 1"),
            ("ArrowLeft", "t line 1, column 1"),
        ):
            for key in keys.split():
                page.keyboard.press(key)
            page.wait_for_function(
                "(place) => document.getElementById('detail').innerText.startsWith(place)", arg=place, timeout=5000
            )
            assert page.locator(".pane .here").count() == 1
        page.keyboard.press("Control+End")
        page.wait_for_function("() => document.getElementById('viewer').scrollTop > 500")
        before = page.evaluate("document.getElementById('viewer').scrollTop")
        page.keyboard.press("PageUp")
        page.keyboard.press("PageUp")
        page.wait_for_function("(before) => document.getElementById('viewer').scrollTop < before", arg=before)
        page.keyboard.press("PageDown")
        assert page.locator(".pane .here").count() == 1


def test_surprises_are_found_forward_and_back(pages):
    with opened(pages["double"]) as page:
        ready(page).focus("#viewer")
        page.keyboard.press("n")
        page.wait_for_timeout(300)
        # Random weights expect all alike: log2 of the alphabet, some 4.8 bits; nothing is very surprising.
        assert page.text_content("#spoken") == "No surprise after this."
        page.click("#previous")
        page.wait_for_function("() => document.getElementById('spoken').textContent === 'No surprise before this.'")
        page.click("#next")


def test_units_are_painted_from_list_buttons_and_keys(pages):
    with opened(pages["single"]) as page:
        ready(page)
        names = page.locator("#colour option").all_inner_texts()
        assert "cell 0 of layer 1" in "\n".join(names)
        plain = page.inner_text("#legend")
        page.select_option("#colour", "unit:0:0")
        assert "cell 0 of layer 1" in page.inner_text("#legend") != plain
        assert painted(page) > 20
        character(page, 0, 2).hover()
        page.wait_for_function(
            "() => /cell 0 of layer 1: -?\\d\\.\\d\\d/.test(document.getElementById('detail').innerText)"
        )
        button = page.locator("button.paint").first
        if button.count():
            button.click()
            assert button.get_attribute("aria-pressed") == "true"
            button.click()
            assert button.get_attribute("aria-pressed") == "false"
        page.focus("#viewer")
        page.keyboard.press("u")
        assert page.input_value("#colour").startswith("unit:0:")
        page.keyboard.press("c")
        assert page.input_value("#colour") == "surprisal"
        page.select_option("#colour", "entropy")
        assert "Entropy in bits" in page.inner_text("#legend")


def test_two_models_stand_side_by_side_and_against_each_other(pages):
    with opened(pages["double"], viewport={"width": 1200, "height": 900}) as page:
        ready(page)
        assert page.locator(".pane h3").all_inner_texts() == ["one", "two"]
        character(page, 0, 5).hover()
        page.wait_for_function("() => document.querySelectorAll('#detail h3').length === 2")
        assert page.locator(".here").count() == 2
        page.select_option("#colour", "difference")
        assert page.locator(".pane h3").all_inner_texts() == ["one against two"]
        assert "more" in page.inner_text("#legend")
        page.select_option("#right", "-1")
        assert page.locator(".pane h3").all_inner_texts() == ["one"]
        assert page.input_value("#colour") == "surprisal"
        assert page.locator("#colour option[value=difference]").is_disabled()
        page.select_option("#left", "1")
        assert page.locator(".pane h3").all_inner_texts() == ["two"]


def test_far_down_a_long_text_is_the_same_text(pages):
    with opened(pages["double"], viewport={"width": 1200, "height": 900}) as page:
        ready(page).focus("#viewer")
        assert page.locator(".row").count() < 300
        page.keyboard.press("Control+End")
        text = words(70_000)
        line, column = text.count("\n") + 1, len(text) - text.rfind("\n") - 1
        place = f"line {line}, column {column}"
        page.wait_for_function("(place) => document.getElementById('detail').innerText.includes(place)", arg=place)
        assert page.locator(".row").count() < 300
        shown = "".join(page.locator(".pane >> nth=0 >> .row").all_inner_texts()[-3:])
        assert shown.replace("↵", "\n").endswith(text[-20:])


def test_strange_characters_are_shown_and_never_run(pages):
    with opened(pages["single"]) as page:
        ready(page)
        rows = page.locator(".pane >> nth=0 >> .row").all_inner_texts()
        assert rows[0] == "the king↵"
        assert rows[1] == "→   said: é漢\U0001f600 </script>↵"


def test_a_finger_chooses_a_character_on_a_phone(pages):
    with opened(pages["double"], **PHONE) as page:
        ready(page)
        assert page.locator(".pane").count() == 1  # two texts have no room beside each other
        character(page, 0, 3).tap()
        page.wait_for_function("() => document.getElementById('detail').innerText.startsWith('space line 1, column 4')")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_letters_stand_out_from_every_colour(pages, scheme):
    with opened(pages["single"], color_scheme=scheme) as page:
        ready(page)
        # What a browser computes of letter and ground, mixed over the page's ground: contrast as WCAG 2 defines it.
        contrasts = page.evaluate("""() => {
            const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
            const pixel = (...colours) => {
                for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
                return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
            };
            const light = (rgb) => rgb.map((each) => each / 255)
                .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4))
                .reduce((sum, each, channel) => sum + each * [0.2126, 0.7152, 0.0722][channel], 0);
            const page = getComputedStyle(document.body).backgroundColor;
            const letter = document.querySelector(".row span");
            return ["", "a1", "a2", "a3", "a4", "a5", "b1", "b2", "b3", "b4", "b5"].map((name) => {
                letter.className = name;
                const style = getComputedStyle(letter);
                const two = [light(pixel(page, style.backgroundColor)), light(pixel(style.color))];
                return (Math.max(...two) + 0.05) / (Math.min(...two) + 0.05);
            });
        }""")
        assert min(contrasts) >= 4.5, contrasts


def test_paper_shows_the_text_without_controls(pages):
    with opened(pages["single"]) as page:
        ready(page)
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        assert not page.is_visible("#controls")
        assert not page.is_visible("#detail")
        assert page.locator(".row").count() == words(3000).count("\n") + 1
        assert page.is_visible("#legend")
        assert page.is_visible("svg.flow")


def test_without_scripts_the_page_says_so(pages):
    with opened(pages["single"], java_script_enabled=False) as page:
        assert "need JavaScript" in page.inner_text("noscript")
        assert page.is_visible("svg.flow")
