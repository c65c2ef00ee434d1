r"""A small classifier, many at once: data, outputs, loss, gradient and Hessian in closed form.

.. math:: f(x) = W_2 φ(W_1 x + b_1) + b_2, \qquad L = \frac{1}{n} \sum_i ℓ(f(x_i), y_i)

from R^d over h hidden units to R^k. A bias is the weight of an input that is always 1: with
A_1 = [W_1 b_1] and A_2 = [W_2 b_2] a network is one flat vector w of P = h(d + 1) + k(h + 1)
numbers, A_1 and A_2 row by row, and a batch of them one tensor (\*batch, P). The loss ℓ of a sample
is the cross-entropy (CE) or ||f - y||²/2, the half of the *sum* over outputs (MSE): so descent on L
is stable up to the step size 2/λ_max, with no other factor.

Let r = ∂ℓ/∂f, that is softmax(f) - y or f - y, and D = φ'(W_1 x + b_1) ⊙ W_2ᵀr. Then
∇_{A2} ℓ = r [φ, 1] and ∇_{A1} ℓ = D [x, 1]; the directional derivative of all that (Pearlmutter's
R-operator [R]) is the Hessian-vector product. A sample's Gauss-Newton matrix consists of products:
with C = ∂²ℓ/∂f² and W = W_2 diag(φ') its blocks are (Wᵀ C W) ⊗ [x, 1]ᵀ[x, 1], (C W) ⊗ [φ, 1]ᵀ[x, 1]
and C ⊗ [φ, 1]ᵀ[φ, 1]. So that of n samples takes n P² multiplications, and not n k P².

In the NTK parametrisation the weights are N(0, 1) and divided by sqrt(fan-in) in the forward pass.
Networks of several widths lie side by side in the longest vector: the forward pass multiplies what
a narrower one does not have by 0, hence nothing there has a gradient, for every activation.
Both are one diagonal matrix s, f(s ⊙ w), and the gradient is s ⊙ ∇, the Hessian s ⊙ H s.

Samples are X (n, d) and targets Y (n, k), one-hot or real; with batch dimensions in front they
belong to the networks one by one.

Source: the setting is ours, after arXiv 1706.04454, "Empirical Analysis of the Hessian of
Over-Parametrized Neural Networks" [S]; the closed forms are derived for this project [M].
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gdviz.descent import Clock, Probe, Steady, Step, Update, around
from gdviz.problems.activation import ACTIVATIONS

Array = NDArray[np.float64]
Layers = tuple[Tensor, Tensor]
"""A_1 = [W_1 b_1] and A_2 = [W_2 b_2] of networks."""
Gradient = Callable[[Tensor, Tensor, "Tensor | float"], Tensor]
"""Takes inputs (R, d + 1, n), targets (R, k, n) and the shares of samples; see `gradients`."""

TOGETHER = 50_000
"""Products of hidden units, h² of a sample, that are summed at a time."""
LARGEST = 3000
"""Most parameters P of a network: past that a dense Hessian takes minutes."""
LOSSES = ("CE", "MSE")


# --- data -------------------------------------------------------------------------------------


def samples(X: ArrayLike, y: ArrayLike, k: int | None = None) -> tuple[Tensor, Tensor]:
    """Make X (n, d) and one-hot targets (n, k) of explicit arrays, labels y (n,) from 0 to k - 1.

    `k` is the number of different labels if not given.

    Raises
    ------
    ValueError
        For shapes that do not fit, fewer than two classes, labels that are not all of 0 to k - 1,
        NaN or infinity.
    """
    rows, labels = np.array(X, dtype=np.float64), np.asarray(y)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"X must be a non-empty (n, d) array; got {rows.shape}")
    if labels.shape != rows.shape[:1]:
        raise ValueError(f"y must have shape {rows.shape[:1]}; got {labels.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("X must be finite; got NaN or infinity")
    found = np.unique(labels)
    k = len(found) if k is None else k
    if k < 2:
        raise ValueError(f"k must be at least 2 classes; got {k}")
    if not np.array_equal(found, np.arange(k)):
        raise ValueError(f"y must hold every label from 0 to {k - 1}; got {found}")
    return torch.from_numpy(rows), torch.from_numpy(np.eye(k)[labels.astype(int)])


def clusters(
    n: int, d: int, k: int, sep: float, noise: float, seed: int, fresh: bool = False
) -> tuple[Tensor, Tensor]:
    """Draw k Gaussian clusters: x_i = sep q_c + noise N(0, I), c = i mod k, orthonormal q_c in R^d.

    `fresh` samples are independent of those of the same seed, around the same centres.

    Raises
    ------
    ValueError
        Unless 2 <= k <= d and k <= n.
    """
    _check_classes(k, d, n)
    gauss = np.random.default_rng((seed, 10)).standard_normal((d, d))
    Q, R = np.linalg.qr(gauss)
    centres = sep * (Q * np.sign(np.diag(R))).T[:k]  # the signs make Q uniform
    y = np.arange(n) % k
    xi = np.random.default_rng((seed, 11 + fresh)).standard_normal((n, d))
    return samples(centres[y] + noise * xi, y, k)


def digits(n: int, d: int, k: int, seed: int, fresh: bool = False) -> tuple[Tensor, Tensor]:
    """Draw n of the first k handwritten digits of scikit-learn, as d principal components.

    The components are those of all samples of these classes, divided by one number, such that the
    entries of X have mean square 1. `fresh` samples are others than those of the same seed.

    Raises
    ------
    ValueError
        Unless 2 <= k <= 10, k <= n and d <= 64, and for more samples than there are.
    """
    _check_classes(k, 10, n)
    if not 1 <= d <= 64:
        raise ValueError(f"d must be from 1 to 64 pixels; got {d}")
    X, y = _components(d, k)
    order = np.random.default_rng((seed, 13)).permutation(len(y))
    chosen = order[n : 2 * n] if fresh else order[:n]
    if len(chosen) < n:
        raise ValueError(f"n must be at most {len(y) // (1 + fresh)}, of {len(y)} samples; got {n}")
    return samples(X[chosen], y[chosen], k)


@cache
def _components(d: int, k: int) -> tuple[Array, NDArray[np.int64]]:
    """The first k digits and their labels: reading them takes a third of a second."""
    from sklearn.datasets import load_digits

    pixels, y = load_digits(return_X_y=True)
    pixels, y = pixels[y < k], y[y < k]
    pixels = pixels - pixels.mean(0)
    _, vectors = np.linalg.eigh(pixels.T @ pixels)  # an SVD of all samples takes a second
    right = vectors.T[::-1][:d]
    top = np.abs(right).argmax(1)  # an eigenvector has no sign of its own
    X = pixels @ right.T * np.sign(right[range(d), top])
    X /= np.sqrt(np.square(X).mean())
    return X, y


def _check_classes(k: int, most: int, n: int) -> None:
    if not 2 <= k <= most:
        raise ValueError(f"k must be from 2 to {most} classes; got {k}")
    if n < k:
        raise ValueError(f"n must be at least k = {k} samples; got {n}")


# --- network ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """What a flat vector w means, and the loss on it; see the top of the module.

    `widths`, if given, makes it M networks at once, for w (…, M, P): the m-th has only the first
    ``widths[m]`` <= h hidden units.

    Raises
    ------
    ValueError
        For sizes below 1, another activation or loss, CE with one output, widths outside 1 to h
        and more than `LARGEST` parameters.
    """

    d: int
    h: int
    k: int
    activation: str = "relu"
    criterion: str = "CE"
    ntk: bool = False
    widths: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name, size in (("d", self.d), ("h", self.h), ("k", self.k)):
            if size != int(size) or size < 1:
                raise ValueError(f"{name} must be a whole number from 1 on; got {size}")
        for name, choice, allowed in (
            ("activation", self.activation, tuple(ACTIVATIONS)),
            ("criterion", self.criterion, LOSSES),
        ):
            if choice not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {choice!r}")
        if self.criterion == "CE" and self.k == 1:
            raise ValueError("k must be at least 2 outputs for CE, whose loss is 0 for one; got 1")
        if self.widths is not None and not (
            self.widths and all(1 <= m <= self.h for m in self.widths)
        ):
            raise ValueError(f"widths must be from 1 to h = {self.h}; got {list(self.widths)}")
        if self.size > LARGEST:
            raise ValueError(f"P = h(d + 1) + k(h + 1) must be at most {LARGEST}; got {self.size}")

    @property
    def size(self) -> int:
        """The number P of parameters."""
        return self.h * (self.d + 1) + self.k * (self.h + 1)

    def layers(self, w: Tensor) -> Layers:
        """A_1 (…, h, d + 1) and A_2 (…, k, h + 1) as views of w (…, P)."""
        d, h, k = self.d, self.h, self.k
        A1, A2 = torch.split(w, [h * (d + 1), k * (h + 1)], -1)
        return A1.view(*w.shape[:-1], h, d + 1), A2.view(*w.shape[:-1], k, h + 1)

    def present(self) -> Tensor:
        """Which parameters the networks of `widths` have, bool (M, P), or (P,) without widths.

        ``w[..., m, present[m]]`` is the vector of the m-th network alone.
        """
        widths = torch.tensor(self.h if self.widths is None else self.widths)
        mask = torch.ones((*widths.shape, self.size), dtype=torch.bool)
        A1, A2 = self.layers(mask)
        lives = torch.arange(self.h) < widths[..., None]
        A1 &= lives[..., None]
        A2[..., :-1] &= lives[..., None, :]
        return mask

    def units(self) -> Tensor:
        """Where the numbers of each hidden unit are: to it, its bias, from it, (h, d + 1 + k)."""
        A1, A2 = self.layers(torch.arange(self.size))
        return torch.cat([A1, A2[:, :-1].mT], 1)

    def normal(self, rng: np.random.Generator, *batch: int) -> Tensor:
        r"""Draw vectors N(0, I), (\*batch, P), the numbers of W1, b1, W2 and b2 in turn."""
        drawn = torch.from_numpy(rng.standard_normal((*batch, self.size)))
        d, h, k = self.d, self.h, self.k
        W1, b1, W2, b2 = torch.split(drawn, [h * d, h, k * h, k], -1)
        w = torch.empty_like(drawn)
        A1, A2 = self.layers(w)
        A1[..., :-1], A1[..., -1] = W1.view(*batch, h, d), b1
        A2[..., :-1], A2[..., -1] = W2.view(*batch, k, h), b2
        return w

    def start(self, seeds: Sequence[int]) -> Tensor:
        """Weights N(0, 1/fan-in), or N(0, 1) with `ntk`, zero biases: (S, P), or (S, M, P).

        The units of a narrower network are the first ones of a wider one, up to that factor.
        """
        w = torch.stack([self.normal(np.random.default_rng((seed, 14))) for seed in seeds])
        for A in self.layers(w):
            A[..., -1] = 0
        if self.widths is not None:
            w = w[:, None]
        return w * (self.present() if self.ntk else _fan_in(self))

    def outputs(self, w: Tensor, X: Tensor) -> Tensor:
        """The outputs f (…, n, k) of networks w (…, P)."""
        return self._forward(w, X)[2].mT

    def losses(self, w: Tensor, X: Tensor, Y: Tensor) -> Tensor:
        """Loss ℓ of every sample, (…, n)."""
        F = self.outputs(w, X)
        if self.criterion == "MSE":
            return (F - Y).square().sum(-1) / 2
        return F.logsumexp(-1) - (F * Y).sum(-1)

    def loss(self, w: Tensor, X: Tensor, Y: Tensor) -> Tensor:
        """The loss L, mean over samples, (…)."""
        return self.losses(w, X, Y).mean(-1)

    def gradient(self, w: Tensor, X: Tensor, Y: Tensor, shares: Tensor | None = None) -> Tensor:
        """Gradient of L in closed form, in the shape of w.

        `shares` (…, n) are the weights of the samples in L, 1/n each if not given.
        """
        inputs, targets, n = _each(_with_one(X).mT, w), _each(Y.mT, w), X.shape[-2]
        weights = 1 / n if shares is None else _each(shares[..., None, :], w)
        return self.gradients(w.contiguous(), n)(inputs, targets, weights)

    def gradients(self, w: Tensor, n: int) -> Gradient:
        """Return the function that gives the gradient on n samples at what w is by then.

        It takes inputs [x, 1] (R, d + 1, n), targets (R, k, n) and the weights of samples in L, a
        number or (R, 1, n), for all R networks of w. Its answer may be used again by the next call.
        """
        phi, scale = ACTIVATIONS[self.activation], self._scale(w)
        acting, slopes = w if scale is None else torch.empty_like(w), torch.empty_like(w)
        (A1, A2), (S1, S2) = (self.layers(x.view(-1, self.size)) for x in (acting, slopes))
        W2t, R = A2[..., :-1].mT, len(A1)
        Z, F = w.new_empty((R, self.h, n)), w.new_empty((R, self.k, n))
        H = w.new_ones((R, self.h + 1, n))
        Ht, units = H.mT, H[:, :-1]

        def gradient(inputs: Tensor, targets: Tensor, shares: Tensor | float) -> Tensor:
            if scale is not None:
                torch.mul(w, scale, out=acting)
            active = phi.value(torch.bmm(A1, inputs, out=Z))
            units.copy_(active)
            r = self._residual(torch.bmm(A2, H, out=F), targets).mul_(shares)
            D = torch.bmm(W2t, r, out=Z).mul_(phi.slope(active))
            # turned, as a product is quick with rows of h numbers, and not with some of d + 1
            S1.copy_(torch.bmm(inputs, D.mT).mT)
            S2.copy_(torch.bmm(r, Ht))
            return slopes if scale is None else slopes.mul_(scale)

        return gradient

    def hessian_product(
        self, w: Tensor, X: Tensor, Y: Tensor, each: bool = False
    ) -> Callable[[Tensor], Tensor]:
        """The function v ↦ ∇²L(w) v, in the shape of v: that of w, or with dimensions in front.

        With `each` it gives the product with every sample's own Hessian, (…, n, P).
        """
        phi, inputs, Yt = ACTIVATIONS[self.activation], _with_one(X), Y.mT
        A2, H, F = self._forward(w, X)
        W2, hidden, r, S = A2[..., :-1], _with_one(H.mT), self._residual(F, Yt), phi.slope(H)
        p = r + Yt  # softmax, for CE
        back = W2.mT @ r
        bend = None if phi.bend is None else phi.bend(H, S).mul_(back)

        def product(v: Tensor) -> Tensor:
            V1, V2 = self.layers(self._scaled(v, w))
            dZ = V1 @ inputs.mT
            dH = S * dZ
            dF = V2 @ hidden.mT + W2 @ dH
            dr = dF if self.criterion == "MSE" else p * (dF - (p * dF).sum(-2, keepdim=True))
            dD = (V2[..., :-1].mT @ r + W2.mT @ dr).mul_(S)
            if bend is not None:
                dD.addcmul_(bend, dZ)
            if each:
                dA1 = dD.mT[..., None] * inputs[..., None, :]
                dA2 = dr.mT[..., None] * hidden[..., None, :]
                dA2[..., :-1] += r.mT[..., None] * dH.mT[..., None, :]
            else:
                dA1, dA2 = (inputs.mT @ dD.mT).mT, dr @ hidden  # turned as above
                dA2[..., :-1] += r @ dH.mT
            flat = torch.cat([dA1.flatten(-2), dA2.flatten(-2)], -1)
            return self._scaled(flat if each else flat.div_(X.shape[-2]), w, each)

        return product

    def split(self, w: Tensor, X: Tensor, Y: Tensor) -> tuple[Tensor, Tensor]:
        """Return G and R of ∇²L = G + R, (P, P) each, of one network w (P,); G is Gauss-Newton's.

        R = mean Σ_c r_c ∇²f_c has one block for each row of `units`, and is 0 elsewhere.
        """
        phi = ACTIVATIONS[self.activation]
        A2, H, f = self._forward(w, X)
        W2, S, Q, inputs = A2[:, :-1], phi.slope(H), self._root(f), _with_one(X)
        G = self._gauss_newton(W2, S.mT, Q.mT @ Q / len(X), inputs, _with_one(H.mT))

        r = self._residual(f, Y.mT) / len(X)
        beside = torch.einsum("ci,ji,ie->jec", r, S, inputs)
        beside = torch.nn.functional.pad(beside, (self.d + 1, 0, 0, self.k))
        blocks = beside + beside.mT
        if phi.bend is not None:
            bend = phi.bend(H, S) * (W2.mT @ r)
            blocks[:, : self.d + 1, : self.d + 1] = (inputs.mT * bend[:, None]) @ inputs
        R, units = torch.zeros_like(G), self.units().to(w.device)
        R[units[:, :, None], units[:, None]] = blocks
        scale = self._scale(w)
        if scale is not None:
            for part in (G, R):
                part.mul_(scale).mul_(scale[:, None])
        return G, R

    def _gauss_newton(self, W2: Tensor, S: Tensor, C: Tensor, x: Tensor, z: Tensor) -> Tensor:
        """G of slopes S (n, h), C = ∂²ℓ/∂f²/n, inputs x (n, d + 1) and hidden z (n, h + 1)."""
        (k, h), (n, inputs) = W2.shape, x.shape
        rows = max(1, TOGETHER // (h * h))
        own, cross = W2.new_zeros((h * h, inputs**2)), W2.new_zeros((k * h, (h + 1) * inputs))
        for part in (slice(i, i + rows) for i in range(0, n, rows)):
            W = W2 * S[part, None].contiguous()
            CW = C[part] @ W
            own.addmm_((W.mT @ CW).flatten(1).mT, _outer(x[part], x[part]))
            cross.addmm_(CW.flatten(1).mT, _outer(z[part], x[part]))
        last = (C.permute(1, 2, 0)[:, :, None] * z.mT) @ z
        low, high = _in_rows(cross.view(k, h, h + 1, inputs)), _in_rows(last)
        first = _in_rows(own.view(h, h, inputs, inputs))
        return torch.cat([torch.cat([first, low.mT], 1), torch.cat([low, high], 1)])

    def factor(self, w: Tensor, X: Tensor, Y: Tensor) -> Tensor:
        """F (nk, P) with G = FᵀF/n, of one network w (P,).

        It stacks Q_i J_i, where J_i = ∂f(x_i)/∂w and ∂²ℓ/∂f² = Q_iᵀ Q_i.
        """
        A2, H, f = self._forward(w, X)
        Q, S = self._root(f), ACTIVATIONS[self.activation].slope(H).mT[:, None]
        first = (Q @ A2[:, :-1] * S)[..., None] * _with_one(X)[:, None, None]
        last = Q[..., None] * _with_one(H.mT)[:, None, None]
        return self._scaled(torch.cat([first.flatten(2), last.flatten(2)], -1).flatten(0, 1), w)

    def _root(self, f: Tensor) -> Tensor:
        """Q (n, k, k) with QᵀQ = ∂²ℓ/∂f² at outputs f (k, n): I, or diag(√p) (I - 1pᵀ) for CE."""
        eye = torch.eye(self.k).to(f)
        if self.criterion == "MSE":
            return eye.expand(f.shape[1], -1, -1)
        p = f.mT.softmax(-1)
        return p.sqrt()[..., None] * (eye - p[:, None])

    def _forward(self, w: Tensor, X: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A_2 as it acts, H = φ (…, h, n) and f (…, k, n): samples last, so they share."""
        A1, A2 = self.layers(self._scaled(w, w))
        W1, b1, W2, b2 = A1[..., :-1], A1[..., -1:], A2[..., :-1], A2[..., -1:]
        H = ACTIVATIONS[self.activation].value(W1 @ X.mT + b1)
        return A2, H, W2 @ H + b2

    def _residual(self, F: Tensor, Yt: Tensor) -> Tensor:
        """The residual r = ∂ℓ/∂f, (…, k, n)."""
        return (F if self.criterion == "MSE" else F.softmax(-2)) - Yt

    def _scale(self, w: Tensor) -> Tensor | None:
        """The s of f(s ⊙ w), (P,) or (M, P); None for ones."""
        if not self.ntk and self.widths is None:
            return None
        return _scale(self, w.dtype, w.device)

    def _scaled(self, v: Tensor, w: Tensor, each: bool = False) -> Tensor:
        scale = self._scale(w)
        return v if scale is None else v * (scale[..., None, :] if each else scale)


def _with_one(X: Tensor) -> Tensor:
    """[x, 1] for each row of X."""
    return torch.nn.functional.pad(X, (0, 1), value=1.0)


def _each(rows: Tensor, w: Tensor) -> Tensor:
    """A matrix for each network of w (*batch, P), (R, …), of one for all or of one for each."""
    return rows.expand(*w.shape[:-1], -1, -1).reshape(-1, *rows.shape[-2:])


def _outer(a: Tensor, b: Tensor) -> Tensor:
    """Products of the entries of rows a (n, p) and b (n, q), (n, pq)."""
    return (a[:, :, None] * b[:, None]).flatten(1)


def _in_rows(blocks: Tensor) -> Tensor:
    """Blocks (p, q, a, b) as one matrix (pa, qb)."""
    return blocks.transpose(1, 2).flatten(2).flatten(0, 1)


def _fan_in(net: Network) -> Tensor:
    """1/sqrt(fan-in) of the weights there are, 1 of the biases, (P,) or (M, P)."""
    scale = net.present().double()
    A1, A2 = net.layers(scale)
    A1[..., :-1] /= net.d**0.5
    widths = torch.tensor(net.h if net.widths is None else net.widths)
    A2[..., :-1] /= widths.sqrt()[..., None, None]
    return scale


@cache
@torch.inference_mode(False)  # it outlives the run that asks first
def _scale(net: Network, dtype: torch.dtype, device: torch.device) -> Tensor:
    return (_fan_in(net) if net.ntk else net.present()).to(device, dtype)


# --- descent ----------------------------------------------------------------------------------


def gradient_descent(net: Network, X: Tensor, Y: Tensor, step_size: float | Tensor) -> Update:
    """Gradient descent on L with one `step_size`, or a tensor of them, one per network."""
    pace, n = -torch.as_tensor(step_size, dtype=X.dtype, device=X.device)[..., None], X.shape[-2]

    def update(w: Tensor) -> Step:
        gradient = net.gradients(w, n)
        inputs = _each(_with_one(X).mT.contiguous(), w)
        targets = _each(Y.mT, w)
        return Steady(lambda t: w.addcmul_(gradient(inputs, targets, 1 / n), pace))

    return update


def batches(
    n: int, sizes: Sequence[int], steps: int, seeds: Sequence[int]
) -> tuple[NDArray[np.int64], Array]:
    """Which of n samples every step sees, (steps, R, b), and their shares in its loss, (R, b).

    Run r draws batches of ``sizes[r]`` from the sequence of ``seeds[r]``: reshuffled in every
    epoch, without the rest that fills no batch. b is the largest size; smaller batches are padded
    with samples of share 0.

    Raises
    ------
    ValueError
        For a size outside 1 to n, or another number of sizes than of seeds.
    """
    if len(sizes) != len(seeds) or not len(sizes):
        raise ValueError(f"sizes must be as many as seeds; got {len(sizes)} and {len(seeds)}")
    if not all(1 <= size <= n for size in sizes):
        raise ValueError(f"sizes must be from 1 to n = {n}; got {list(sizes)}")
    turns = np.zeros((steps, len(sizes), max(sizes)), np.int64)
    shares = np.zeros((len(sizes), max(sizes)))
    for r, (size, seed) in enumerate(zip(sizes, seeds, strict=True)):
        rng, each = np.random.default_rng((seed, 15)), n // size
        epochs = np.tile(np.arange(n), (-(-steps // each), 1))
        order = rng.permuted(epochs, axis=1)[:, : each * size].reshape(-1, size)
        turns[:, r, :size] = order[:steps]
        shares[r, :size] = 1 / size
    return turns, shares


def sgd(
    net: Network,
    X: Tensor,
    Y: Tensor,
    step_size: float | Tensor,
    turns: NDArray[np.int64],
    shares: Array,
) -> Update:
    """Stochastic gradient descent of R runs w (…, R, P) on the `batches`; samples X (n, d)."""
    pace = -torch.as_tensor(step_size, dtype=X.dtype, device=X.device)[..., None]
    seen, inputs = torch.from_numpy(turns).to(X.device), _with_one(X)
    parts = torch.from_numpy(shares).to(X)[:, None]

    def update(w: Tensor) -> Step:
        gradient, clock, share = net.gradients(w, parts.shape[-1]), Clock(w), _each(parts, w)

        def step(t: int) -> None:
            clock.tick(t)
            here = clock.read(seen)
            batch, targets = _each(inputs[here].mT, w), _each(Y[here].mT, w)
            w.addcmul_(gradient(batch, targets, share), pace)

        return Steady(step)

    return update


def until(update: Update, net: Network, X: Tensor, Y: Tensor, level: float) -> Update:
    """The same update, but a network whose loss is at most `level` stays where it is.

    So that networks are compared at equal loss; one more forward pass a step.
    """

    def waiting(w: Tensor) -> Step:
        plain, before, over = update(w), w.clone(), False

        def step(t: int) -> None:
            nonlocal over
            if over:
                return
            done = net.loss(w, X, Y) <= level
            over = not w.is_cuda and bool(done.all())  # a GPU is not waited for
            if not over:
                before.copy_(w)
                plain(t)
                torch.where(done[..., None], before, w, out=w)

        return around(plain, step)

    return waiting


def readings(net: Network, X: Tensor, Y: Tensor) -> Probe:
    """Return the probe of a run: ``loss`` and ``accuracy`` on the samples, (T, …) each."""
    right = Y.argmax(-1)

    def probe(w: Tensor) -> dict[str, Tensor]:
        # step by step: all hidden values of a block at once would take gigabytes
        return {
            "loss": torch.stack([net.loss(one, X, Y) for one in w]),
            "accuracy": torch.stack(
                [(net.outputs(one, X).argmax(-1) == right).to(w.dtype).mean(-1) for one in w]
            ),
        }

    return probe
