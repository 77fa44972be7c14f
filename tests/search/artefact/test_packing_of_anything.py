"""Whatever a file holds, packing and unpacking gives it back to the bit."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from compressors.weights.encoded import CodedWeight
from search.artefact.packed_form.packing import pack
from search.artefact.packed_form.unpack import unpack
from tests.strategies import coded_weights, tensors


def file_of(values: list[NDArray[Any]]) -> bytes:
    initialisers = [numpy_helper.from_array(value, f"t{n}") for n, value in enumerate(values)]
    model = helper.make_model(helper.make_graph([], "graph", [], [], initializer=initialisers))
    content: bytes = model.SerializeToString()
    return content


@given(values=st.lists(tensors(), max_size=3))
def test_tensors_come_back_to_the_bit(values: list[NDArray[Any]]) -> None:
    file = file_of(values)
    assert unpack(pack(file, [])) == file


@given(
    codes=st.lists(coded_weights(), min_size=1, max_size=2), others=st.lists(tensors(), max_size=1)
)
def test_coded_weights_come_back_to_the_bit(
    codes: list[CodedWeight], others: list[NDArray[Any]]
) -> None:
    file = file_of([*(code.decode() for code in codes), *others])
    assert unpack(pack(file, codes)) == file
    assert unpack(pack(file, codes[:1])) == file
