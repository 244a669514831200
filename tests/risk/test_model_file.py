"""A model file is opened by its digest, read strictly, and can do no worse than be wrong."""

import io
import json
import os
import pickle
import random
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from workbench.errors import InputError, IntegrityError, MalformedError
from workbench.features import FeatureSpec
from workbench.files import canonical_json, sha256_bytes
from workbench.risk.calibration import Calibrator
from workbench.risk.forest import Forest
from workbench.risk.model import RiskModel
from workbench.risk.modelfile import ARRAYS, FORMAT_VERSION, MAGIC, decode, encode
from workbench.risk.threshold import Threshold

KEPT = Path(__file__).resolve().parents[1] / "data" / "models"
LEAF = 255
SPEC = FeatureSpec(names=("hour", "is_first"))
ORIGIN = {"dataset_sha256": "a" * 64, "labels_sha256": None, "seed": 42}


def small_model(**changes):
    """Two trees over two features; with these numbers since format 1."""
    forest = Forest(
        "random_forest",
        n_features=2,
        base=0.0,
        value=[8.0, 0.5, 0.25, 1.0, 0.0, 0.5],
        feature=[0, 1, LEAF, LEAF, LEAF, LEAF],
        missing_left=[1, 0, 0, 0, 0, 0],
        cover=[40.0, 10.0, 50.0, 100.0],
    )
    parts = {
        "forest": forest,
        "calibrator": Calibrator("isotonic", x=[0.0, 0.5, 1.0], y=[0.0, 0.125, 0.75]),
        "threshold": Threshold(0.3, "budget", {"alerts_per_day": 5}),
        "spec": SPEC,
        "origin": ORIGIN,
    }
    return RiskModel(**{**parts, **changes})


ROWS = np.array([[3.0, 0.0], [3.0, 1.0], [9.0, 0.0], [np.nan, 1.0]])


def read(data):
    return RiskModel.read(data, sha256=sha256_bytes(data))


def refusal(data):
    with pytest.raises(MalformedError) as caught:
        read(data)
    said = str(caught.value)
    assert "model.prm of the model" in said, said
    assert said.count("\n") == 0
    return said


def rewritten(**changes):
    """The small model's file with some of its header's parts, or its arrays, changed."""
    header, arrays = decode(bytes(small_model()), what="it")
    for name, value in changes.items():
        if name in ARRAYS:
            arrays[name] = np.asarray(value)
        elif value is ...:
            del header[name]
        else:
            header[name] = {**header[name], **value} if isinstance(value, dict) and name in header else value
    return encode(header, arrays)


def with_header(text):
    """The small model's file with ``text`` as its header."""
    data = bytes(small_model())
    length = int.from_bytes(data[12:16], "little")
    body = data[24 + length + -length % 8 :]
    written = text(data[24 : 24 + length]) if callable(text) else text
    head = MAGIC + data[8:12] + len(written).to_bytes(4, "little")
    rest = written + bytes(-len(written) % 8) + body
    return head + (24 + len(rest)).to_bytes(8, "little") + rest


def test_a_model_is_read_as_it_was_written():
    model = small_model()
    again = read(bytes(model))
    assert (bytes(again), again.sha256) == (bytes(model), sha256_bytes(bytes(model)))
    assert (again.spec, again.threshold, again.origin) == (model.spec, model.threshold, model.origin)
    assert np.array_equal(again.predict(ROWS), model.predict(ROWS))
    assert [again.predict_one(row) for row in ROWS] == model.predict(ROWS).tolist()


def test_a_model_of_an_estimator_says_the_same_after_storing():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 2))
    y = (X[:, 0] + rng.normal(size=500) > 1).astype(int)
    estimator = RandomForestClassifier(20, random_state=0).fit(X, y)
    forest = Forest.of(estimator)
    model = small_model(forest=forest, calibrator=Calibrator.fit(forest.predict(X), y))
    assert np.array_equal(read(bytes(model)).forest.predict(X), estimator.predict_proba(X)[:, 1])
    assert read(bytes(model)).sha256 == model.sha256


def test_the_same_parts_make_the_same_bytes_and_other_parts_do_not():
    assert bytes(small_model()) == bytes(small_model())
    reordered = dict(reversed(ORIGIN.items()))
    assert bytes(small_model(origin=reordered)) == bytes(small_model())
    changed = [
        small_model(threshold=Threshold(0.4, "budget", {"alerts_per_day": 5})),
        small_model(spec=replace(SPEC, day_starts=7)),
        small_model(origin={**ORIGIN, "seed": 43}),
        small_model(calibrator=Calibrator("none")),
    ]
    assert len({model.sha256 for model in [small_model(), *changed]}) == 5


def test_a_file_of_format_1_stays_readable():
    """The feature spec in it may be of an older workbench, whose features cannot be computed now; the rest holds."""
    header, arrays = decode((KEPT / "format-1.prm").read_bytes(), what="the kept file")
    forest = Forest(
        header["forest"]["algorithm"], header["forest"]["n_features"], header["forest"]["base"],
        arrays["value"], arrays["feature"], arrays["missing_left"],
    )  # fmt: skip
    calibrator = Calibrator("isotonic", arrays["calibration_x"], arrays["calibration_y"])
    assert calibrator.apply(forest.predict(ROWS)).tolist() == small_model().predict(ROWS).tolist()
    assert calibrator.apply(forest.predict(ROWS)).tolist() == [0.09375, 0.4375, 0.0625, 0.4375]
    assert Threshold.from_dict(header["threshold"]) == small_model().threshold
    assert header["origin"] == ORIGIN
    assert arrays["cover"].tolist() == [40.0, 10.0, 50.0, 100.0]
    assert FORMAT_VERSION == 1, "a new format needs a kept file of its own, and a reader for this one"


def test_every_one_of_a_thousand_flipped_bits_is_refused_before_anything_is_read():
    data = bytes(small_model())
    digest = sha256_bytes(data)
    chosen = random.Random(4)
    for _ in range(1_000):
        bit = chosen.randrange(8 * len(data))
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(IntegrityError, match=r"^model\.prm of the model [0-9a-f]{12} was changed: its SHA-256 is"):
            RiskModel.read(bytes(flipped), sha256=digest)


class Harmful:
    def __reduce__(self):
        return (os.system, ("echo opened > /tmp/opened-by-a-model",))


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("schema.json", '{"__loader__": "FunctionNode", "__module__": "os", "__class__": "system"}')
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (pickle.dumps(Harmful()), "is not a model file but a pickle, which is never opened"),
        (pickle.dumps({"a": 1}, protocol=2), "but a pickle"),
        (pickle.dumps({"a": 1}, protocol=0), "is not a model file"),
        (zipped(), r"but a ZIP archive \(as skops and PyTorch write\), which is never opened"),
        (b"\x1f\x8b\x08" + bytes(30), r"but a gzip file \(as joblib writes\)"),
        (b"\x78\x9c" + bytes(30), r"but a zlib stream \(as joblib writes\)"),
        (b"\x93NUMPY\x01\x00" + bytes(30), "but a NumPy file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(30), "but an HDF5 file"),
        (b"", "is not a model file"),
        (MAGIC, "is not a model file"),
        (bytes(100), "is not a model file"),
    ],
)
def test_another_kind_of_file_under_a_model_s_name_is_refused_by_name(data, said):
    assert __import__("re").search(said, refusal(data))
    assert not Path("/tmp/opened-by-a-model").exists()


@pytest.mark.parametrize("cut", [1, 8, 9, 23, 24, 25, 100, -1, -2, -9])
def test_a_file_that_was_cut_short_is_refused(cut):
    data = bytes(small_model())[:cut]
    said = refusal(data)
    assert "cut short" in said or "is not a model file" in said


def test_bytes_after_the_end_are_refused():
    data = bytes(small_model())
    assert "it was cut short or added to" in refusal(data + b"\0")
    longer = data[:16] + (len(data) + 8).to_bytes(8, "little") + data[24:] + bytes(8)
    assert "has 8 bytes after its last array" in refusal(longer)


@pytest.mark.parametrize("version", [0, 2, 2**32 - 1])
def test_a_format_that_is_not_known_is_refused(version):
    data = bytes(small_model())
    said = refusal(data[:8] + version.to_bytes(4, "little") + data[12:])
    assert said.endswith(f"is of format {version}, and this version reads format 1")


@pytest.mark.parametrize("length", [2**32 - 1, 2**20 + 1, 10_000])
def test_a_header_longer_than_the_file_is_refused(length):
    data = bytes(small_model())
    assert "its header has" in refusal(data[:12] + length.to_bytes(4, "little") + data[16:])


@pytest.mark.parametrize("length", [10, 2**31, 2**62, -1, 1.5, True, None, "6", [6]])
@pytest.mark.parametrize("array", ARRAYS)
def test_an_array_that_says_it_is_longer_than_the_file_is_refused(array, length):
    def lie(written):
        header = json.loads(written)
        header["arrays"][array] = length if length != 10 else 10_000
        return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()

    said = refusal(with_header(lie))
    assert f"array {array}" in said or "beyond 2^53" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "is not valid JSON"),
        (b"[]", "is not a JSON object"),
        (b"\xff\xfe{}", "is not UTF-8"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'{"a":1,"a":2}', "has the key 'a' twice"),
        (b'{"forest":{"base":1,"base":2}}', "has the key 'base' twice"),
        (b'{"a":NaN}', "holds NaN, which is no JSON"),
        (b'{"a":1e999}', "not finite"),
        (b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", "nested more than 32 deep"),
        (b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested more than 32 deep"),
        (b"{}", "does not have exactly the arrays"),
        (lambda written: written.replace(b'"base":0', b'"base":0.0'), "not written in the one way"),
        (lambda written: written.replace(b'"seed":42', b'"seed": 42'), "not written in the one way"),
        (lambda written: written.replace(b'{"arrays"', b'{"more":1,"arrays"'), "does not have exactly calibrator"),
        (lambda written: written.replace(b'"missing_left":6', b'"missing":6'), "does not have exactly the arrays"),
    ],
)  # fmt: skip
def test_a_header_with_more_than_one_meaning_is_refused(text, said):
    assert said in refusal(with_header(text))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"forest": ...}, "does not have exactly calibrator, forest, origin"),
        ({"forest": {"more": 1}}, "forest does not have exactly"),
        ({"forest": {"algorithm": "os.system"}}, "the algorithm 'os.system' is none of"),
        ({"forest": {"algorithm": ["random_forest"]}}, "is none of"),
        ({"forest": {"n_features": 1}}, "node 1 asks for feature 1, of 1"),
        ({"forest": {"n_features": 3}}, "the trees take 3 features and the feature spec names 2"),
        ({"forest": {"n_features": True}}, "n_features is not a whole number"),
        ({"forest": {"n_features": 2.5}}, "n_features is not a whole number"),
        ({"forest": {"n_features": -1}}, "-1 features"),
        ({"forest": {"n_trees": 3}}, "the nodes make 2 trees, and the header says 3"),
        ({"forest": {"base": "0"}}, "base is not a number"),
        ({"forest": {"base": 0.5}}, "begins with 0.5"),
        ({"calibrator": {"method": "os.system"}}, "is none of isotonic"),
        ({"calibrator": {"method": {}}}, "is none of isotonic"),
        ({"calibrator": {"method": "none"}}, "no other has"),
        ({"calibrator": {"a": 1}}, "only a sigmoid"),
        ({"calibrator": {"a": None}}, "a is not a number"),
        ({"threshold": {"value": "0.3"}}, "threshold"),
        ({"threshold": []}, "threshold"),
        ({"spec": {"version": 1}}, "feature spec of version 1; this workbench computes version"),
        ({"spec": {"sha256": "0" * 64}}, "other definitions"),
        ({"spec": {"names": ["hour", "salary"]}}, "unknown feature 'salary'"),
        ({"spec": {"names": [["hour"], 1]}}, "feature spec"),
        ({"spec": {"names": {"hour": 1}}}, "feature spec"),
        ({"spec": {"day_starts": "6"}}, "feature spec"),
        ({"spec": None}, "feature spec"),
        ({"origin": {"dataset_sha256": "ab"}}, "dataset_sha256 of the model's origin is not a SHA-256"),
        ({"origin": {"labels_sha256": 7}}, "labels_sha256 of the model's origin is not a SHA-256"),
        ({"origin": []}, "the origin of a model says at least"),
        ({"value": [8.0, np.nan, 0.25, 1.0, 0.0, 0.5]}, "the value of node 1 is not a finite number"),
        ({"value": [np.inf, 0.5, 0.25, 1.0, 0.0, 0.5]}, "the value of node 0 is not a finite number"),
        ({"value": [8.0, 0.5, 0.25, 7.0, 0.0, 0.5]}, "a leaf holds 7, not 0 to 1"),
        ({"value": [8.0, 0.5, 0.25, 1.0, 0.0]}, "not of one length"),
        ({"feature": [0, 2, LEAF, LEAF, LEAF, LEAF]}, "node 1 asks for feature 2, of 2"),
        ({"feature": [0, 1, LEAF, LEAF, LEAF, 1], "cover": []}, "ends before it is complete"),
        ({"feature": [0, 1, 1, 1, 1, 1], "cover": []}, "ends before it is complete"),
        ({"feature": [LEAF] * 6}, "missing_left"),
        ({"missing_left": [7, 0, 0, 0, 0, 0]}, "missing_left is not 0 or 1"),
        ({"cover": [1.0, 2.0, 3.0]}, "4 leaves and 3 of them a weight"),
        ({"cover": [1.0, 2.0, 3.0, 0.0]}, "the training weight of a leaf is not a number above 0"),
        ({"cover": [1.0, 2.0, 3.0, np.nan]}, "the training weight of a leaf is not a number above 0"),
        ({"calibration_x": [0.0, 0.5, np.nan]}, "not a finite number"),
        ({"calibration_x": [0.0, 0.5, 0.5]}, "do not rise"),
        ({"calibration_y": [0.0, 0.5, 1.5]}, "no probability"),
        ({"calibration_y": [0.0, 0.5]}, "not two rows"),
    ],
)  # fmt: skip
def test_parts_that_contradict_the_format_or_each_other_are_refused(changes, said):
    assert said in refusal(rewritten(**changes))


def test_a_cycle_or_a_child_outside_its_tree_cannot_be_written_down():
    """The format has no field for a child: where a tree goes follows from the order of its nodes."""
    header, arrays = decode(bytes(small_model()), what="it")
    assert set(arrays) == {"value", "cover", "feature", "missing_left", "calibration_x", "calibration_y"}
    assert set(header["forest"]) == {"algorithm", "base", "n_features", "n_trees"}
    nodes, roots, *_ = small_model().forest._ready
    inner = nodes["feature"] != LEAF
    places = np.arange(len(nodes))
    assert (nodes["right"][inner] > places[inner] + 1).all()
    assert (nodes["right"][inner] < len(nodes)).all()
    assert roots.tolist() == [0, 5]


def test_something_between_header_and_arrays_is_refused():
    data = bytearray(bytes(small_model(origin={**ORIGIN, "pad": ""})))
    length = int.from_bytes(data[12:16], "little")
    if length % 8 == 0:
        data = bytearray(bytes(small_model(origin={**ORIGIN, "pad": "a"})))
        length += 1
    data[24 + length] = 1
    assert "between its header and its arrays" in refusal(bytes(data))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spec": FeatureSpec()}, "the trees take 2 features and the feature spec names 23"),
        ({"origin": {}}, "says at least dataset_sha256"),
        ({"origin": {**ORIGIN, "dataset_sha256": None}}, "dataset_sha256 of the model's origin"),
    ],
)
def test_parts_that_do_not_fit_make_no_model(changes, said):
    with pytest.raises(InputError, match=said):
        small_model(**changes)


@pytest.mark.parametrize("strange", [float("nan"), 2**60, {1, 2}, b"bytes"])
def test_an_origin_that_json_cannot_hold_is_refused(strange):
    with pytest.raises(InputError, match="holds what JSON cannot"):
        bytes(small_model(origin={**ORIGIN, "strange": strange}))


FUZZ = """
import json, random, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (240, 240))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
import numpy as np
from workbench.errors import IntegrityError, MalformedError
from workbench.files import sha256_bytes
from workbench.risk.model import RiskModel
rng = np.random.default_rng(1)
rows = np.concatenate([rng.normal(size=(8, 2)) * 10.0 ** rng.integers(-40, 30, (8, 2)), np.zeros((1, 2))])
told = {"refused": 0, "accepted": 0}

def attempt(mutated):
    try:
        model = RiskModel.read(mutated, sha256=sha256_bytes(mutated))
    except (MalformedError, IntegrityError):
        told["refused"] += 1
        return
    p = model.predict(rows)
    assert np.isfinite(p).all() and ((0 <= p) & (p <= 1)).all(), p
    assert [model.predict_one(row) for row in rows] == p.tolist()
    told["accepted"] += 1

for path in sys.argv[1:]:
    data = open(path, "rb").read()
    header_end = 24 + int.from_bytes(data[12:16], "little")
    chosen = random.Random(7)
    for turn in range(1000):
        mutated = bytearray(data)
        start = 0 if turn % 2 else header_end
        for _ in range(1 if turn < 700 else chosen.randrange(2, 20)):
            bit = chosen.randrange(8 * start, 8 * len(data))
            mutated[bit // 8] ^= 1 << bit % 8
        attempt(bytes(mutated))
    for turn in range(300):
        mutated = bytearray(data)
        at = chosen.randrange(header_end, len(data) - 8)
        mutated[at : at + 8] = chosen.choice([b"\\xff" * 8, bytes(8), b"\\0\\0\\0\\0\\0\\0\\xf0\\x7f", chosen.randbytes(8)])
        attempt(bytes(mutated))
    for turn in range(100):
        cut = chosen.randrange(len(data))
        mutated = data[:cut] + (chosen.randbytes(chosen.randrange(64)) if turn % 2 else b"")
        attempt(mutated[:16] + len(mutated).to_bytes(8, "little") + mutated[24:])
print(json.dumps(told))
"""


@pytest.mark.slow
def test_a_damaged_file_with_its_digest_recomputed_never_crashes_or_reads_out_of_bounds(tmp_path, project):
    """In a process of its own, with numba's bounds checks on: the one that is attacked may die, this one may not."""
    rng = np.random.default_rng(3)
    size = 40
    feature, value = [], []
    for _ in range(size):  # trees of three leaves
        feature += [int(rng.integers(2)), LEAF, int(rng.integers(2)), LEAF, LEAF]
        value += [rng.normal(), *rng.random(1), rng.normal(), *rng.random(2)]
    paths = [tmp_path / "forest.prm", tmp_path / "boosting.prm"]
    for path, algorithm in zip(paths, ("random_forest", "hist_gradient_boosting"), strict=True):
        forest = Forest(algorithm, 2, 0.0, value, feature, np.zeros(5 * size), np.ones(3 * size))
        path.write_bytes(bytes(small_model(forest=forest)))
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    told = subprocess.run(
        [sys.executable, "-c", FUZZ, *map(str, paths)],
        check=False,
        capture_output=True,
        text=True,
        cwd=project,
        env=environment,
    )
    assert told.returncode == 0, told.stderr[-3000:]
    counts = json.loads(told.stdout)
    assert counts["refused"] + counts["accepted"] == 2_800
    assert counts["refused"] > 1_000
    assert counts["accepted"] > 200, "nothing got past the checks, so the walker was not tried"


TRAIN = """
import sys
import numpy as np
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from workbench.features import FeatureSpec
from workbench.risk.calibration import Calibrator
from workbench.risk.forest import Forest
from workbench.risk.model import RiskModel
from workbench.risk.threshold import Threshold
spec = FeatureSpec(names=("hour", "is_first", "events_1h"))
rng = np.random.default_rng(0)
X = rng.normal(size=(4000, 3))
y = (rng.random(4000) < 1 / (1 + np.exp(-X[:, 0]))).astype(int)
jobs = int(sys.argv[1])
for estimator in (
    RandomForestClassifier(30, max_depth=6, random_state=42, n_jobs=jobs),
    GradientBoostingClassifier(n_estimators=20, subsample=0.5, random_state=42),
    HistGradientBoostingClassifier(max_iter=20, random_state=42),
):
    forest = Forest.of(estimator.fit(X[:2000], y[:2000]))
    for method in ("isotonic", "sigmoid"):
        calibrator = Calibrator.fit(forest.predict(X[2000:]), y[2000:], method)
        origin = {"labels_sha256": None, "dataset_sha256": "a" * 64, "parameters": {"b": 1, "a": {"d", "c"} and 2}}
        print(RiskModel(forest, calibrator, Threshold(0.5, "f1", {}), spec, origin).sha256)
"""


@pytest.mark.slow
def test_the_same_training_makes_the_same_bytes_on_any_number_of_threads_and_hash_seed(project):
    def train(threads, seed):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
        environment = {**os.environ, **dict.fromkeys(names, str(threads)), "PYTHONHASHSEED": str(seed)}
        told = subprocess.run(
            [sys.executable, "-c", TRAIN, str(threads)],
            check=True,
            capture_output=True,
            text=True,
            cwd=project,
            env=environment,
        )
        return told.stdout.split()

    first = train(1, 0)
    assert len(set(first)) == 6
    assert train(2, 1) == first


def test_the_header_is_canonical():
    data = bytes(small_model())
    length = int.from_bytes(data[12:16], "little")
    written = data[24 : 24 + length]
    assert canonical_json(json.loads(written)) == written
