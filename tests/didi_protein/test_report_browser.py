"""The report in a real browser: offline, on a phone and a desk, by mouse and by keyboard."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from report_fixtures import quickstart_like, rows, write_table

from didi_protein.report import write_report

pytestmark = pytest.mark.browser

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SCREENS = {"phone": (390, 844), "desk": (1280, 900)}


@pytest.fixture(scope="module")
def browser() -> Iterator["object"]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not executable:
        pytest.skip("no Chromium: none on the path, and CHROMIUM is not set")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def report_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    quickstart_like(folder / "in")
    # A long name without a place to break is what makes pages scroll sideways.
    long = rows("m" * 90, "ancestral", 8, 2.7, count=20).assign(
        id=[f"{'i' * 90}{n}" for n in range(20)]
    )
    long.loc[0, "judge_perplexity"] = 1.5
    write_table(folder / "in", "long", long, None, seconds=None)
    return write_report([folder / "in"], folder / "report.html").out


@pytest.fixture(params=SCREENS)
def page(request: pytest.FixtureRequest, browser, report_page: Path) -> Iterator["object"]:
    width, height = SCREENS[request.param]
    context = browser.new_context(viewport={"width": width, "height": height})
    opened = context.new_page()
    opened.requests, opened.complaints = [], []
    opened.on("request", lambda each: opened.requests.append(each.url))
    opened.on("console", lambda each: opened.complaints.append(each.text))
    opened.on("pageerror", lambda each: opened.complaints.append(str(each)))
    opened.goto(report_page.as_uri(), wait_until="load")
    yield opened
    context.close()


def column(page, heading: str) -> list[str]:
    """Values of a column of the comparison, in the order shown, without the reference rows."""
    return page.evaluate(
        """(heading) => {
            const table = document.querySelector("table.sortable");
            const cells = Array.from(table.tHead.rows[0].cells);
            const index = cells.findIndex((each) => each.innerText.trim().startsWith(heading));
            return Array.from(table.tBodies[0].rows).map((row) => row.cells[index].dataset.value);
        }""",
        heading,
    )


def test_no_request_leaves_and_nothing_complains(page, report_page: Path) -> None:
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.wait_for_load_state("networkidle")
    assert page.requests[0] == report_page.as_uri()
    assert all(url.startswith("data:") for url in page.requests[1:])
    assert page.complaints == []


def test_only_the_table_scrolls_sideways(page) -> None:
    widths = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert widths[0] <= widths[1]
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= widths[1]
    box = page.evaluate(
        """() => { const box = document.querySelector(".scroll");
                   box.scrollLeft = 10000;
                   const last = box.querySelector("thead th:last-child").getBoundingClientRect();
                   return [last.right, box.getBoundingClientRect().right]; }"""
    )
    assert box[0] <= box[1] + 1, "the last column can be reached"


def test_text_of_the_plots_is_large_enough(page) -> None:
    sizes = page.evaluate(
        """() => Array.from(document.querySelectorAll("figure svg text"))
                     .map((each) => each.getBoundingClientRect().height)"""
    )
    assert len(sizes) > 30
    assert min(sizes) >= 9


def test_sorting_by_click(page) -> None:
    before = column(page, "Judge")
    last_row = page.locator("table.sortable tbody.references tr").last.inner_text()
    button = page.get_by_role("button", name="Judge perplexity")
    button.click()
    ascending = column(page, "Judge")
    assert ascending == sorted(before, key=float) != before
    button.click()
    assert column(page, "Judge") == ascending[::-1]
    heading = page.locator("th", has=button)
    assert heading.get_attribute("aria-sort") == "descending"
    assert page.locator("table.sortable tbody.references tr").last.inner_text() == last_row


def test_sorting_by_keyboard(page) -> None:
    page.get_by_role("button", name="Steps", exact=True).focus()
    page.keyboard.press("Enter")
    steps = column(page, "Steps")
    assert [each for each in steps if each] == sorted((each for each in steps if each), key=int)
    assert steps[-1] == ""  # the limit has no steps and comes last either way
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")  # over n to Calls
    page.keyboard.press("Space")
    calls = column(page, "Calls")
    assert calls == sorted(calls, key=float)
    assert page.locator("th[aria-sort]").count() == 1


def test_designs_can_be_downloaded_and_copied(page) -> None:
    with page.expect_download() as download:
        page.get_by_role("link", name="Download these as FASTA").click()
    text = Path(download.value.path()).read_text()
    assert text.startswith(f">{'i' * 90}0 ")
    assert text.count(">") == 12
    copy = page.get_by_role("button", name="Copy sequence").first
    copy.click()
    page.get_by_role("button", name="Copied").or_(
        page.get_by_role("button", name="Selected")
    ).first.wait_for()


def test_colours_follow_the_reader(browser, report_page: Path) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        opened = browser.new_page(color_scheme=scheme)
        opened.goto(report_page.as_uri())
        shades[scheme] = opened.evaluate(
            """() => ["body", "figure svg text"].map((each) => {
                const style = getComputedStyle(document.querySelector(each));
                return each === "body" ? style.backgroundColor : style.fill; })"""
        )
        opened.close()
    brightness = {
        scheme: [sum(map(int, shade[4:-1].split(","))) for shade in pair]
        for scheme, pair in shades.items()
    }
    assert brightness["light"][0] > 600 > brightness["light"][1]
    assert brightness["dark"][0] < 150 < brightness["dark"][1]


@pytest.mark.parametrize("policy", [True, False], ids=["as written", "without the policy"])
def test_markup_in_an_id_does_not_run(browser, tmp_path: Path, policy: bool) -> None:
    attack = "<script>window.pwned=1</script>"
    table = rows(attack, "ancestral", 8, 2.8, count=8)
    table["id"] = [f"{attack}{number}" for number in range(8)]
    written = write_report([write_table(tmp_path, "t", table, None, None)], tmp_path / "r.html").out
    if not policy:  # escaping must hold by itself
        text = written.read_text()
        assert "Content-Security-Policy" in text
        written.write_text(text.replace("Content-Security-Policy", "X-Nothing"))
    opened = browser.new_page()
    opened.goto(written.as_uri())
    assert opened.evaluate("window.pwned") is None
    assert opened.locator("article h3").first.inner_text().startswith(attack)
    opened.close()
