r"""The whole spectrum of the Hessian of a small network, and of its parts.

H = G + R with the Gauss-Newton part G = FᵀF/n, see `gdviz.problems.network.Network.split`. The k²
means of the rows of F by class and output span what the outliers of G should lie in: within a class
samples have about the same Jacobian, so that the rest of F is noise.

Source: the decomposition is common; the space of class means is recalled from the literature on
outliers of Hessians [R]; the comparisons are ours [M].
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gdviz.problems.network import Network
from gdviz.spectra import outliers
from gdviz.watch import Watch, unwatched

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Spectra:
    """Eigenvalues of H, G and R, (T, P) each and descending, of T networks.

    Of the first m eigenvectors of H, `overlap` (T,) is the share of their squares that lies in the
    span of the first m of G, and `means` (T,) that in the span of the class means of the rows of F.
    """

    H: Array
    G: Array
    R: Array
    overlap: Array
    means: Array


def spectra(
    net: Network, weights: ArrayLike, X: Tensor, Y: Tensor, m: int, watch: Watch = unwatched
) -> Spectra:
    """Diagonalise H, G and R of the networks `weights` (T, P)."""
    many = torch.as_tensor(weights).to(X)
    found = []
    for i, w in enumerate(many):
        watch(i / len(many))
        found.append(_spectrum(net, w, X, Y, min(m, net.size)))
    watch(1)
    return Spectra(*(np.stack(part) for part in zip(*found, strict=True)))


def _spectrum(net: Network, w: Tensor, X: Tensor, Y: Tensor, m: int) -> Iterable[Array]:
    F, R = net.split(w, X, Y)
    G = F.mT @ F / len(X)
    h, U = torch.linalg.eigh(G + R)
    g, V = torch.linalg.eigh(G)
    r = torch.linalg.eigvalsh(R)
    means = torch.einsum("nc,nop->cop", Y / Y.sum(0), F.view(len(X), net.k, -1)).flatten(0, 1)
    span, size, _ = torch.linalg.svd(means.mT, full_matrices=False)
    span = span[:, size > 1e-10 * size[0]]
    top = U[:, -m:]
    shares = ((basis.mT @ top).square().sum() / m for basis in (V[:, -m:], span))
    return [part.cpu().numpy() for part in (h.flip(0), g.flip(0), r.flip(0), *shares)]


def counts(values: Array) -> tuple[NDArray[np.int64], Array]:
    """Outliers of spectra (…, P), and the ratio at the gap below them: (…) each."""
    found = [outliers(torch.from_numpy(one.copy())) for one in values.reshape(-1, values.shape[-1])]
    shape = values.shape[:-1]
    count, ratio = zip(*found, strict=True)
    return np.array(count, np.int64).reshape(shape), np.array(ratio, float).reshape(shape)
