r"""The whole spectrum of the Hessian of a small network, and of its parts.

H = G + R with the Gauss-Newton part G = FᵀF/n, see `gdviz.problems.network.Network.split`. The k²
means of the rows of F by class and output span what the outliers of G should lie in: within a class
samples have about the same Jacobian, so that the rest of F is noise.

Source: the decomposition is common; the space of class means is recalled from the literature on
outliers of Hessians [R]; the comparisons are ours [M].
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gdviz.problems.network import Network
from gdviz.spectra import Operator, density, outliers, slq
from gdviz.watch import Watch, unwatched

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Spectra:
    """Eigenvalues of H, G and R, (T, P) each and descending, of T networks.

    Of the first m eigenvectors of H, `overlap` (T,) is the share of their squares that lies in the
    span of the first m of G, and `means` (T,) that in the span of the class means of the rows of F.
    For MSE `hidden` (T, h + 1) are the eigenvalues of E[hhᵀ] of the last hidden layer, with its
    constant, descending: the block of the output weights in H is k copies of it. `nodes` and
    `weights` (T, L) are the density as stochastic Lanczos quadrature sees it. Both may be empty.
    """

    H: Array
    G: Array
    R: Array
    overlap: Array
    means: Array
    hidden: Array
    nodes: Array
    weights: Array


def spectra(
    net: Network, weights: ArrayLike, X: Tensor, Y: Tensor, m: int, watch: Watch = unwatched,
    lanczos: tuple[int, int] = (0, 0), seed: int = 0,
) -> Spectra:  # fmt: skip
    """Diagonalise H, G and R of the networks `weights` (T, P).

    `lanczos` are steps and starts of the quadrature, none if zero; its starts are those of `seed`.
    """
    many = torch.as_tensor(weights).to(X)
    found = []
    for i, w in enumerate(many):
        watch(i / len(many))
        found.append(_spectrum(net, w, X, Y, min(m, net.size), lanczos, seed))
    watch(1)
    return Spectra(*(np.stack(part) for part in zip(*found, strict=True)))


def eigenvalues(
    net: Network, weights: ArrayLike, X: Tensor, Y: Tensor, watch: Watch = unwatched
) -> Array:
    """Eigenvalues of H alone, descending, of networks (…, P): (…, P)."""
    many = torch.as_tensor(weights).to(X)
    flat = many.reshape(-1, net.size)
    found = torch.empty_like(flat)
    for i, w in enumerate(flat):
        watch(i / len(flat))
        found[i] = torch.linalg.eigvalsh(torch.add(*net.split(w, X, Y))).flip(0)
    watch(1)
    return found.view_as(many).cpu().numpy()


def _spectrum(
    net: Network, w: Tensor, X: Tensor, Y: Tensor, m: int, lanczos: tuple[int, int], seed: int
) -> list[Array]:
    G, R = net.split(w, X, Y)
    H = G + R
    h, U = torch.linalg.eigh(H)
    g, V = torch.linalg.eigh(G)
    r = torch.cat([_of_units(net, R), w.new_zeros(net.k)]).sort().values
    F = net.factor(w, X, Y).view(len(X), -1)
    means = ((Y / Y.sum(0)).mT @ F).view(-1, net.size)
    span, size, _ = torch.linalg.svd(means.mT, full_matrices=False)
    span = span[:, size > 1e-10 * size[0]]
    first = U[:, -m:]
    shares = ((basis.mT @ first).square().sum() / m for basis in (V[:, -m:], span))
    hidden = w.new_empty(0)
    if net.criterion == "MSE":
        own = net.layers(torch.arange(net.size, device=w.device))[1][0]
        hidden = torch.linalg.eigvalsh(G[own[:, None], own])
    nodes, mass = _quadrature(H, *lanczos, seed)
    parts = (h.flip(0), g.flip(0), r.flip(0), *shares, hidden.flip(0), nodes, mass)
    return [part.cpu().numpy() for part in parts]


def _of_units(net: Network, R: Tensor) -> Tensor:
    """The eigenvalues of R but for k zeros: each hidden unit has a block of its own."""
    units = net.units().to(R.device)
    values: Tensor = torch.linalg.eigvalsh(R[units[:, :, None], units[:, None]])
    return values.flatten()


def _quadrature(H: Tensor, steps: int, starts: int, seed: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights, (steps · starts,) each; filled up with weights 0 if there are fewer."""
    nodes, weights = H.new_zeros((2, steps * starts))
    if steps and starts:
        found = slq(Operator(lambda V: V @ H, H[0]), steps, starts, seed)
        nodes[: len(found.nodes)], weights[: len(found.nodes)] = found
    return nodes, weights


def densities(values: Array, weights: Array | None, grid: Array, width: Array) -> Array:
    """Densities of T spectra, values (T, L), at the points of `grid` (N,), (T, N).

    The t-th is as broad as ``width[t]``; without weights all values have the same.
    """
    at, every = torch.from_numpy(grid), torch.tensor(values)
    masses = None if weights is None else torch.tensor(weights)
    return np.stack(
        [
            density(one, None if masses is None else masses[t], at, float(width[t])).numpy()
            for t, one in enumerate(every)
        ]
    )


def counts(values: Array) -> tuple[NDArray[np.int64], Array]:
    """Outliers of spectra (…, P), and the ratio at the gap below them: (…) each."""
    found = [outliers(torch.from_numpy(one.copy())) for one in values.reshape(-1, values.shape[-1])]
    shape = values.shape[:-1]
    count, ratio = zip(*found, strict=True)
    return np.array(count, np.int64).reshape(shape), np.array(ratio, float).reshape(shape)


@dataclass(frozen=True)
class Profile:
    """Of each network: eigenvalues of H, descending, the rank of G and the spectral norm of R."""

    H: Array
    rank: int
    residual: float


def profile(net: Network, w: ArrayLike, X: Tensor, Y: Tensor, tolerance: float = 1e-12) -> Profile:
    """Of one network (P,); the rank counts eigenvalues of G above `tolerance` of the largest."""
    w = torch.as_tensor(w).to(X)
    G, R = net.split(w, X, Y)
    gram = G
    if len(X) * net.k < net.size:  # the same eigenvalues but for zeros, up to the factor n
        F = net.factor(w, X, Y)
        gram = F @ F.mT
    g = torch.linalg.eigvalsh(gram)
    h = torch.linalg.eigvalsh(G + R).flip(0)
    size = _of_units(net, R).abs().max()
    return Profile(h.cpu().numpy(), int((g > tolerance * g[-1]).sum()), float(size))


def eigenpairs(net: Network, w: Tensor, X: Tensor, Y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """H of one network (P,), its eigenvalues (P,), descending, and eigenvectors as rows (P, P)."""
    H = torch.add(*net.split(w, X, Y))
    values, U = torch.linalg.eigh(H)
    return H, values.flip(0), U.mT.flip(0)
