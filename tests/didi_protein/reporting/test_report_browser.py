"""The report in a real browser: offline, on a phone and a desk, by mouse and by keyboard."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from family_fixtures import scored_designs
from report_fixtures import quickstart_like, rows, write_table
from structure_fixtures import helix_text, write_structures

from didi_protein.filter import filter_designs
from didi_protein.filtering.options import FilterOptions
from didi_protein.report import write_report

pytestmark = pytest.mark.browser

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",  # WebGL without a graphics card
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


def test_perplexity_is_seen_without_scrolling(page) -> None:
    """On a phone too: neither cut off nor under the shadow that says that more columns follow."""
    ends = page.evaluate(
        """() => { const box = document.querySelector("#comparison .scroll");
                   const cells = Array.from(box.querySelectorAll("thead th"));
                   const own = cells.find((each) => each.innerText.startsWith("Judge"));
                   return [own, box].map((each) => each.getBoundingClientRect().right); }"""
    )
    assert ends[0] <= ends[1] - 8


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
    button = page.locator("#comparison").get_by_role("button", name="Judge perplexity")
    button.click()
    ascending = column(page, "Judge")
    assert ascending == sorted(before, key=float) != before
    button.click()
    assert column(page, "Judge") == ascending[::-1]
    named = page.get_by_role("button", name="Judge perplexity")
    heading = page.locator("#comparison th", has=named)
    assert heading.get_attribute("aria-sort") == "descending"
    assert page.locator("table.sortable tbody.references tr").last.inner_text() == last_row


def test_sorting_by_keyboard(page) -> None:
    page.locator("#comparison").get_by_role("button", name="Steps", exact=True).focus()
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
        page.get_by_role("link", name=re.compile("Download these")).click()
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


def test_ticked_designs_are_downloaded(page) -> None:
    page.locator("#listing-find").fill("design_000003")
    page.get_by_role("button", name="Tick those shown").click()
    count = int(page.locator("#listing-status").inner_text().split()[0])
    assert count == page.locator("#listing tbody tr:visible").count() > 1
    page.locator("#listing-find").fill("")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download ticked as FASTA").click()
    text = Path(download.value.path()).read_text()
    titles = [line.split()[0] for line in text.splitlines() if line.startswith(">")]
    assert len(titles) == len(set(titles)) == count
    assert all(each.startswith(">design_000003@") for each in titles)
    page.get_by_role("button", name="Tick none").click()
    assert page.locator("#listing-status").inner_text() == "0 ticked"


def test_the_list_is_sorted_and_shown_in_parts(page) -> None:
    assert page.locator("#listing tbody tr:visible").count() == 100
    page.locator("#listing thead button", has_text="Judge perplexity").click()
    values = page.evaluate(
        """() => { const table = document.getElementById("listing");
             const place = table.querySelector("th[aria-sort]").cellIndex;
             return Array.from(table.tBodies[0].rows).filter((row) => !row.hidden)
                 .map((row) => Number(row.cells[place].dataset.value)); }"""
    )
    assert values == sorted(values) and len(values) == 100
    page.get_by_role("button", name="Show all").click()
    assert page.locator("#listing tbody tr[hidden]").count() == 0


def test_wide_tables_say_that_they_scroll(page) -> None:
    box = page.locator("#all-designs .scroll")
    assert "more" in box.get_attribute("class").split()
    assert page.locator("#all-designs .sideways").is_visible()
    box.evaluate("(box) => { box.scrollLeft = 100000; }")
    page.wait_for_function(
        "!document.querySelector('#all-designs .scroll').classList.contains('more')"
    )


def test_paper_holds_every_column(browser, report_page: Path) -> None:
    opened = browser.new_page(viewport={"width": 1032, "height": 700})  # A4 landscape, in margins
    opened.goto(report_page.as_uri())
    assert opened.locator("#listing tbody tr").count() == 100
    opened.pdf(landscape=True)  # brings the rows beyond the first
    total = int(opened.locator("#listing").get_attribute("data-total"))
    assert opened.locator("#listing tbody tr").count() == total > 100
    opened.emulate_media(media="print")
    cut = opened.evaluate(
        """() => Array.from(document.querySelectorAll("table")).filter((table) =>
                 table.getBoundingClientRect().right > innerWidth + 1).map((table) => table.id)"""
    )
    hidden = opened.locator("#listing tbody tr:not(:visible)").count()
    assert (cut, hidden) == ([], 0)
    opened.close()


@pytest.fixture(scope="module")
def folded_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Structures of three designs, and what a filter rejected of the others."""
    folder = tmp_path_factory.mktemp("folded")
    table = rows("tiny", "ancestral", 8, 2.6, count=12)
    table["mean_plddt"] = [94.0, 86.0, 60.0] + [45.0] * 9
    table["sequence"] = [sequence[:40] for sequence in table["sequence"]]
    table["pdb_file"] = write_structures(folder, table["sequence"], table["mean_plddt"])
    (folder / "pdb" / "0.pdb").write_text(helix_text(table["sequence"][0], [94.0] * 40))
    path = write_table(folder, "t", table, None, None)
    filter_designs(FilterOptions(table=path, out=folder / "best.fasta", min_plddt=50))
    return write_report([path], folder / "r.html", max_repeat=1.0).out


@pytest.fixture(scope="module")
def folded_once(browser, folded_page: Path) -> Iterator["object"]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, has_touch=True)
    opened = context.new_page()
    opened.complaints = []
    opened.on("request", lambda each: opened.complaints.append(each.url))
    opened.on("console", lambda each: _note(opened, each.text))
    opened.on("pageerror", lambda each: opened.complaints.append(str(each)))
    opened.goto(folded_page.as_uri())
    for stage in opened.locator(".stage").all():
        stage.scroll_into_view_if_needed()
    opened.wait_for_function(
        "() => document.querySelectorAll('figure.structure canvas').length === 3"
    )
    yield opened
    assert opened.complaints == [folded_page.as_uri()], "nothing is fetched, nothing complains"
    context.close()


@pytest.fixture
def folded(folded_once) -> "object":
    """The page, its first structure in view, from the front and not chosen."""
    folded_once.locator(".stage").first.scroll_into_view_if_needed()
    folded_once.locator("[data-do=reset]").first.click()
    folded_once.evaluate("document.activeElement.blur()")
    return folded_once


def _note(page, complaint: str) -> None:
    if "GPU stall" not in complaint:  # these tests read pixels; the page never does
        page.complaints.append(complaint)


def picture(page, number: int = 0) -> str:
    """The pixels of a structure, once pending frames are drawn."""
    return page.evaluate(
        """async (number) => {
            for (const _ of [1, 2]) await new Promise((done) => requestAnimationFrame(done));
            return document.querySelectorAll("figure.structure canvas")[number].toDataURL();
        }""",
        number,
    )


def colours(page, number: int = 0) -> set[tuple[int, int, int]]:
    """Hues that fill at least 20 pixels of a structure: red, green and blue, the largest as 255."""
    found = page.evaluate(
        """(number) => {
            const canvas = document.querySelectorAll("figure.structure canvas")[number];
            const copy = document.createElement("canvas");
            [copy.width, copy.height] = [canvas.width, canvas.height];
            const pen = copy.getContext("2d");
            pen.drawImage(canvas, 0, 0);
            const { data } = pen.getImageData(0, 0, copy.width, copy.height);
            const counts = {};
            for (let k = 0; k < data.length; k += 4) {
                const parts = Array.from(data.slice(k, k + 3));
                const most = Math.max(...parts);
                if (data[k + 3] < 255 || most - Math.min(...parts) < 60) continue;
                const name = parts.map((part) => Math.round(15 * part / most) * 17).join(" ");
                counts[name] = (counts[name] || 0) + 1;
            }
            return Object.keys(counts).filter((name) => counts[name] >= 20);
        }""",
        number,
    )
    return {tuple(map(int, each.split())) for each in found}


def drag(page, right: int, down: int) -> None:
    box = page.locator("figure.structure canvas").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + right, y + down, steps=4)
    page.mouse.up()


def test_dragging_turns_a_structure_and_reset_turns_it_back(folded) -> None:
    front, other = picture(folded), picture(folded, 1)
    drag(folded, 90, 0)
    turned = picture(folded)
    assert turned != front and picture(folded, 1) == other
    drag(folded, 0, 60)
    assert picture(folded) not in (front, turned)
    folded.get_by_role("button", name="Show design_000000 from the front").click()
    assert picture(folded) == front


def test_wheel_scrolls_the_page_until_a_structure_is_chosen(folded) -> None:
    stage, front = folded.locator(".stage").first, picture(folded)
    box, before = stage.bounding_box(), folded.evaluate("window.scrollY")
    folded.mouse.move(box["x"] + 5, box["y"] + box["height"] / 2)
    stage.focus()
    folded.mouse.wheel(0, -120)
    folded.wait_for_function(
        "(front) => document.querySelector('.stage canvas').toDataURL() !== front", arg=front
    )
    assert folded.evaluate("window.scrollY") == before
    folded.keyboard.press("Home")
    stage.blur()
    folded.mouse.wheel(0, 120)
    folded.wait_for_function("(before) => window.scrollY !== before", arg=before)
    assert picture(folded) == front


def test_keys_turn_zoom_and_reset(folded) -> None:
    stage = folded.locator(".stage").first
    stage.focus()
    front = picture(folded)
    seen = [front]
    for key in ("ArrowRight", "ArrowUp", "+", "Shift+ArrowLeft"):
        folded.keyboard.press(key)
        seen.append(picture(folded))
    assert len(set(seen)) == 5
    folded.keyboard.press("Home")
    assert picture(folded) == front
    folded.keyboard.press("Tab")
    name = folded.evaluate("document.activeElement.getAttribute('aria-label')")
    assert name == "Zoom in on design_000000"
    assert stage.get_attribute("aria-label").startswith("Structure of design_000000, 40 residues")


def test_touch_scrolls_until_a_structure_is_chosen_and_then_turns(folded) -> None:
    front, stage = picture(folded), folded.locator(".stage").first
    session = folded.context.new_cdp_session(folded)

    def swipe() -> None:
        box = stage.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        for step in range(7):
            kind = ("touchStart", *["touchMove"] * 5, "touchEnd")[step]
            points = [] if kind == "touchEnd" else [{"x": x, "y": y - 12 * step}]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    before = folded.evaluate("window.scrollY")
    swipe()
    folded.wait_for_function("(before) => window.scrollY > before", arg=before)
    assert picture(folded) == front
    stage.tap()
    swipe()
    assert picture(folded) != front


def test_helices_are_recognised_and_residues_have_the_colour_of_their_band(folded) -> None:
    helical = folded.evaluate(
        """() => Array.from(document.querySelectorAll("figure.structure canvas"), (canvas) =>
                     canvas._3dmol_viewer.selectedAtoms({ ss: "h", atom: "CA" }).length)"""
    )
    assert helical[0] > 30 and helical[1:] == [0, 0]  # of the others the C-alphas alone are known
    hues = [(0, 102, 255), (102, 221, 255), (255, 221, 17)]  # very high, confident, low
    assert [[hue for hue in hues if hue in colours(folded, number)] for number in range(3)] == [
        [hue] for hue in hues
    ]


def test_pointer_tells_the_residue(folded) -> None:
    box = folded.locator(".stage").first.bounding_box()
    readout = folded.locator("figure.structure .readout").first
    folded.mouse.move(box["x"] + box["width"] / 2 - 1, box["y"] + box["height"] / 2)
    folded.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    folded.wait_for_function(
        "() => document.querySelector('.readout').textContent.startsWith('Residue ')"
    )
    assert "pLDDT 94.0, very high" in readout.inner_text()
    folded.mouse.move(box["x"] + 2, box["y"] + 4)
    folded.wait_for_function(
        "() => document.querySelector('.readout').textContent === 'Coloured by pLDDT'"
    )


def test_rejected_designs_can_be_found(folded) -> None:
    folded.get_by_text("Which filter rejected which design").click()
    table = folded.locator("table.rejected tbody tr:visible")
    assert table.count() == 9
    find = folded.get_by_role("region", name="What the filters rejected").get_by_label(
        "Find a design"
    )
    find.fill("00011")
    assert table.count() == 1 and "design_000011" in table.first.inner_text()
    assert folded.get_by_text("1 of 9").is_visible()
    find.fill("")
    assert table.count() == 9


def test_printing_draws_every_structure(browser, folded_page: Path) -> None:
    opened = browser.new_page(viewport={"width": 400, "height": 200})
    opened.goto(folded_page.as_uri())
    assert opened.locator(".stage canvas").count() == 0, "none is near the screen"
    opened.pdf()
    assert opened.locator(".stage canvas").count() == 3
    assert not opened.locator(".no-picture").first.is_visible()
    opened.close()


def test_without_scripts_or_webgl_a_sentence_stands_in(browser, folded_page: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(folded_page.as_uri())
    sentences = opened.locator(".no-picture")
    assert sentences.count() == 3 and sentences.first.is_visible()
    assert "pdb/0.pdb" in sentences.first.inner_text()
    assert not opened.get_by_role("button", name="Zoom in").first.is_visible()
    context.close()
    flags = [
        *(each for each in FLAGS if "swiftshader" not in each),
        "--disable-software-rasterizer",
    ]
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    without = browser.browser_type.launch(executable_path=path, args=flags)
    opened = without.new_page()
    opened.goto(folded_page.as_uri())
    opened.locator(".stage").first.scroll_into_view_if_needed()
    opened.wait_for_timeout(200)  # it would be drawn now
    assert opened.locator(".no-picture").first.is_visible()
    assert not opened.locator(".controls").first.is_visible()
    without.close()


def test_structures_fit_a_phone(browser, folded_page: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    opened = context.new_page()
    opened.goto(folded_page.as_uri())
    opened.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    box = opened.locator(".stage").first.bounding_box()
    assert box["width"] > 250 and box["height"] > 200
    opened.locator(".stage").first.scroll_into_view_if_needed()
    opened.locator(".controls").first.wait_for()
    for button in opened.locator(".controls button").all()[:3]:
        assert min(button.bounding_box()["width"], button.bounding_box()["height"]) >= 32
    context.close()


@pytest.mark.parametrize("screen", SCREENS)
def test_a_family_fits_the_screen(browser, tmp_path: Path, screen: str) -> None:
    """Images of densities and contacts among the plots, all within the page's policy."""
    pytest.importorskip("pyhmmer")
    scored = scored_designs(tmp_path, steps=8, coupled=0.5)
    written = write_report([scored.out], tmp_path / "r.html").out
    width, height = SCREENS[screen]
    opened, complaints = browser.new_page(viewport={"width": width, "height": height}), []
    opened.on("console", lambda each: complaints.append(each.text))
    opened.goto(written.as_uri())
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    found = opened.evaluate(
        """() => ["text", "image"].map((kind) =>
            Array.from(document.querySelectorAll("#families figure svg " + kind))
                 .map((each) => each.getBoundingClientRect().height))"""
    )
    assert len(found[0]) > 20 and min(found[0]) >= 9
    assert len(found[1]) == 4 and min(found[1]) > 60
    opened.get_by_role("link", name="The family").click()
    assert opened.get_by_role("heading", name="The family, counted").is_visible()
    assert complaints == []
    opened.close()
