"""Graphs on a device of their own memory: what a step can leave there is not carried to the host and back.

A bound session is used like a session of onnxruntime. Of its inputs, encoded sentences are copied to the device once
and stay there while the same array is given; of its outputs, those that only the next step reads stay on the device.
Never run on CUDA so far: the tests bind to the CPU.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime

from service.bundle.manifest import Manifest
from service.bundle.tensor_contract import initial_name, next_name

Device = Literal["cpu", "cuda"]
Array: TypeAlias = npt.NDArray[Any]

DEVICE_ID = 0  # the GPU that the session runs on: the provider's own default


class DeviceArray:
    """An output that stays on its device; it becomes a NumPy array where one is needed, and is copied once at most.

    Attributes:
        value: what onnxruntime takes as an input.
        shape: as of a NumPy array.
    """

    def __init__(self, value: onnxruntime.OrtValue) -> None:
        self.value = value
        self.shape: tuple[int, ...] = tuple(value.shape())
        self._on_host: Array | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        return np.asarray(self)[key]

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        if self._on_host is None:
            self._on_host = self.value.numpy()
        return np.array(self._on_host, dtype=dtype, copy=copy)


class BoundSession:
    """A session whose large tensors stay on its device; calls from several threads are safe.

    Args:
        session: it runs the graph.
        device: where the session's memory is; `cpu` does the same on the host, for tests.
        lasting: inputs that are given again and again. Their arrays must not be written to while they live.
        kept: outputs that stay on the device, as `DeviceArray`.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        device: Device,
        lasting: Collection[str] = (),
        kept: Collection[str] = (),
    ) -> None:
        self._session = session
        self._device = device
        self._lasting = frozenset(lasting)
        self._kept = frozenset(kept)
        self._uploads = _Uploads(device)

    def run(self, output_names: Sequence[str], feeds: Mapping[str, Array | DeviceArray]) -> list[Any]:
        """Runs the graph once; arguments as those of `onnxruntime.InferenceSession.run`.

        Returns:
            The outputs in the order of `output_names`: NumPy arrays, but for those that stay on the device.
        """
        binding = self._session.io_binding()
        for name, array in feeds.items():
            if isinstance(array, DeviceArray):
                binding.bind_ortvalue_input(name, array.value)
            elif name in self._lasting:
                binding.bind_ortvalue_input(name, self._uploads.of(array))
            else:
                binding.bind_cpu_input(name, np.ascontiguousarray(array))
        for name in output_names:
            binding.bind_output(name, self._device if name in self._kept else "cpu", DEVICE_ID)
        binding.synchronize_inputs()
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        pairs = zip(output_names, binding.get_outputs(), strict=True)
        return [DeviceArray(value) if name in self._kept else value.numpy() for name, value in pairs]


def bind_sessions(
    encoder: onnxruntime.InferenceSession,
    decoder_step: onnxruntime.InferenceSession,
    manifest: Manifest,
    device: Device,
) -> tuple[BoundSession, BoundSession]:
    """Both sessions of a model, such that encoded sentences and the decoder's state stay on the device."""
    states = [*map(initial_name, manifest.state), *map(next_name, manifest.state)]
    return (
        BoundSession(encoder, device, kept=(*manifest.memory, *states)),
        BoundSession(decoder_step, device, lasting=(*manifest.memory, "source_mask"), kept=states),
    )


class _Uploads:
    """Copies of host arrays on a device; each is given up with its array."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._copies: dict[int, tuple[weakref.ref[Array], onnxruntime.OrtValue]] = {}  # by the array's id

    def __len__(self) -> int:
        return len(self._copies)

    def of(self, array: Array) -> onnxruntime.OrtValue:
        """The copy of an array, made where there is none yet."""
        key = id(array)
        known = self._copies.get(key)
        if known is not None and known[0]() is array:
            return known[1]
        copy = onnxruntime.OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype, self._device, DEVICE_ID)
        copy.update_inplace(array)
        copies = self._copies
        self._copies[key] = (weakref.ref(array, lambda _: copies.pop(key, None)), copy)
        return copy
