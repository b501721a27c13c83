"""Arrays on the host and tensors on the device that are copied to one another every block, allocated once."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


class Upload:
    """An array to fill on the host, and the tensor that is to hold it on the device.

    On a CPU the two are one. On an NVIDIA GPU the array is pinned and the copy does not wait: the array may be filled
    again once the stream has been waited for, as `Download.receive` does.

    Attributes:
        array: In the shape of the tensor.
        target: The tensor.

    Args:
        target: Contiguous.
    """

    def __init__(self, target: Tensor) -> None:
        self.target, self._host = target, _on_host(target)
        self.array: NDArray[Any] = self._host.numpy()

    def send(self) -> None:
        """Copy the array to the device."""
        if self._host is not self.target:
            self.target.copy_(self._host, non_blocking=self.target.is_cuda)


class Download:
    """A tensor on the device, and the array that is to hold it on the host.

    Attributes:
        array: In the shape of the tensor.

    Args:
        source: The tensor, float32 and contiguous.
    """

    def __init__(self, source: Tensor) -> None:
        self._source, self._host = source, _on_host(source)
        self.array: NDArray[Any] = self._host.numpy()

    def receive(self) -> NDArray[Any]:
        """Wait for the device and copy the tensor to the array."""
        if self._host is not self._source:
            self._host.copy_(self._source, non_blocking=self._source.is_cuda)
            if self._source.is_cuda:
                torch.cuda.current_stream(self._source.device).synchronize()
        return self.array


def _on_host(tensor: Tensor) -> Tensor:
    if tensor.device.type == "cpu":
        return tensor
    return torch.zeros(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
