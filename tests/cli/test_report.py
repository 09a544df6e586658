"""The demo's report: pictures and page from an invented year, and the whole of it from a real store, empty and filled."""

import functools
import io
import struct
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from cli.demo import plots, report
from pipelines.release.ledger import Ledger
from stacks.outputs import StackOutputs
from tests.cli import releases, year

LINKS = {"Dagster": "http://127.0.0.1:21300", "MLflow": "http://127.0.0.1:21301", "gateway": "http://127.0.0.1:21302"}
EVIL = "<script>alert('x')</script>\"'&"


class Page(HTMLParser):
    """What a browser would fetch or follow, every tag, and the text that a reader sees."""

    def __init__(self, body: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(body)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "href" and tag == "a":
                self.links.append(str(value))
            elif name in {"src", "href", "srcset", "data", "action", "background", "style"}:
                self.fetched.append(str(value))

    def handle_data(self, data: str) -> None:
        if self.lasttag != "style":
            self.text += f"{data} "


@functools.cache
def drawn() -> list[report.Picture]:
    return report.pictures(year.records(), year.losses(), year.events())


def page(**other: Any) -> str:
    values: dict[str, Any] = {
        "months": year.months(),
        "records": year.records(),
        "beats": year.beats(),
        "sent": 48213,
        "failed": 0,
        "latency": {"p50": 3.44, "p99": 18.26},
        "pictures": drawn(),
        "card": "# a model\n\nAUC 0.702",
        "links": LINKS,
    }
    return report.render(**(values | other))


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n"), "not a PNG"
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def shades(png: bytes) -> set[tuple[int, int, int]]:
    """The colours that cover more than a hair of a picture."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        found = image.convert("RGB").getcolors(1 << 20) or []
    return {shade for count, shade in found if count > 60 and isinstance(shade, tuple)}  # type: ignore[misc]  # pillow types every mode at once


def rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def test_every_picture_is_a_png_wide_enough_for_a_sharp_screen() -> None:
    for picture in drawn():
        assert picture.png is not None
        width, height = size(picture.png)
        assert width == 1440
        assert 250 < height < 700
        assert len(picture.png) < 150_000, "three of them must not make the page heavy"


def test_a_release_has_one_colour_in_every_picture_and_each_another() -> None:
    paint = plots.colours(year.IDS)
    assert len(set(paint.values())) == len(year.IDS)
    loss, traffic, _ = (picture.png or b"" for picture in drawn())
    wanted = {rgb(paint[release]) for release in year.IDS[:4]}
    assert wanted <= shades(loss), "r0005 has no outcomes"
    assert wanted | {rgb(paint[year.IDS[4]])} <= shades(traffic)


def test_a_reclaim_and_a_rollback_are_drawn_in_the_alarm_colour() -> None:
    _, calm, _ = report.pictures(year.records()[:10], year.losses(), year.events())
    assert rgb(plots.ALARM) not in shades(calm.png or b""), "nothing was rolled back by then"
    _, traffic, training = drawn()
    assert rgb(plots.ALARM) in shades(traffic.png or b"")
    assert {rgb(plots.ALARM), *map(rgb, plots.PLACEMENTS)} <= shades(training.png or b"")


@pytest.mark.parametrize(("segments", "killed_after"), [(50, 45), (1, 5), (3, 0)])
def test_a_training_of_any_length_is_drawn(segments: int, killed_after: int) -> None:
    assert size(plots.training(year.events(segments, killed_after)))[0] == 1440


def test_what_has_only_begun_is_drawn() -> None:
    [only] = year.losses()[:1]
    assert size(plots.served_loss([only], plots.colours(year.IDS)))[0] == 1440
    assert size(plots.traffic([(3.0, {year.IDS[0]: 100})], plots.colours(year.IDS), []))[0] == 1440


def test_more_releases_than_colours_are_drawn_all_the_same() -> None:
    names = [f"r{number:04}-{number:08x}" for number in range(1, 15)]
    shares = [(float(number), {name: 100}) for number, name in enumerate(names)]
    assert size(plots.traffic(shares, plots.colours(names), []))[0] == 1440


def test_who_answers_follows_the_ledger_through_canaries_and_rollbacks() -> None:
    first, second, third, bad, last = year.IDS
    shares = report.answering(year.records())
    assert shares[0] == (3.4, {first: 100}), "before it nobody answered"
    assert all(sum(share.values()) == 100 for _, share in shares)
    at = dict(shares)
    assert at[65.0] == {first: 75, second: 25}
    assert at[219.0] == {third: 95, bad: 5}
    assert at[226.0] == {third: 100}, "the canary's callers went back"
    assert at[286.0] == {last: 100}
    assert at[301.0] == {third: 100}, "what was restored serves again"


def test_the_page_fetches_nothing_and_links_only_to_the_uis() -> None:
    found = Page(page())
    assert len(found.fetched) == 3
    assert all(url.startswith("data:image/png;base64,") for url in found.fetched)
    assert found.links == list(LINKS.values())
    assert not found.tags & {"script", "link", "iframe", "object", "embed", "base"}
    for word in ("url(", "@import"):
        assert word not in page(), "a style sheet can fetch, too"


def test_the_page_shows_the_months_the_ledger_and_the_story() -> None:
    text = " ".join(Page(page()).text.split())
    for word in ("48,213 live requests", "0 failed", "3.4 ms", "18.3 ms", "5 releases", "2013-07 5,952 0 data drift with loss"):
        assert word in text
    assert f"{year.BAD} rolled back release controller loss on live labels is worse" in text
    assert f"complaints from JFK ( {year.IDS[2]} serves again)" in text
    assert f"{year.IDS[1]} canary 25 % release controller" in text
    assert "58.0 4 spot market the node is reclaimed: SIGKILL" in text, "console markup is no part of the story"
    assert "AUC 0.702" in text


def test_everything_that_the_page_shows_is_escaped() -> None:
    from cli.demo.scene import Beat

    row = year.months()[0] | {"cause": EVIL, "action": EVIL, "production": EVIL, "month": EVIL}
    records = [record.model_copy(update={"who": EVIL, "why": EVIL, "release": EVIL}) for record in year.records()[:3]]
    body = page(months=[row], records=records, beats=[Beat(1.0, 1, EVIL, EVIL)], card=EVIL, links={EVIL: EVIL})
    found = Page(body)
    assert "script" not in found.tags
    assert body.count("<script") == 0
    assert found.text.count(EVIL) == 4 + 3 * 3 + 2 + 1 + 1, "escaped, and shown whole"


def test_a_failed_request_is_not_shown_as_a_good_one() -> None:
    assert '<b class="good">0</b>failed' in page()
    assert '<b class="bad">3</b>failed' in page(failed=3)


def test_a_value_that_is_missing_is_an_error_not_a_gap() -> None:
    import jinja2

    with pytest.raises(jinja2.UndefinedError, match="failed"):
        page(months=[{"month": "2013-04", "requests": 1}])


def test_a_page_of_nothing_says_so() -> None:
    body = page(months=[], records=[], beats=[], sent=0, latency={}, pictures=report.pictures([], [], []), card="")
    found = Page(body)
    assert found.fetched == []
    for word in (
        "No month has gone by yet.",
        "No outcome of an answer is known yet.",
        "No release has answered callers yet.",
        "No training was reclaimed.",
        "The ledger is empty.",
    ):
        assert word in found.text


def test_latency_is_in_percentiles_and_none_without_requests() -> None:
    assert report.latency([]) == {}
    assert report.latency([float(ms) for ms in range(101)]) == {"p50": 50.0, "p99": 99.0}


def test_a_demo_that_ends_early_still_writes_its_report(outputs: StackOutputs, ledger: Ledger, tmp_path: Path) -> None:
    """Releases, but no request, no table, no training."""
    identity = releases.make(ledger, 1, releases.FIRST_WAY)
    target = tmp_path / "not" / "there" / "report.html"
    assert report.write(_scene(outputs), target) == target
    text = Page(target.read_text(encoding="utf-8")).text
    assert identity in text
    assert "No outcome of an answer is known yet." in text
    assert [path.name for path in target.parent.iterdir()] == ["report.html"], "nothing but the whole report is left"


def test_losses_are_a_month_and_release_of_live_answers_with_an_outcome(outputs: StackOutputs) -> None:
    import polars as pl

    from pipelines.data.labels import append_labels

    scene = _scene(outputs)
    start = datetime(2013, 4, 1, 12, tzinfo=UTC)
    rows = [
        # who, arm, first day, answers, prediction: every outcome is 1
        ("r0001-aa", "live", 0, 60, 0.5),
        ("r0002-bb", "live", 30, 60, 0.9),
        ("r0002-bb", "shadow", 0, 60, 0.1),
        ("r0003-cc", "live", 60, 49, 0.5),
    ]
    predictions = [
        {
            "request_id": f"{release}-{arm}-{number}",
            "release": release,
            "arm": arm,
            "event_time": start + timedelta(days=day, minutes=number),
            "prediction": prediction,
        }
        for release, arm, day, count, prediction in rows
        for number in range(count)
    ]
    frame = pl.DataFrame(predictions).with_columns(pl.col("event_time").dt.cast_time_unit("us"))
    scene.tables.append("predictions", frame)
    assert report.served(scene) == [], "no outcome is known"
    known = pl.lit(start).cast(pl.Datetime("us", "UTC")).alias("known_at")
    append_labels(scene.tables, frame.select("request_id", pl.lit(1.0).alias("label"), known))
    found = report.served(scene)
    assert [(row["month"], row["release"], row["rows"]) for row in found] == [
        ("2013-04", "r0001-aa", 60),
        ("2013-05", "r0002-bb", 60),
    ], "neither copies in shadow nor a handful of answers"
    assert found[0]["loss"] == pytest.approx(float(scene.model.loss(_one(1.0), _one(0.5))[0]))


def _one(value: float) -> Any:
    import numpy as np

    return np.array([value], dtype=np.float32)


def _scene(outputs: StackOutputs) -> Any:
    from rich.console import Console

    from cli.demo.scene import Scene

    return Scene(Console(file=io.StringIO()), outputs, 0.0)
