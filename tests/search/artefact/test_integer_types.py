import numpy as np
import pytest

from search.artefact.onnx_form import integer_types as module
from search.artefact.onnx_form.integer_types import IntegerTypes, integer_types
from search.artefact.onnx_form.type_measurement import TYPES, measure_types


def types(u8s8, u8u8, s8s8, *, saturates):
    return IntegerTypes(
        convolution_seconds={"U8S8": u8s8, "U8U8": u8u8, "S8S8": s8s8},
        product_seconds={"U8S8": u8s8, "U8U8": u8u8},
        exact={"U8S8": not saturates, "U8U8": True, "S8S8": True},
    )


def test_without_saturation_the_fastest_types_are_chosen():
    machine = types(1.0, 2.0, 3.0, saturates=False)
    for narrow in (True, False):
        assert machine.convolution(narrow=narrow) == "U8S8"
        assert machine.product(narrow=narrow) == "U8S8"
        assert not machine.needs_headroom("U8S8", narrow=narrow)
    assert types(3.0, 2.0, 1.0, saturates=False).convolution(narrow=False) == "S8S8"


def test_headroom_is_paid_only_for_a_gain_in_speed():
    fast, slow = types(1.0, 1.5, 2.0, saturates=True), types(1.0, 1.1, 2.0, saturates=True)
    assert fast.convolution(narrow=False) == "U8S8"
    assert fast.needs_headroom("U8S8", narrow=False)
    assert slow.convolution(narrow=False) == "U8U8"
    assert not slow.needs_headroom("U8U8", narrow=False)


def test_narrow_weights_never_saturate():
    machine = types(1.0, 1.1, 2.0, saturates=True)
    assert machine.convolution(narrow=True) == "U8S8"
    assert machine.product(narrow=True) == "U8S8"
    assert machine.product(narrow=False) == "U8U8"
    assert not machine.needs_headroom("U8S8", narrow=True)


def test_the_machine_is_measured_once(tmp_path, monkeypatch):
    monkeypatch.setenv("PAREDOWN_CACHE", str(tmp_path))
    integer_types.cache_clear()
    first = integer_types()
    integer_types.cache_clear()
    monkeypatch.setattr(module, "measure_types", lambda: pytest.fail("measured again"))
    assert integer_types() == first
    integer_types.cache_clear()


def test_a_measurement_has_every_type():
    found = measure_types()
    assert np.isfinite(found["seconds"][0]).all()
    assert (found["seconds"][0] > 0).all()
    # Types that are added up in 32 bits are exact on every CPU.
    assert found["exact"][TYPES.index("U8U8")]
    assert found["exact"][TYPES.index("S8S8")]
