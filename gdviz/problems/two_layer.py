r"""Two-layer networks of many widths in one batch, and a weak and a strong way to train them.

.. math:: f(x) = \sum_{j=1}^h a_j φ(w_j·x), \qquad w_j \sim s N(0, I/d), \quad a_j \sim s N(0, 1/h)

Both layers learn the loss Σ_i (f(x_i) - y_i)²/2n; there are h(d + 1) parameters, so n samples are
fitted from h = n/(d + 1) on. With H = φ(Wxᵀ), A = a ⊙ φ'(Wxᵀ), both (h, n), and r = f - y,

.. math:: ∇_a = Hr/n, \qquad ∇_W = A \, diag(r) X/n .

The weights of all networks are one tensor (S, M, h, d + 1) for S seeds and M widths: row j is
neuron j, w_j and then a_j. A network of fewer neurons has rows of zeros. They stay exactly zero,
as w_j = a_j = 0 makes both gradients vanish. Samples X (S, n, d) and labels y (S, n).

Source: the setting is ours, after arXiv 2312.03951, "Understanding the Role of Optimization in
Double Descent", of which the abstract was read; the closed forms are derived for this project [M].
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gdviz.descent import Probe, Steady, Step, Update
from gdviz.problems import activation as activations

Array = NDArray[np.float64]

ACTIVATIONS = {name: activations.ACTIVATIONS[name] for name in ("tanh", "relu")}
"""Those with φ(0) = 0: rows of zeros add nothing to f."""


def linear_teacher(
    n: int, d: int, noise: float, seeds: Sequence[int], tests: int = 1000
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Samples of y = β·x + σε and noise-free tests: X (S, n, d), y (S, n), tests (S, N, d), (S, N).

    x ~ N(0, I), β uniform on the unit sphere, `noise` σ.
    """
    drawn: list[tuple[Array, Array, Array, Array]] = []
    for seed in seeds:
        rng, fresh = np.random.default_rng((seed, 5)), np.random.default_rng((seed, 6))
        X, b = rng.standard_normal((n, d)), rng.standard_normal(d)
        b /= np.linalg.norm(b)
        X_test = fresh.standard_normal((tests, d))
        drawn.append((X, X @ b + noise * rng.standard_normal(n), X_test, X_test @ b))
    samples, labels, inputs, truth = (
        torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True)
    )
    return samples, labels, inputs, truth


def start(widths: Sequence[int], d: int, scale: float, seeds: Sequence[int]) -> Tensor:
    """Neurons w_j ~ scale N(0, I/d), a_j ~ scale N(0, 1/h), (S, M, h_max, d + 1); nested."""
    if not len(widths) or not all(h == int(h) and h >= 1 for h in widths):
        raise ValueError(f"widths must be whole numbers from 1 on; got {list(widths)}")
    h = np.asarray(widths, int)[:, None]
    drawn = np.stack(
        [np.random.default_rng((s, 4)).standard_normal((int(h.max()), d + 1)) for s in seeds]
    )
    theta = np.repeat(scale * drawn[:, None], len(h), axis=1)
    theta *= (np.arange(h.max()) < h)[..., None]
    theta[..., :-1] /= np.sqrt(d)
    theta[..., -1] /= np.sqrt(h)
    return torch.from_numpy(theta)


def hidden(theta: Tensor, X: Tensor, activation: str) -> Tensor:
    """φ(w_j·x) of weights (…, S, M, h, d + 1) and samples (S, n, d): (…, S, M, h, n)."""
    phi = _activation(activation).value
    W = theta[..., :-1].flatten(-3, -2)  # one product for all models: they share the samples
    return phi(W @ X.mT).reshape(*theta.shape[:-1], -1)


def _activation(name: str) -> activations.Activation:
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {name!r}")
    return ACTIVATIONS[name]


def output(theta: Tensor, X: Tensor, activation: str) -> Tensor:
    """f(x) = Σ_j a_j φ(w_j·x), (…, S, M, n)."""
    return _summed(theta, hidden(theta, X, activation))


def _summed(theta: Tensor, H: Tensor) -> Tensor:
    """Σ_j a_j H_j of hidden values H (…, S, M, h, n): (…, S, M, n)."""
    a = theta[..., None, :, -1].contiguous()  # of others, torch copies row after row
    return (a @ H).squeeze(-2)


def gradient_descent(
    X: Tensor, y: Tensor, activation: str, step_size: float, momentum: float = 0.0
) -> Update:
    """Gradient descent with a heavy ball, v ← βv + ∇, θ ← θ - ηv, on (S, M, h, d + 1).

    Only the K neurons that there are take part, those of all networks side by side: rows of zeros
    would be most of the work where widths differ.
    """
    phi = _activation(activation)

    def update(theta: Tensor) -> Step:
        there, rows = theta.any(-1).any(0), theta.flatten(1, 2)
        at, net = there.flatten().nonzero().flatten(), there.nonzero()[:, 0]
        packed = rows[:, at]  # (S, K, d + 1)
        W, a = torch.split(packed, [X.shape[-1], 1], -1)
        own = net == torch.arange(len(there), device=net.device)[:, None]
        velocity, gradient = torch.zeros_like(packed), torch.empty_like(packed)
        to_W, to_a = torch.split(gradient, [X.shape[-1], 1], -1)

        def step(t: int) -> None:
            H = phi.value(W @ X.mT)
            # a diverged network is not to reach others, and 0 times ∞ would be NaN
            f = a.mT.where(own, 0) @ H.nan_to_num()  # (S, M, n)
            r = ((f - y[:, None]) / y.shape[-1]).index_select(1, net)
            torch.sum(H * r, -1, keepdim=True, out=to_a)
            to_W.copy_(phi.slope(H).mul_(r).mul_(a) @ X)
            velocity.mul_(momentum).add_(gradient)
            packed.sub_(velocity, alpha=step_size)
            rows.index_copy_(1, at, packed)

        return Steady(step)

    return update


def levenberg_marquardt(X: Tensor, y: Tensor, activation: str) -> Update:
    """Levenberg–Marquardt on each network: the very strong optimiser.

    Solves (JJᵀ + μI) z = f - y in the n samples and steps by -Jᵀz, with the tangent Gram matrix
    JJᵀ = HᵀH + (AᵀA) ⊙ XXᵀ, A_j = a_j φ'(w_j·x). A step that lowers the error is taken and
    μ divided by 3 (to 1e-9), any other is dropped and μ doubled (to 1e6); μ starts at 1. Runs do
    not disturb each other: a system that cannot be solved is a step that is not taken.
    """
    XXt, target = (X @ X.mT)[:, None], y[:, None]
    slope_of = _activation(activation).slope

    def look(theta: Tensor) -> tuple[Tensor, Tensor]:
        H = hidden(theta, X, activation)
        return H, _summed(theta, H) - target

    def update(theta: Tensor) -> Step:
        # H and r are those at the weights: a step that is taken brings its own
        mu, (H, r) = theta.new_ones(theta.shape[:2]), look(theta)

        def step(t: int) -> None:
            A = slope_of(H).mul_(theta[..., -1:])
            gram = (A.mT @ A).mul_(XXt).add_(H.mT @ H)
            gram.diagonal(dim1=-2, dim2=-1).add_(mu[..., None])
            factor, _ = torch.linalg.cholesky_ex(gram)
            z = torch.cholesky_solve(r[..., None], factor)
            tried = torch.empty_like(theta)
            tried[..., :-1] = (A.mul_(z.mT).flatten(1, 2) @ X).view_as(theta[..., :-1])
            tried[..., -1:] = H @ z
            tried = theta - tried
            H_tried, r_tried = look(tried)
            better = r_tried.square().sum(-1) < r.square().sum(-1)  # false for NaN
            torch.where(better, (mu / 3).clamp_min_(1e-9), (2 * mu).clamp_max_(1e6), out=mu)
            for new, old in ((tried, theta), (H_tried, H), (r_tried, r)):
                torch.where(better.view(*better.shape, *[1] * (old.ndim - 2)), new, old, out=old)

        return step  # not steady: on a GPU, solving a batch takes memory in ways of its own

    return update


def readings(X: Tensor, y: Tensor, X_test: Tensor, y_test: Tensor, activation: str) -> Probe:
    """Return the probe of a run: mean squared errors ``train`` and ``risk``, each (T, S, M).

    Test samples (S, N, d) with labels (S, N); noise-free ones make it the excess risk.
    """

    def probe(theta: Tensor) -> dict[str, Tensor]:
        def error(inputs: Tensor, labels: Tensor) -> Tensor:
            # step by step: all hidden values of a block at once would take gigabytes
            return torch.stack(
                [(output(one, inputs, activation) - labels[:, None]).square().mean(-1)
                 for one in theta]
            )  # fmt: skip

        return {"train": error(X, y), "risk": error(X_test, y_test)}

    return probe
