"""The report in a real browser: what its filters count, its keys, and that it asks for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.report.html import write_report
from pipeline.report.views import FailedView, ReportData, RoundView
from tests.pipeline.report.browser import CHROMIUM, WHY_SKIPPED, Browser
from tests.pipeline.report.full_report import FIRST, SECOND, before, full_report, picture

pytestmark = [
    pytest.mark.subprocess,
    pytest.mark.skipif(CHROMIUM is None, reason=WHY_SKIPPED),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("browser")
    with Browser(folder) as opened:
        yield opened


def show(browser: Browser, folder: Path, data: ReportData, place: str = "") -> str:
    """Open the report of some data, and return its address."""
    page = folder / "report.html"
    page.write_text(write_report(data))
    browser.events.clear()
    browser.open("about:blank")
    browser.events.clear()
    url = f"file://{page}"
    browser.open(url + place)
    return url


def choose(browser: Browser, **filters: object) -> None:
    for name, value in filters.items():
        browser.evaluate(
            f"(() => {{ const filter = document.getElementById('filter-{name}');"
            f" filter.value = '{value}'; filter.onchange({{target: filter}}); }})()"
        )


def text(browser: Browser, selector: str) -> list[str]:
    found: list[str] = browser.evaluate(
        f"[...document.querySelectorAll('{selector}')].map(element => element.textContent.trim())"
    )
    return found


def click(browser: Browser, selector: str) -> None:
    browser.evaluate(f"document.querySelector('{selector}').click()")


def test_the_filters_count_samples_and_labels(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, full_report())
    assert text(browser, "#count") == ["26 samples, 11 labels"]
    assert text(browser, "#filter-class option") == ["any", "cup (2)", "cat (1)"]
    choose(browser, **{"class": "cat"})
    assert text(browser, "#count") == ["1 sample, 1 label"]
    assert text(browser, "#filter-source option") == ["any", "refine (1)"]
    click(browser, "#clear")
    choose(browser, reason="relabelled")
    assert text(browser, "#count") == ["1 sample, 1 label"]
    assert text(browser, ".sample .key") == ["changed"]
    choose(browser, reason="", kind="triplets", source="ground")
    assert text(browser, "#count") == ["1 sample, 4 labels"]
    choose(browser, kind="", source="", dispute="members of an ensemble")
    assert text(browser, "#count") == ["1 sample, 1 label"]
    choose(browser, dispute="", round=0, reason="*")
    assert text(browser, "#count") == ["1 sample, 1 label"]
    assert text(browser, "#filter-reason option")[2:] == ["low score (1)"]
    assert browser.complaints() == []


def test_the_least_sure_the_most_changed_and_the_failed_have_their_pages(
    browser: Browser, tmp_path: Path
) -> None:
    show(browser, tmp_path, full_report())
    orders = text(browser, "[id^=order-]")
    assert orders == ["All 26", "Least sure 2", "Most changed 1", "Failed 1,234"]
    click(browser, "#order-unsure")
    assert text(browser, ".sample .key") == ["changed", "failed"]
    assert text(browser, ".sample .notes")[0].startswith("doubt 0.45; least sure: cup 0.30")
    assert "highest doubt, out of all 900" in text(browser, "#about")[0]
    choose(browser, round=0)
    assert text(browser, ".sample .notes") == ["doubt 0.75; least sure: cup 0.60"]
    click(browser, "#order-changed")
    assert text(browser, ".sample .key") == []
    assert "the first one, so it changed nothing" in text(browser, "#about")[0]
    choose(browser, round=1)
    assert text(browser, ".sample .key") == ["changed"]
    click(browser, "#order-unsure")
    choose(browser, **{"class": "cat"})
    assert text(browser, ".sample .key") == ["changed"]
    click(browser, "#clear")
    click(browser, "#order-all")
    assert text(browser, "#page") == ["page 1 of 2"] and len(text(browser, ".sample")) == 24
    click(browser, "#next-page")
    assert text(browser, "#page") == ["page 2 of 2"] and len(text(browser, ".sample")) == 2


def test_every_failure_has_a_card_with_its_reason(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, full_report())
    choose(browser, **{"class": "cat"})  # failures are no labels, so no filter is about them
    click(browser, "#order-failed")
    assert text(browser, "#count") == ["1,234 failures"]
    assert text(browser, ".sample .key") == ["half", "failed"]
    assert text(browser, ".sample .blank") == ["no picture"]
    assert text(browser, ".sample .reason") == [
        "did not come in: truncated",
        "failed in 1.ocr: out of memory",
    ]
    assert text(browser, ".sample .detail") == ["<b>39 bytes</b>", "file: b/half.jpg"]
    assert browser.evaluate("document.querySelectorAll('.sample svg').length") == 1
    assert (
        browser.evaluate("getComputedStyle(document.getElementById('filters')).display") == "none"
    )
    click(browser, "button.sample")
    assert text(browser, "#viewer-key") == ["failed"]
    assert text(browser, "#viewer-content .failure") == ["failed in ocr: out_of_memory"]
    assert browser.complaints() == []


def test_a_run_that_labelled_nothing_shows_why(browser: Browser, tmp_path: Path) -> None:
    rounds = [RoundView(name=FIRST, status="empty", kept={})]
    failed = [FailedView(key="a", name="a", stage="ingest", reason="not_an_image")]
    data = ReportData(experiment="x", images=0, rounds=rounds, failures=1, failed=failed)
    show(browser, tmp_path, data)
    click(browser, "#order-failed")
    assert text(browser, ".sample .reason") == ["did not come in: not an image"]
    click(browser, "#order-unsure")
    assert "No kept box" in text(browser, "#about")[0]
    assert browser.complaints() == []


def test_a_sample_has_the_six_views_of_the_paper(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, full_report(), "#changed")
    choose(browser, round=0)
    browser.evaluate("openViewer(1, 'six')")
    views = text(browser, ".view figcaption")
    assert [view[:3] for view in views] == ["(a)", "(b)", "(c)", "(d)", "(e)", "(f)"]
    chips = browser.evaluate(
        "[...document.querySelectorAll('.view')].map(view =>"
        " [...view.querySelectorAll('svg text')].map(chip => chip.textContent))"
    )
    assert chips == [
        [],
        ["cup", "dog", "<b>GO</b>"],
        ["red cup", "dog", "<b>GO</b>"],
        ["1"],
        ["1", "2"],
        ["1"],
    ]
    assert text(browser, ".view .text") == [
        "A \U0001f600 red cup1.",
        "A red cup1 by a dog2.",
        "A cup and a dog1.",
    ]
    assert text(browser, ".view mark") == ["red cup", "A red cup", "a dog", "a dog"]
    # The mask of the cup is in every view of it, and the letters of the sign are no tags.
    assert browser.evaluate("document.querySelectorAll('.view .masks path').length") == 5
    assert browser.evaluate("document.querySelectorAll('#viewer b').length") == 0


def test_an_object_of_several_phrases_has_one_number(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, full_report())
    words = browser.evaluate(
        "(() => { const labels = labelsOf(report.samples[1], 0);"
        " const again = labels.filter(label => label.kind === 'triplets');"
        " const drawing = picture(1, [...labels, ...again], VIEWS[4], options());"
        " return [...drawing.querySelectorAll('text')].map(chip => chip.textContent); })()"
    )
    assert words == ["1", "2"]


def test_a_slider_shows_what_a_round_changed(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, full_report())
    click(browser, "#order-changed")
    click(browser, ".sample")
    assert text(browser, ".compare h4") == [f"1 change by round {SECOND}"]
    assert text(browser, ".sides b") == [f"before: {FIRST} accepted", f"after: {SECOND} accepted"]
    assert text(browser, ".layer:not(.after) svg text") == ["red cup", "dog", "<b>GO</b>"]
    assert text(browser, ".after svg text") == ["red cup", "cat", "<b>GO</b>"]
    browser.evaluate(
        "(slider => { slider.value = 20; slider.oninput(); })(document.getElementById('slider'))"
    )
    hidden = browser.evaluate("getComputedStyle(document.querySelector('.after')).clipPath")
    assert hidden == "inset(0px 0px 0px 20%)"


def test_before_and_after_show_labels_also_if_the_chosen_view_has_none(
    browser: Browser, tmp_path: Path
) -> None:
    show(browser, tmp_path, full_report())
    click(browser, ".sample")
    assert text(browser, "#viewer-key") == ["failed"]
    browser.press("6")  # the sample has no more detailed text
    assert text(browser, ".view svg text") == []
    browser.press("b")
    assert text(browser, ".layer:not(.after) svg text") == ["cup"]
    assert text(browser, ".after svg text") == ["cup"]


def test_the_words_of_a_label_are_neither_stretched_nor_squeezed(
    browser: Browser, tmp_path: Path
) -> None:
    show(browser, tmp_path, full_report(), "#changed")
    browser.evaluate("openViewer(1, 'six')")
    ratios = browser.evaluate(
        "[...document.querySelectorAll('.view svg text')].map(words => {"
        " const shown = words.textLength.baseVal.value; words.removeAttribute('textLength');"
        " return words.getComputedTextLength() / shown; })"
    )
    assert len(ratios) == 10
    assert all(0.97 < ratio < 1.03 for ratio in ratios), ratios


def test_keys_walk_through_samples_rounds_and_views(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, full_report())
    browser.evaluate("document.querySelector('.sample').focus()")
    browser.press("ArrowRight")
    browser.press("Enter")
    assert text(browser, "#viewer-key") == ["changed"]
    for key, mode in (("3", "one"), ("b", "compare"), ("l", "table"), ("0", "six")):
        browser.press(key)
        assert browser.evaluate("document.getElementById('viewer-content').dataset.mode") == mode
    browser.press("ArrowUp")
    pressed = "#viewer-rounds [aria-pressed=true]"
    assert text(browser, pressed) == [f"{FIRST} accepted"]
    browser.press("ArrowLeft")
    assert text(browser, "#viewer-key") == ["failed"]
    assert text(browser, "#viewer-content .failure") == []
    browser.press("ArrowDown")
    assert text(browser, "#viewer-content .failure") == ["failed in ocr: out_of_memory"]
    browser.press("ArrowLeft")  # the first sample: nothing before it, and the keys still work
    browser.press("ArrowRight")
    assert text(browser, "#viewer-key") == ["changed"]
    browser.press("Escape")
    assert browser.evaluate("document.getElementById('viewer').open") is False


def test_no_request_leaves_the_page(browser: Browser, tmp_path: Path) -> None:
    url = show(browser, tmp_path, full_report())
    for selector in ("#order-unsure", "#order-changed", ".sample"):
        click(browser, selector)
    assert browser.requests() == [url] and browser.complaints() == []
    # The page would refuse one, too: this is what an injected picture meets.
    browser.evaluate("void (new Image().src = 'http://elsewhere.test/x.png')")
    browser.wait_for("Log.entryAdded")
    assert "Content Security Policy" in browser.complaints()[0]


def test_a_round_0_without_truth_and_a_narrow_window(browser: Browser, tmp_path: Path) -> None:
    rounds = [RoundView(name=FIRST, status="accepted", kept={})]
    pictures = [picture("k" * 60, "grey", rounds={FIRST: before()})]
    data = ReportData(experiment="x", images=1, rounds=rounds, pictures=pictures, head=FIRST)
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.send("Emulation.setDeviceMetricsOverride", **size)
    show(browser, tmp_path, data)
    assert text(browser, "[id^=order-] b") == ["1", "0", "0", "0"]
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390
    click(browser, "#order-failed")
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390
    click(browser, "#order-all")
    click(browser, ".sample")
    for mode in ("six", "one", "compare", "table"):
        click(browser, f"#viewer-modes [value={mode}]")
        assert browser.evaluate("document.getElementById('viewer').scrollWidth") <= 390, mode
    browser.send("Emulation.clearDeviceMetricsOverride")
    assert browser.complaints() == []
