"""The page in a real browser, without a window: Debian's chromium, driven through selenium."""

import csv
import io
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lincorr.testing import CITIES, COUNTRIES
from pipeline.explore.page import reply_to
from tests.pipeline.explore.conftest import EVIL

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.common.exceptions import (  # noqa: E402
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

pytestmark = pytest.mark.slow  # a browser is not everywhere, and takes its time

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--window-size=1280,1000",
)
_PATIENCE = 60


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, downloads: Path) -> Iterator[Any]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


class Page:
    """What a person does on the page, and sees."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def all(self, selector: str) -> list[Any]:
        return list(self.browser.find_elements(By.CSS_SELECTOR, selector))

    def one(self, selector: str) -> Any:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def until(self, seen: Callable[[], Any]) -> Any:
        limit = time.monotonic() + _PATIENCE
        while time.monotonic() < limit:
            with suppress(NoSuchElementException, StaleElementReferenceException):  # it is being redrawn
                if found := seen():
                    return found
            time.sleep(0.02)
        raise AssertionError(f"not seen; the log: {self.browser.get_log('browser')}")

    def after(self, act: Callable[[], Any]) -> None:
        """Act, and wait for the answer."""
        before = self.one("body").get_attribute("data-answered")
        act()
        self.until(lambda: self.one("body").get_attribute("data-answered") != before)
        self.until(lambda: "busy" not in (self.one("body").get_attribute("class") or ""))

    def type(self, text: str) -> None:
        self.one("#word").clear()
        self.after(lambda: self.one("#word").send_keys(text, Keys.ENTER))

    def names(self, panel: str = "#first") -> list[str]:
        return [json.loads(b.get_attribute("title")) for b in self.all(f"{panel} .name button")]

    def heading(self, panel: str = "#first") -> str:
        return str(self.one(f"{panel} h3").text)

    def press(self, *keys: str) -> None:
        webdriver.ActionChains(self.browser).send_keys(*keys).perform()

    @property
    def focused(self) -> Any:
        return self.browser.switch_to.active_element


@pytest.fixture
def page(browser: Any, served: Any) -> Page:
    browser.get("about:blank")
    browser.get(served.url)
    page = Page(browser)
    page.until(lambda: page.all("#first tbody tr"))
    page.after(page.one("#compare").click)  # two panels, as there are two stores: one is enough
    return page


def test_a_typed_token_shows_its_targets_and_marks_the_right_one(page, opened):
    page.type("Tokyo")
    question = {"word": "Tokyo", "relation": "toy", "fit": "vocabulary-ridge"}
    answered = json.loads(reply_to([opened], json.dumps({"number": 1, "questions": [question]})))["answers"][
        0
    ]
    assert page.names() == [link["text"] for link in answered["links"]]
    assert page.heading() == "Strongest targets of ·Tokyo"
    [right] = page.all("#first tr.right")
    assert right.find_element(By.TAG_NAME, "button").get_attribute("textContent") == "·Japan, right"
    assert right.text.endswith("✓")
    weights = [float(cell.text.replace("−", "-")) for cell in page.all("#first td.weight")]
    assert weights == pytest.approx(
        [link["weight"] for link in answered["links"]], rel=0.01, abs=0.006 * max(weights)
    )
    assert "Right: ·Japan (rank" in page.one("#first .known").text


def test_bars_are_as_long_as_the_weights(page):
    page.type("Tokyo")
    widths = [bar.rect["width"] for bar in page.all("#first .track span")]
    weights = [float(cell.text.replace("−", "-")) for cell in page.all("#first td.weight")]
    assert min(weights) < 0 < max(weights)
    for width, weight in zip(widths, weights, strict=True):
        assert width == pytest.approx(widths[0] * abs(weight) / weights[0], abs=2)
    zero = page.one("#first .track i").rect["x"]
    lefts = [bar.rect["x"] for bar in page.all("#first .track span")]
    assert [left < zero - 0.5 for left in lefts] == [weight < 0 for weight in weights]


def test_a_click_on_a_bar_follows_its_token_and_back_goes_back(page):
    page.type("Tokyo")
    first = page.names()[0]
    bar = page.one("#first tbody .track")
    page.after(webdriver.ActionChains(page.browser).move_to_element(bar).click().perform)
    assert page.heading() == f"Strongest sources of ·{first.strip()}"
    assert set(page.names()) == {f" {city}" for city in CITIES}
    page.after(page.browser.back)
    assert page.heading() == "Strongest targets of ·Tokyo"


def test_a_token_that_the_field_cannot_hold_is_followed_too(page, opened):
    """A line break, which a field of a form drops."""
    page.type("Tokyo")
    follow = "panels[0].follow({token: arguments[0], text: '\\n'})"
    page.after(lambda: page.browser.execute_script(follow, opened.texts.index(" Japan")))
    assert page.one("#word").get_attribute("value") == ""
    assert page.heading() == "Strongest sources of ·Japan"


def test_what_is_typed_counts_before_it_is_looked_up(page):
    page.type("Tokyo")
    page.after(page.all("#first .name button")[0].click)
    page.one("#word").clear()
    page.one("#word").send_keys("Spain")
    page.after(lambda: page.one("#top").send_keys("5"))
    assert page.heading() == "Strongest sources of ·Spain"


def test_it_works_by_keyboard_alone(page):
    page.after(page.browser.refresh)  # the first Tab begins at the top again
    page.press(Keys.TAB)
    assert page.focused.text == "Skip to the answers"
    page.press(Keys.TAB)
    assert page.focused.get_attribute("id") == "word"
    page.press("Japan", Keys.TAB)  # in place of what was there: a Tab selects it
    assert page.focused.get_attribute("id") == "targets"
    page.press(Keys.ARROW_RIGHT)  # a radio button: sources; the answer to the word may still be coming
    page.until(lambda: page.heading() == "Strongest sources of ·Japan")
    order = []
    while page.focused.tag_name != "button" or page.focused.find_elements(By.XPATH, "ancestor::form"):
        page.press(Keys.TAB)
        order.append(page.focused.get_attribute("id"))
        assert len(order) < 20
    assert order[:7] == ["among", "top", "", "compare", "first-store", "first-relation", "first-fit"]
    assert order[7:9] == ["first-reading", "first-penalty"]
    name = json.loads(page.focused.get_attribute("title"))
    page.after(lambda: page.press(Keys.ENTER))  # the first row's token
    assert page.heading() == f"Strongest targets of ·{name.strip()}"
    assert page.focused.find_elements(By.XPATH, "ancestor::table")  # and one can go on from there


def test_the_slider_reads_the_map_along_its_path(page):
    page.type("Tokyo")
    before = [cell.text for cell in page.all("#first td.weight")]
    slider = page.one("#first-penalty")
    page.after(lambda: slider.send_keys(Keys.HOME))
    assert slider.get_attribute("aria-valuetext").startswith("0")
    assert page.one("#first-where").text.startswith("0")
    assert [cell.text for cell in page.all("#first td.weight")] != before
    page.after(lambda: page.one("#first-fit").send_keys("domain"))
    page.until(lambda: not slider.is_enabled())
    assert "without a penalty" in page.one("#first-where").text


def test_two_maps_are_compared_by_the_tokens_text(page):
    page.after(page.one("#compare").click)
    page.after(lambda: page.one("#second-fit").send_keys("domain-ridge"))
    page.type("Paris")
    assert page.heading() == page.heading("#second") == "Strongest targets of ·Paris"
    assert page.names() != page.names("#second")
    assert sorted(page.names()) == sorted(page.names("#second"))
    assert page.one("#compare").get_attribute("aria-expanded") == "true"


def test_tokens_are_text_and_never_markup(page):
    page.type("Tokyo")
    page.one("#among").send_keys("every")
    page.after(lambda: page.one("#top").send_keys("50"))
    page.type(EVIL)
    assert page.heading() == f"Strongest targets of {EVIL}"
    page.type("<s>")
    assert page.heading() == "Strongest targets of <s>"
    page.type("<b>nothing</b> like it")
    assert page.one("#first .warn").text.startswith("no source token '<b>nothing</b> like it'")
    assert page.browser.title == "lincorr explore"
    assert not page.all("#answers script, #answers b, #answers s")


def test_near_words_are_offered_and_suggestions_follow_the_typing(page):
    page.type("Tokiu")
    page.after(page.one("#first .near button").click)
    assert page.heading() == "Strongest targets of ·Tokyo"
    page.one("#word").clear()
    page.one("#word").send_keys("mad")
    script = "return [...document.querySelectorAll('#suggested option')].map(option => option.value)"
    page.until(lambda: page.browser.execute_script(script)[:1] == ["Madrid"])


def test_csv_and_png_have_what_is_seen(page, downloads):
    page.type("Tokyo")
    for name in ("csv", "png"):
        page.one(f"#first [data-name={name}]").click()
    table, picture = (
        page.until(lambda kind=kind: [p for p in downloads.glob(f"*.{kind}") if p.stat().st_size])[0]
        for kind in ("csv", "png")
    )
    assert table.name == "toy-vocabulary-ridge-Tokyo.csv"
    rows = list(csv.DictReader(io.StringIO(table.read_text("utf-8"))))
    assert [row["token"] for row in rows] == page.names()
    assert [row["token"] for row in rows if row["right"] == "True"] == [" Japan"]
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_light_and_dark_follow_the_browser(scheme, is_dark, page):
    feature = {"name": "prefers-color-scheme", "value": scheme}
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def brightness(selector: str, of: str) -> float:
        colour = page.one(selector).value_of_css_property(of)
        return sum(float(part) for part in colour.partition("(")[2].rstrip(")").split(",")[:3]) / 765

    assert (brightness("body", "background-color") < 0.5) == is_dark
    assert (brightness("#first tbody button", "color") > 0.5) == is_dark
    assert (brightness("#word", "background-color") < 0.5) == is_dark


def test_every_field_has_a_label_and_the_answer_is_told(page):
    for field in page.all(":is(input, select, button):not([hidden] *)"):
        assert field.accessible_name, field.get_attribute("outerHTML")
    status = page.one("[role=status]")
    assert status.get_attribute("aria-live") == "polite"
    page.type("Tokyo")
    first = page.names()[0].strip()
    told = page.browser.execute_script("return arguments[0].textContent", status)
    assert told.startswith(f"toy: Strongest targets of Tokyo: {first}")
    assert page.one("#first table").accessible_name.startswith("Strongest targets of ·Tokyo")


def test_the_page_loads_without_an_error(page):
    assert [entry for entry in page.browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert {country.strip() for country in page.names()} <= set(COUNTRIES)


def test_a_reply_to_nonsense_is_a_line(opened):
    reply = json.loads(reply_to([opened], json.dumps({"number": 7, "questions": [{"word": 1}]})))
    assert reply["number"] == 7
    assert "word" in reply["failed"]
