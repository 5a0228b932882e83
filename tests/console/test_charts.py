import re
from xml.etree import ElementTree as ET

from console import charts, histograms
from console.charts import Line, Point
from console.histograms import Bin, Cut

CURVE = Line("test", (Point(20, 0.52, "first"), Point(32, 0.61), Point(44, 0.68)))


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def heights(svg: str) -> list[float]:
    points = re.search(r'points="([^"]+)"', svg)
    assert points
    return [float(pair.split(",")[1]) for pair in points[1].split()]


def test_a_bar_is_as_long_as_its_share():
    svg = charts.bar(0.25, title="IoU")

    assert [one.get("width") for one in parsed(svg)] == ["100", "25.0"]


def test_a_missing_value_draws_an_empty_bar():
    assert [one.get("width") for one in parsed(charts.bar(None, title="IoU"))] == ["100", "0.0"]


def test_a_falling_loss_falls_in_the_drawing():
    drawn = heights(charts.sparkline([(0, 1.2), (50, 0.6), (100, 0.3)], title="loss"))

    assert drawn == sorted(drawn)  # y runs downwards


def test_a_flat_loss_is_drawn_in_the_middle():
    assert heights(charts.sparkline([(0, 0.5), (9, 0.5)], title="loss")) == [22.0, 22.0]


def test_one_point_is_no_curve():
    assert charts.sparkline([(0, 1.2)], title="loss") == ""


def test_a_line_chart_marks_every_point_and_names_every_line():
    svg = charts.line_chart([CURVE, Line("validation", (Point(20, 0.5),))], title="curve", x_label="labels")

    words = [one.text for one in parsed(svg).iter("text")]
    assert svg.count("<circle") == 3
    assert svg.count("<polygon") == 1
    assert {"test", "validation", "labels", "20", "32", "44"} <= set(words)


def test_its_axis_reaches_the_tens_around_the_values():
    svg = charts.line_chart([CURVE], title="curve", x_label="labels")

    assert [one.text for one in parsed(svg).iter("text") if "%" in (one.text or "")] == ["50 %", "60 %", "70 %"]


def test_a_higher_value_lies_higher():
    drawn = heights(charts.line_chart([CURVE], title="curve", x_label="labels"))

    assert drawn == sorted(drawn, reverse=True)


def test_names_of_lines_that_end_together_do_not_overlap():
    twins = [Line(name, (Point(20, 0.6),)) for name in ("test", "validation")]

    svg = charts.line_chart(twins, title="curve", x_label="labels")

    (first,), (second,) = (group.findall("text") for group in parsed(svg).iter("g"))
    assert abs(float(first.get("y")) - float(second.get("y"))) >= 12


def test_numbers_on_the_axis_keep_apart():
    near = Line("test", (Point(20, 0.5), Point(21, 0.5), Point(400, 0.6)))

    svg = charts.line_chart([near], title="curve", x_label="labels")

    words = [one.text for one in parsed(svg).iter("text")]
    assert "21" not in words
    assert "400" in words


def test_equal_values_still_span_an_axis():
    svg = charts.line_chart([Line("test", (Point(20, 1.0),))], title="curve", x_label="labels")

    assert "90 %" in svg
    assert "100 %" in svg


def test_without_points_there_is_no_chart():
    assert charts.line_chart([Line("test", ())], title="curve", x_label="labels") == ""


def test_names_and_titles_are_escaped():
    line = Line("<b>", (Point(1, 0.5, 'a "title"'),))

    svg = charts.line_chart([line], title='"><script>', x_label="<i>")

    assert "<script" not in svg
    assert "<b>" not in svg
    assert "<i>" not in svg
    assert parsed(svg).get("aria-label") == '"><script>'


BINS = [Bin(0.4, 0.5, 0, 30), Bin(0.5, 0.6, 10, 20), Bin(0.6, 0.7, 40, 0)]


def drawn(svg: str, kind: str) -> list[float]:
    return [float(one.get("height")) for one in parsed(svg).iter("rect") if one.get("class") == kind]


def test_a_histogram_stacks_what_was_refused_on_what_was_accepted():
    svg = histograms.histogram(BINS, [], title="scores", told="", x_label="score")

    (low, high), (mixed, full) = sorted(drawn(svg, "refused")), drawn(svg, "accepted")
    assert abs(full - 4 * mixed) < 0.5
    assert abs(low - 2 * mixed) < 0.5
    assert abs(high - 3 * mixed) < 0.5
    assert "0.5 to 0.6: 10 accepted, 20 refused" in svg


def test_a_histogram_names_its_cut_and_draws_it_at_its_value():
    svg = histograms.histogram(BINS, [Cut(0.55, "cut: score 0.550")], title="scores", told="the cut", x_label="score")

    (line,) = (one for one in parsed(svg).iter("line") if one.get("class") == "cut")
    words = {one.text: float(one.get("x")) for one in parsed(svg).iter("text")}
    assert abs(float(line.get("x1")) - (words["0.5"] + words["0.6"]) / 2) < 0.2
    assert "cut: score 0.550" in words
    assert parsed(svg).find("desc").text == "the cut"


def test_cuts_by_class_carry_their_colours_and_the_range_is_said():
    cuts = [Cut(0.45, "pit: cut 0.450", "#0000ff"), Cut(0.62, "scratch: cut 0.620", "#ff0000")]

    svg = histograms.histogram(BINS, cuts, title="scores", told="", x_label="score")

    assert "cuts 0.450 to 0.620" in svg
    assert [one.get("style") for one in parsed(svg).iter("circle")] == ["fill: #0000ff", "fill: #ff0000"]
    assert "pit: cut 0.450" in svg


def test_a_small_histogram_is_two_areas_and_a_cut():
    svg = parsed(histograms.small_histogram(BINS, 0.55, title="scores"))

    assert [one.get("class") for one in svg] == ["accepted", "refused", "cut"]
    assert [one.get("d").count("M") for one in svg if one.get("d")] == [2, 2]


def test_without_scores_there_is_no_histogram():
    assert histograms.histogram([], [], title="scores", told="", x_label="score") == ""
    assert histograms.small_histogram([Bin(0, 1, 0, 0)], None, title="scores") == ""
