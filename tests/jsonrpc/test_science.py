"""The types of data scientists as parameters and results: NumPy, pandas, Polars, Pillow and matplotlib themselves."""

# ruff: noqa: E402 (imports come after the look whether the packages are there)
from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest

WHY = "the real package is needed: pip install -r requirements-dev.lock"
np = pytest.importorskip("numpy", reason=WHY)
pd = pytest.importorskip("pandas", reason=WHY)
pl = pytest.importorskip("polars", reason=WHY)
matplotlib = pytest.importorskip("matplotlib", reason=WHY)
pytest.importorskip("PIL", reason=WHY)
matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from polars.testing import assert_frame_equal

from demijohn import Flask
from demijohn.jsonrpc import JSONRPC, InvalidParamsError, Orient
from demijohn.jsonrpc.encoding import Unserializable, encode
from demijohn.jsonrpc.openrpc import document
from demijohn.jsonrpc.registry import Method, WrongResult


def taking(hint: Any) -> Method:
    def function(x: Any) -> Any:
        return x

    function.__annotations__ = {"x": hint, "return": hint}
    return Method("m", function)


def read(hint: Any, value: Any) -> Any:
    ((got,), _) = taking(hint).bind([value])
    return got


def refusal(hint: Any, value: Any) -> str:
    with pytest.raises(InvalidParamsError) as caught:
        taking(hint).bind({"x": value})
    return str(caught.value.data["message"])


def said(value: Any) -> Any:
    return json.loads(encode(value))


def schema_of(hint: Any) -> Any:
    (method,) = document([taking(hint)], "t", "1", "/")["methods"]
    return method["params"][0]["schema"]


# -- NumPy ------------------------------------------------------------------------------------------

ARRAYS: list[tuple[Any, Any, Any]] = [
    (np.ndarray, [1, 2], np.array([1, 2])),
    (np.ndarray, [[1, 2.5], [None, 3]], np.array([[1, 2.5], [np.nan, 3]])),
    (np.ndarray, ["a", "b"], np.array(["a", "b"])),
    (np.ndarray, [1, "a"], np.array([1, "a"], object)),
    (np.ndarray, [], np.array([])),
    (npt.ArrayLike, [[1], [2]], np.array([[1], [2]])),
    (npt.NDArray[np.float64], [1, None], np.array([1, np.nan])),
    (npt.NDArray[np.float32], [[[0.5]]], np.array([[[0.5]]], "f4")),
    (npt.NDArray[np.uint8], [0, 255], np.array([0, 255], "u1")),
    (npt.NDArray[np.bool_], [True, False], np.array([True, False])),
    (npt.NDArray[np.str_], ["é"], np.array(["é"])),
    (npt.NDArray[np.datetime64], ["2026-01-31", None], np.array(["2026-01-31", "NaT"], "M8[D]")),
    (npt.NDArray[Any], [1], np.array([1])),
    (np.ndarray[tuple[int, int], np.dtype[np.float64]], [[1], [2]], np.array([[1.0], [2.0]])),
    (np.float32, 1.5, np.float32(1.5)),
    (np.int8, -128, np.int8(-128)),
    (np.bool_, True, np.True_),
    (np.str_, "a", np.str_("a")),
    (np.datetime64, "2026-01-31", np.datetime64("2026-01-31")),
]


@pytest.mark.parametrize(("hint", "value", "expected"), ARRAYS, ids=str)
def test_lists_become_arrays_of_the_type_that_the_hint_names(hint: Any, value: Any, expected: Any) -> None:
    got = read(hint, value)
    assert type(got) is type(expected)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("hint", "value", "expected"), ARRAYS, ids=str)
def test_an_array_comes_back_as_it_was_sent(hint: Any, value: Any, expected: Any) -> None:
    assert said(taking(hint).check(read(hint, value))) == value


@pytest.mark.parametrize(
    ("hint", "value", "sentence"),
    [
        (npt.NDArray[np.float64], [[1, "x"]], 'params.x[0][1]: expected a number or null, got "x"'),
        (npt.NDArray[np.float64], 3, "params.x: expected an array, got 3"),
        (npt.NDArray[np.int64], [1, None], "params.x[1]: expected an integer, got null"),
        (npt.NDArray[np.uint8], [256], "params.x: expected numbers that fit uint8, got [256]"),
        (np.ndarray, [[1], [1, 2]], "params.x: expected rows of one length, got [[1],[1,2]]"),
        (np.ndarray[tuple[int, int], np.dtype[np.int64]], [1], "params.x[0]: expected an array, got 1"),
        (np.int8, 300, "params.x: expected a number that fits int8, got 300"),
        (np.float64, "x", 'params.x: expected a number, got "x"'),
    ],
    ids=str,
)
def test_what_is_no_such_array_is_refused_with_its_place(hint: Any, value: Any, sentence: str) -> None:
    assert refusal(hint, value) == sentence


@pytest.mark.parametrize("hint", [npt.NDArray[np.complex128], np.complex64, np.void], ids=str)
def test_a_hint_that_no_json_can_become_is_refused_at_registration(hint: Any) -> None:
    with pytest.raises(TypeError, match="no JSON value can become"):
        taking(hint)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.array([[1, np.nan], [np.inf, 2]]), [[1, None], [None, 2]]),
        (np.arange(4).reshape(2, 2).T, [[0, 2], [1, 3]]),
        (np.array(["2026-01-31", "NaT"], "M8[D]"), ["2026-01-31", None]),
        (np.datetime64("NaT"), None),
        (np.timedelta64("NaT"), None),
        (np.ma.array([1, 2], mask=[False, True]), [1, None]),
        (np.array([(1, 2.5)], [("x", int), ("y", float)]), [{"x": 1, "y": 2.5}]),
        (np.array([1.5], "f2"), [1.5]),
        (np.array([1.5], np.longdouble), [1.5]),
        (np.array(3), 3),
        ({np.int64(1): np.float32(0.5), np.str_("a"): np.True_}, {"1": 0.5, "a": True}),
        ([np.array([1]), np.float64("nan"), 2**70], [[1], None, 2**70]),
    ],
    ids=str,
)
def test_what_numpy_holds_is_said_in_json(value: Any, expected: Any) -> None:
    assert said(value) == expected


def test_complex_numbers_are_refused_with_a_sentence() -> None:
    with pytest.raises(Unserializable, match="complex has no form in JSON"):
        encode(np.array([1j]))


def test_the_schema_of_an_array_tells_its_items() -> None:
    assert schema_of(np.ndarray) == {"type": "array"}
    assert schema_of(np.ndarray[tuple[int, int], np.dtype[np.int64]]) == {
        "type": "array",
        "items": {"type": "array", "items": {"type": "integer"}},
    }
    assert schema_of(np.uint8) == {"type": "integer", "minimum": 0, "maximum": 255}


def test_a_result_hint_of_numpy_takes_pythons_own_numbers() -> None:
    assert taking(np.float64).check(1.5) == 1.5
    assert taking(float).check(np.float64(1.5)) == 1.5
    assert taking(int).check(np.int64(1)) == 1
    with pytest.raises(WrongResult):
        taking(np.float64).check("x")
    with pytest.raises(WrongResult):
        taking(np.ndarray).check(3)


# -- data frames ------------------------------------------------------------------------------------

FORMS = [
    [{"name": "a", "price": 1.5}, {"name": None, "price": None}],
    {"name": ["a", None], "price": [1.5, None]},
    {"columns": ["name", "price"], "data": [["a", 1.5], [None, None]]},
]


@pytest.mark.parametrize("form", FORMS, ids=["records", "columns", "split"])
def test_a_frame_is_read_in_three_forms_with_null_as_missing(form: Any) -> None:
    expected = {"name": ["a", None], "price": [1.5, None]}
    pd.testing.assert_frame_equal(read(pd.DataFrame, form), pd.DataFrame(expected))
    assert_frame_equal(read(pl.DataFrame, form), pl.DataFrame(expected))
    assert_frame_equal(read(pl.LazyFrame, form).collect(), pl.DataFrame(expected))


@pytest.mark.parametrize(("orient", "form"), [*zip(["records", "columns", "split"], FORMS, strict=True)])
@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_a_frame_is_written_in_the_form_that_the_hint_asks_for(orient: str, form: Any, frame: Any) -> None:
    method = taking(Annotated[frame, Orient(orient)])
    assert said(method.check(frame({"name": ["a", None], "price": [1.5, None]}))) == form


def test_a_frame_is_written_as_records_unless_told_otherwise() -> None:
    assert said(pd.DataFrame({"a": [1, 2]})) == said(pl.DataFrame({"a": [1, 2]})) == [{"a": 1}, {"a": 2}]
    assert said({"inside": [pd.DataFrame({"a": [1]}), pl.LazyFrame({"a": [1]})]}) == {
        "inside": [[{"a": 1}], [{"a": 1}]]
    }


def test_a_parameter_with_an_orientation_takes_that_form_alone() -> None:
    hint = Annotated[pd.DataFrame, Orient.COLUMNS]
    assert read(hint, {"columns": ["a"], "data": [1]}).columns.tolist() == ["columns", "data"]
    assert refusal(hint, [{"a": 1}]) == 'params.x: expected an object, got [{"a":1}]'
    assert schema_of(hint) == {"type": "object", "additionalProperties": {"type": "array"}}


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (3, "params.x: expected an array or an object, got 3"),
        ([3], "params.x[0]: expected an object, got 3"),
        ({"a": 3}, "params.x.a: expected an array, got 3"),
        ({"a": [1], "b": [1, 2]}, 'params.x: expected columns of one length, not a: 1, b: 2, got {"a":[1],"b":[1,2]}'),
        (
            {"columns": ["a"], "data": [[1], [2, 3]]},
            'params.x: expected 1 values in each row, not 2 in row 1, got {"columns":["a"],"data":[[1],[2,3]]}',
        ),
        (
            {"columns": ["a", "a"], "data": []},
            'params.x: expected columns of different names, got {"columns":["a","a"],"data":[]}',
        ),
    ],
    ids=str,
)
def test_what_is_no_frame_is_refused_with_its_place(frame: Any, value: Any, sentence: str) -> None:
    assert refusal(frame, value) == sentence


def test_polars_refuses_a_column_of_several_types() -> None:
    assert read(pl.DataFrame, {"a": [1, 2.5]})["a"].to_list() == [1.0, 2.5]
    assert refusal(pl.DataFrame, {"a": [1, "x"]}).startswith("params.x: expected values of one type in the column 'a'")


def test_a_column_of_any_type_is_said_in_json() -> None:
    frame = pd.DataFrame(
        {
            "when": pd.to_datetime(["2026-01-31 12:00", None]),
            "zoned": pd.to_datetime(["2026-01-31 12:00+01:00", None]),
            "long": pd.to_timedelta([90, None], unit="s"),
            "kind": pd.Categorical(["a", None]),
            "whole": pd.array([1, None], dtype="Int64"),
            "mixed": [{"x": float("nan")}, [pd.NA]],
            "true": [True, False],
            "number": [np.inf, np.nan],
            "month": pd.PeriodIndex(["2026-01", "NaT"], freq="M"),
        }
    )
    first, second = said(frame)
    assert first == {
        "when": "2026-01-31T12:00:00",
        "zoned": "2026-01-31T12:00:00+01:00",
        "long": "P0DT0H1M30S",
        "kind": "a",
        "whole": 1,
        "mixed": {"x": None},
        "true": True,
        "number": None,
        "month": "2026-01",
    }
    assert second == dict.fromkeys(frame.columns) | {"mixed": [None], "true": False}


def test_an_index_that_means_something_is_kept_and_a_numbered_one_is_not() -> None:
    frame = pd.DataFrame({"kind": ["a", "b", "a"], "n": [1, 2, 3]})
    assert said(frame[frame.n > 1]) == [{"kind": "b", "n": 2}, {"kind": "a", "n": 3}]
    assert said(frame.groupby("kind").sum()) == [{"kind": "a", "n": 4}, {"kind": "b", "n": 2}]
    assert said(frame.groupby("kind").n.sum()) == {"a": 4, "b": 2}
    assert said(pd.DataFrame({"n": [1]}, index=["mean"])) == [{"index": "mean", "n": 1}]
    assert said(frame.n) == [1, 2, 3]


def test_what_would_be_lost_in_an_object_is_refused() -> None:
    twice = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(Unserializable, match="columns of one name"):
        encode(twice)
    assert said(taking(Annotated[pd.DataFrame, Orient.SPLIT]).check(twice)) == {"columns": ["a", "a"], "data": [[1, 2]]}
    with pytest.raises(Unserializable, match="index has a value twice"):
        encode(pd.Series([1, 2], index=["a", "a"]))


def test_series_and_single_values_go_both_ways() -> None:
    pd.testing.assert_series_equal(read(pd.Series, [1, None]), pd.Series([1, None]))
    pd.testing.assert_series_equal(read(pd.Series, {"a": 1}), pd.Series({"a": 1}))
    assert read(pl.Series, [1, 2]).to_list() == [1, 2]
    assert read(pd.Timestamp, "2026-01-31") == pd.Timestamp("2026-01-31")
    assert read(pd.Index, [1, 2]).tolist() == [1, 2]
    assert said([pd.NaT, pd.NA, pd.Timestamp("2026-01-31"), pl.Series([1, None]), pd.Index(["a"])]) == [
        None,
        None,
        "2026-01-31T00:00:00",
        [1, None],
        ["a"],
    ]


def test_classes_that_derive_from_a_frame_or_an_array_are_read_and_written_as_it_is() -> None:
    class Sales(pd.DataFrame):  # type: ignore[name-defined,misc]
        pass

    class Vector(np.ndarray):  # type: ignore[name-defined,misc,type-arg]
        pass

    assert type(read(Sales, [{"a": 1}])) is Sales
    assert type(read(Vector, [1, 2])) is Vector
    assert said([read(Sales, {"a": [1]}), read(Vector, [1, 2])]) == [[{"a": 1}], [1, 2]]


# -- pictures ---------------------------------------------------------------------------------------


def picture_in(url: str) -> Image.Image:
    kind, _, content = url.partition(",")
    assert kind == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "F", "I"])
def test_an_image_of_any_mode_is_said_as_png(mode: str) -> None:
    assert picture_in(said(Image.new(mode, (3, 2)))).size == (3, 2)


def test_an_image_is_read_from_a_data_url_or_plain_base64() -> None:
    url = said(Image.new("RGB", (3, 2), "red"))
    for text in (url, url.partition(",")[2]):
        assert read(Image.Image, text).convert("RGB").getpixel((0, 0)) == (255, 0, 0)
    jpeg = io.BytesIO()
    Image.new("RGB", (5, 5)).save(jpeg, "JPEG")
    assert read(Image.Image, "data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode()).size == (5, 5)


def test_what_is_no_image_is_refused() -> None:
    url = said(Image.new("RGB", (30, 20)))
    cut = "data:image/png;base64," + base64.b64encode(base64.b64decode(url.partition(",")[2])[:45]).decode()
    for text in ("data:image/png;base64,AAAA", cut):
        assert refusal(Image.Image, text).startswith("params.x: expected an image (PNG, JPEG,")
    assert refusal(Image.Image, "%%") == 'params.x: expected an image as a data: URL in base64, got "%%"'
    assert refusal(Image.Image, 3) == "params.x: expected a string, got 3"


def test_a_figure_or_its_axes_are_said_as_png_and_pyplot_forgets_them() -> None:
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    assert picture_in(said(figure)).size == picture_in(said(axes)).size
    assert not plt.get_fignums()
    assert picture_in(said(Figure(figsize=(2, 1), dpi=50))).size == (100, 50)


@pytest.mark.parametrize("hint", [Figure, Axes])
def test_a_figure_can_be_a_result_and_no_parameter(hint: Any) -> None:
    with pytest.raises(TypeError, match="no JSON value can become"):
        taking(hint)

    def function() -> Any: ...

    function.__annotations__ = {"return": hint}
    (method,) = document([Method("m", function)], "t", "1", "/")["methods"]
    assert method["result"]["schema"] == {"type": "string", "format": "data-url", "contentMediaType": "image/png"}


# -- altogether -------------------------------------------------------------------------------------


@pytest.fixture
def call() -> Iterator[Callable[..., Any]]:
    app = Flask("lab")
    jsonrpc = JSONRPC(app, "/api")

    @jsonrpc.method("mean")
    def mean(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.groupby("kind").mean()

    @jsonrpc.method("split")
    def split(frame: pd.DataFrame) -> Annotated[pd.DataFrame, Orient.SPLIT]:
        return frame, 203  # type: ignore[return-value]

    client = app.test_client()

    def post(method: str, **params: Any) -> Any:
        response = client.post("/api", json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        return response.status_code, response.json

    return post


def test_a_method_takes_a_frame_and_answers_one(call: Callable[..., Any]) -> None:
    status, answer = call("mean", frame={"kind": ["a", "b", "a"], "price": [1, None, 3]})
    assert status == 200
    assert answer["result"] == [{"kind": "a", "price": 2.0}, {"kind": "b", "price": None}]
    assert call("split", frame=[{"a": 1}]) == (
        203,
        {"id": 1, "jsonrpc": "2.0", "result": {"columns": ["a"], "data": [[1]]}},
    )


NOTHING_IMPORTED = """
import sys
PACKAGES = {"numpy", "pandas", "polars", "PIL", "matplotlib", "pydantic", "attr", "annotated_types"}
from decimal import Decimal
from demijohn import Flask
from demijohn.jsonrpc import JSONRPC
app = Flask("x")
jsonrpc = JSONRPC(app, "/api", enable_web_browsable_api=True)
@jsonrpc.method("f")
def f(x: list[Decimal], y: object = None) -> list[object]:
    return [x, {3}, Decimal(1)]
answer = app.test_client().post("/api", json={"jsonrpc": "2.0", "id": 1, "method": "f", "params": [["1"]]})
assert answer.json["result"] == [["1"], [3], "1"], answer.json
assert app.test_client().get("/api/browse/openrpc.json").status_code == 200
class Ready:
    def __init__(self, a: int) -> None:
        self.a = a
    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> object:
        raise AssertionError("nobody uses pydantic here")
@jsonrpc.method("ready")
def ready(x: Ready) -> Ready:
    return x
answer = app.test_client().post("/api", json={"jsonrpc": "2.0", "id": 1, "method": "ready", "params": [{"a": 1}]})
assert answer.json["result"] == {"a": 1}, answer.json
print(sorted(PACKAGES & set(sys.modules)))
import numpy
before = PACKAGES & set(sys.modules)
@jsonrpc.method("g")
def g(x: numpy.ndarray) -> numpy.ndarray:
    return x * 2
answer = app.test_client().post("/api", json={"jsonrpc": "2.0", "id": 1, "method": "g", "params": [[1]]})
assert answer.json["result"] == [2], answer.json
print(sorted((PACKAGES & set(sys.modules)) - before))
"""


def test_nothing_is_imported_that_the_user_has_not_imported() -> None:
    done = subprocess.run([sys.executable, "-c", NOTHING_IMPORTED], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


# -- what is easily lost ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00"),
        ("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00"),
        ("2026-01-31T12:00:00.5-00:30", "2026-01-31T12:30:00.500"),
        ("2026-01-31", "2026-01-31"),
    ],
)
def test_dates_with_an_offset_are_read_as_those_of_utc(text: str, utc: str) -> None:
    assert read(np.datetime64, text) == np.datetime64(utc)
    assert read(npt.NDArray[np.datetime64], [text, None])[0] == np.datetime64(utc)


@pytest.mark.parametrize(
    ("hint", "value", "kind"),
    [
        (np.float32, 1e300, "a number that fits float32"),
        (np.float16, 70000, "a number that fits float16"),
        (npt.NDArray[np.float32], [1e300], "numbers that fit float32"),
        (np.ndarray, [10**400], "numbers that fit float64"),
    ],
    ids=str,
)
def test_a_number_that_would_be_infinite_is_refused(hint: Any, value: Any, kind: str) -> None:
    assert refusal(hint, value).startswith(f"params.x: expected {kind}, got ")


def test_a_duration_of_numpy_is_refused_at_registration() -> None:
    with pytest.raises(TypeError, match="no JSON value can become"):
        taking(np.timedelta64)


def test_what_is_masked_is_not_said() -> None:
    dates = np.array(["2026-01-31", "2026-02-01"], "M8[D]")
    assert said(np.ma.array(dates, mask=[True, False])) == [None, "2026-02-01"]


@pytest.mark.parametrize("value", [pd.DataFrame({"a": [1]}).groupby("a"), pl.DataFrame({"a": [1]}).group_by("a")])
def test_groups_that_were_not_summed_up_have_no_form(value: Any) -> None:
    with pytest.raises(Unserializable, match="GroupBy has no form in JSON"):
        encode(value)


SPLIT = {"columns": ["a"], "data": [[1]]}


@pytest.mark.parametrize(
    "hint",
    [
        Annotated[pd.DataFrame | None, Orient.SPLIT],
        Annotated[pd.DataFrame, Orient.SPLIT] | None,
        Annotated[pl.LazyFrame, Orient.SPLIT],
    ],
    ids=str,
)
def test_an_orientation_holds_for_frames_that_may_be_none_and_lazy_ones(hint: Any) -> None:
    method = taking(hint)
    assert said(method.check(read(hint, SPLIT))) == SPLIT
    assert refusal(hint, [{"a": 1}]).startswith("params.x")
    if "Lazy" not in str(hint):
        assert method.check(read(hint, None)) is None


def test_a_figure_that_cannot_be_drawn_is_forgotten_too() -> None:
    figure, axes = plt.subplots()
    axes.set_title(r"$\nosuchsymbol$")
    with pytest.raises(Unserializable, match="nosuchsymbol"):
        encode(figure)
    assert not plt.get_fignums()


def test_axes_of_a_part_of_a_figure_are_said_as_the_figure() -> None:
    figure = plt.figure()
    axes = figure.subfigures(1, 2)[0].subplots()
    assert picture_in(said(axes)).size == picture_in(said(figure)).size
    assert not plt.get_fignums()


@pytest.mark.parametrize("mode", ["PA", "RGBa", "La"])
def test_what_is_transparent_stays_so(mode: str) -> None:
    picture = Image.new("LA" if mode == "La" else "RGBA", (1, 1), (9, 0) if mode == "La" else (9, 9, 9, 0)).convert(
        mode
    )
    shown = picture_in(said(picture))
    assert shown.getpixel((0, 0))[-1] == picture.getpixel((0, 0))[-1]


def test_an_enum_of_such_a_package_is_an_enum() -> None:
    assert read(Image.Resampling, 3) is Image.Resampling.BICUBIC
    assert said({Image.Resampling.BICUBIC: 2**70}) == {"3": 2**70}
