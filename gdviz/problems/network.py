r"""A small classifier, many at once: data, outputs, loss, gradient and Hessian in closed form.

.. math:: f(x) = W_2 φ(W_1 x + b_1) + b_2, \qquad L = \frac{1}{n} \sum_i ℓ(f(x_i), y_i)

from R^d over h hidden units to R^k. A network is one flat vector w of P = h(d + 1) + k(h + 1)
numbers, W1, b1, W2, b2, each row by row, and a batch of them one tensor (\*batch, P). The loss ℓ of
a sample is the cross-entropy (CE) or ||f - y||²/2, the half of the *sum* over outputs (MSE): so
descent on L is stable up to the step size 2/λ_max, with no other factor.

Let r = ∂ℓ/∂f, that is softmax(f) - y or f - y, and D = φ'(W_1 x + b_1) ⊙ W_2ᵀr. Then
∇_{W2} ℓ = r φᵀ and ∇_{W1} ℓ = D xᵀ, the biases alike without the second factor; the directional
derivative of all that (Pearlmutter's R-operator [R]) is the Hessian-vector product.

In the NTK parametrisation the weights are N(0, 1) and divided by sqrt(fan-in) in the forward pass.
Networks of several widths lie side by side in the longest vector: the forward pass multiplies what
a narrower one does not have by 0, hence nothing there has a gradient, for every activation.
Both are one diagonal matrix s, f(s ⊙ w), and the gradient is s ⊙ ∇, the Hessian s ⊙ H s.

Samples are X (n, d) and targets Y (n, k), one-hot or real; with batch dimensions in front they
belong to the networks one by one.

Source: the setting is ours, after arXiv 1706.04454, "Empirical Analysis of the Hessian of
Over-Parametrized Neural Networks" [S]; the closed forms are derived for this project [M].
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gdviz.descent import Clock, Probe, Steady, Step, Update, around

Array = NDArray[np.float64]
Layers = tuple[Tensor, Tensor, Tensor, Tensor]
"""W1, b1, W2 and b2 of networks."""

LARGEST = 3000
"""Most parameters P of a network: past that a dense Hessian takes minutes."""


class Activation(NamedTuple):
    """A function φ with φ' as a function of φ, and φ'' as one of φ and φ'; None for zero."""

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    bend: Callable[[Tensor, Tensor], Tensor] | None


ACTIVATIONS: Mapping[str, Activation] = {
    "relu": Activation(torch.relu, lambda H: (H > 0).to(H.dtype), None),  # almost everywhere
    "tanh": Activation(torch.tanh, lambda H: 1 - H * H, lambda H, S: -2 * H * S),
    "softplus": Activation(
        torch.nn.functional.softplus, lambda H: -torch.expm1(-H), lambda H, S: S * (1 - S)
    ),
}
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
        """W1 (…, h, d), b1 (…, h), W2 (…, k, h) and b2 (…, k) as views of w (…, P)."""
        d, h, k = self.d, self.h, self.k
        W1, b1, W2, b2 = torch.split(w, [h * d, h, k * h, k], -1)
        return W1.view(*b1.shape, d), b1, W2.view(*b2.shape, h), b2

    def present(self) -> Tensor:
        """Which parameters the networks of `widths` have, bool (M, P), or (P,) without widths.

        ``w[..., m, present[m]]`` is the vector of the m-th network alone.
        """
        widths = torch.tensor(self.h if self.widths is None else self.widths)
        mask = torch.ones((*widths.shape, self.size), dtype=torch.bool)
        W1, b1, W2, _ = self.layers(mask)
        lives = torch.arange(self.h) < widths[..., None]
        b1 &= lives
        W1 &= lives[..., None]
        W2 &= lives[..., None, :]
        return mask

    def start(self, seeds: Sequence[int]) -> Tensor:
        """Weights N(0, 1/fan-in), or N(0, 1) with `ntk`, zero biases: (S, P), or (S, M, P).

        The units of a narrower network are the first ones of a wider one, up to that factor.
        """
        drawn = np.stack(
            [np.random.default_rng((seed, 14)).standard_normal(self.size) for seed in seeds]
        )
        w = torch.from_numpy(drawn)
        _, b1, _, b2 = self.layers(w)
        b1.zero_()
        b2.zero_()
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
        return self.gradients(w.contiguous())(X, Y, shares)

    def gradients(self, w: Tensor) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
        """Return the function of X, Y and shares that gives the gradient at what w is by then.

        Its answer may be used again by the next call.
        """
        phi, scale = ACTIVATIONS[self.activation], self._scale(w)
        acting, slopes = w if scale is None else torch.empty_like(w), torch.empty_like(w)
        layers = self.layers(acting)
        W2t = layers[2].mT
        to_W1, to_b1, to_W2, to_b2 = self.layers(slopes)

        def gradient(X: Tensor, Y: Tensor, shares: Tensor | None) -> Tensor:
            if scale is not None:
                torch.mul(w, scale, out=acting)
            H, F = self._pass(layers, X)
            r = self._residual(F, Y)
            r.mul_(1 / X.shape[-2] if shares is None else shares[..., None, :])
            D = (W2t @ r).mul_(phi.slope(H))
            to_W1.copy_(D @ X)
            torch.sum(D, -1, out=to_b1)
            to_W2.copy_(r @ H.mT)
            torch.sum(r, -1, out=to_b2)
            return slopes if scale is None else slopes.mul_(scale)

        return gradient

    def hessian_product(
        self, w: Tensor, X: Tensor, Y: Tensor, each: bool = False
    ) -> Callable[[Tensor], Tensor]:
        """The function v ↦ ∇²L(w) v, in the shape of v: that of w, or with dimensions in front.

        With `each` it gives the product with every sample's own Hessian, (…, n, P).
        """
        phi, (_, _, W2, _) = ACTIVATIONS[self.activation], self.layers(self._scaled(w, w))
        _, H, F = self._forward(w, X)
        r, S, Xt = self._residual(F, Y), phi.slope(H), X.mT
        p = r + Y.mT  # softmax, for CE
        back = W2.mT @ r
        bend = None if phi.bend is None else phi.bend(H, S).mul_(back)

        def product(v: Tensor) -> Tensor:
            V1, c1, V2, c2 = self.layers(self._scaled(v, w))
            dZ = V1 @ Xt + c1[..., None]
            dH = S * dZ
            dF = V2 @ H + W2 @ dH + c2[..., None]
            dr = dF if self.criterion == "MSE" else p * (dF - (p * dF).sum(-2, keepdim=True))
            dD = (V2.mT @ r + W2.mT @ dr).mul_(S)
            if bend is not None:
                dD += bend * dZ
            if each:
                dD, dr, dHt, rt = dD.mT, dr.mT, dH.mT, r.mT
                dW2 = dr[..., None] * H.mT[..., None, :] + rt[..., None] * dHt[..., None, :]
                return self._scaled(_flat(dD[..., None] * X[..., None, :], dD, dW2, dr), w, True)
            dW2 = dr @ H.mT + r @ dH.mT
            mean = _flat(dD @ X, dD.sum(-1), dW2, dr.sum(-1)).div_(X.shape[-2])
            return self._scaled(mean, w)

        return product

    def split(self, w: Tensor, X: Tensor, Y: Tensor) -> tuple[Tensor, Tensor]:
        """Return F (nk, P) and R (P, P) with ∇²L = G + R, G = FᵀF/n, of one network w (P,).

        F stacks S_iᵀ J_i, J_i = ∂f(x_i)/∂w, with S = I (MSE) or diag(√p) - p√pᵀ (CE). Of
        R = mean Σ_c r_c ∇²f_c only the blocks of a hidden unit with itself and with its own output
        weights are not 0.
        """
        phi, n = ACTIVATIONS[self.activation], len(X)
        (_, _, W2, _), H, f = self._forward(w, X)
        S, r = phi.slope(H), self._residual(f, Y)
        inputs = torch.cat([X, X.new_ones(n, 1)], 1)
        index = torch.arange(self.size, device=w.device)
        W1, b1, V, b2 = self.layers(index)
        own = torch.cat([W1, b1[:, None]], 1)  # of each hidden unit, (h, d + 1)

        J = w.new_zeros((n, self.k, self.size))
        J[:, :, own] = (W2[:, :, None] * S)[..., None].permute(2, 0, 1, 3) * inputs[:, None, None]
        for c in range(self.k):
            J[:, c, V[c]], J[:, c, b2[c]] = H.mT, 1.0
        if self.criterion == "CE":
            p = f.softmax(0).mT[:, None]
            J.sub_(p @ J).mul_(p.mT.sqrt())

        R = w.new_zeros((self.size, self.size))
        cross = torch.einsum("ci,ji,ie->jec", r, S, inputs) / n
        R[own[:, :, None], V.mT[:, None, :]] = cross
        R[V.mT[:, :, None], own[:, None, :]] = cross.mT
        if phi.bend is not None:
            bend = phi.bend(H, S) * (W2.mT @ r) / n
            R[own[:, :, None], own[:, None, :]] = (inputs.mT * bend[:, None]) @ inputs
        F, scale = J.flatten(0, 1), self._scale(w)
        return (F, R) if scale is None else (F.mul_(scale), R.mul_(scale).mul_(scale[:, None]))

    def _forward(self, w: Tensor, X: Tensor) -> tuple[Layers, Tensor, Tensor]:
        """The layers that act, and what `_pass` gives of them."""
        layers = self.layers(self._scaled(w, w))
        return layers, *self._pass(layers, X)

    def _pass(self, layers: Layers, X: Tensor) -> tuple[Tensor, Tensor]:
        """H = φ (…, h, n) and f (…, k, n): samples last, so they share."""
        W1, b1, W2, b2 = layers
        H = ACTIVATIONS[self.activation].value(W1 @ X.mT + b1[..., None])
        return H, W2 @ H + b2[..., None]

    def _residual(self, F: Tensor, Y: Tensor) -> Tensor:
        """The residual r = ∂ℓ/∂f, (…, k, n)."""
        return (F if self.criterion == "MSE" else F.softmax(-2)) - Y.mT

    def _scale(self, w: Tensor) -> Tensor | None:
        """The s of f(s ⊙ w), (P,) or (M, P); None for ones."""
        if not self.ntk and self.widths is None:
            return None
        return _scale(self, w.dtype, w.device)

    def _scaled(self, v: Tensor, w: Tensor, each: bool = False) -> Tensor:
        scale = self._scale(w)
        return v if scale is None else v * (scale[..., None, :] if each else scale)


def _flat(W1: Tensor, b1: Tensor, W2: Tensor, b2: Tensor) -> Tensor:
    return torch.cat([W1.flatten(-2), b1, W2.flatten(-2), b2], -1)


def _fan_in(net: Network) -> Tensor:
    """1/sqrt(fan-in) of the weights there are, 1 of the biases, (P,) or (M, P)."""
    scale = net.present().double()
    W1, _, W2, _ = net.layers(scale)
    W1 /= net.d**0.5
    W2 /= torch.tensor(net.h if net.widths is None else net.widths).sqrt()[..., None, None]
    return scale


@cache
def _scale(net: Network, dtype: torch.dtype, device: torch.device) -> Tensor:
    return (_fan_in(net) if net.ntk else net.present()).to(device, dtype)


# --- descent ----------------------------------------------------------------------------------


def gradient_descent(net: Network, X: Tensor, Y: Tensor, step_size: float | Tensor) -> Update:
    """Gradient descent on L with one `step_size`, or a tensor of them, one per network."""
    pace = -torch.as_tensor(step_size, dtype=X.dtype, device=X.device)[..., None]

    def update(w: Tensor) -> Step:
        gradient = net.gradients(w)
        return Steady(lambda t: w.addcmul_(gradient(X, Y, None), pace))

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
    seen, share = torch.from_numpy(turns).to(X.device), torch.from_numpy(shares).to(X)

    def update(w: Tensor) -> Step:
        gradient, clock = net.gradients(w), Clock(w)

        def step(t: int) -> None:
            clock.tick(t)
            here = clock.read(seen)
            w.addcmul_(gradient(X[here], Y[here], share), pace)

        return Steady(step)

    return update


def until(update: Update, net: Network, X: Tensor, Y: Tensor, level: float) -> Update:
    """The same update, but a network whose loss is at most `level` stays where it is.

    So that networks are compared at equal loss; one more forward pass a step.
    """

    def waiting(w: Tensor) -> Step:
        plain, before = update(w), w.clone()

        def step(t: int) -> None:
            done = net.loss(w, X, Y) <= level
            if w.is_cuda or not done.all():  # a GPU is not waited for
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
