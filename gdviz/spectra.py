r"""Spectra of Hessians: products, exact matrices, Lanczos, densities, traces and outliers.

A loss is any function of one flat vector w (P,) that returns a scalar; `functional` turns a module
into a function of its flat parameters. Everything else works on an `Operator`, a symmetric matrix A
of which only products are known, such as the Hessian H = ∇²L(w) that `hvp` gives::

    w, model = functional(module)
    H = hvp(lambda w: cross_entropy(model(w, X), y), w)
    values, vectors = top(H, 5, seed=0)

Device and dtype follow w; tolerances are written for float64 and widen with the dtype. Vectors are
rows: a batch of b is (b, P). Hessians are those of automatic differentiation: at a kink of a relu
the one of a side.

Source: Lanczos, stochastic Lanczos quadrature, Hutchinson and Hutch++ as in the literature [R]; the
rule for outliers and the checks are ours [M].
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from gdviz.watch import Watch, part, unwatched

Loss = Callable[[Tensor], Tensor]
"""A function of one flat vector (P,), giving a floating-point scalar."""

CHUNK = 32
"""Products taken at once: more no longer fit the cache, fewer pay for the calls."""
MOST_PARAMETERS = 5000
"""Largest P of an exact matrix, 200 MB of float64 and some minutes."""
MOST_ELEMENTS = 2**26
"""Largest number of elements of a factor or a basis, 512 MB of float64."""
ROOM = 240
"""Basis vectors of `top` before it restarts, if there is memory; more cost more than they save."""
ENDS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "largest": torch.neg,
    "smallest": torch.clone,
    "magnitude": lambda theta: -theta.abs(),
}
"""Ends of a spectrum, with what rises along it."""
KINDS = ("cross-entropy", "mse")
"""Losses with a closed Gauss–Newton matrix: mean cross-entropy, mean of Σ_c (f_c - y_c)²/2."""


# --- products ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operator:
    """A symmetric matrix A (P, P) known by its products.

    `rows` takes (b, P) to the products (b, P); `like` (P,) only says size, dtype and device.
    """

    rows: Callable[[Tensor], Tensor]
    like: Tensor

    def __len__(self) -> int:
        return len(self.like)

    def __call__(self, v: Tensor) -> Tensor:
        """A v, for v (P,) or rows (b, P), in the shape of v.

        Raises
        ------
        ValueError
            For another shape, dtype or device, or if the product is not finite.
        """
        if v.ndim not in (1, 2) or v.shape[-1] != len(self):
            raise ValueError(f"v must be (P,) or (b, P) with P = {len(self)}; got {tuple(v.shape)}")
        if (v.dtype, v.device) != (self.like.dtype, self.like.device):
            raise ValueError(f"v must be {self.like.dtype} on {self.like.device}, as w is; "
                             f"got {v.dtype} on {v.device}")  # fmt: skip
        product = self.rows(v.reshape(-1, len(self))).reshape(v.shape)
        if not product.isfinite().all():
            raise ValueError("the product A v must be finite; got NaN or infinity")
        return product

    def matrix(self, watch: Watch = unwatched) -> Tensor:
        """All of A (P, P), by products with the unit vectors, made exactly symmetric.

        Raises
        ------
        ValueError
            For more than `MOST_PARAMETERS`.
        """
        P = len(self)
        if P > MOST_PARAMETERS:
            raise ValueError(f"P must be at most {MOST_PARAMETERS} for an exact matrix; got {P}: "
                             "lower the width of the network, or use top and slq")  # fmt: skip
        A = self.like.new_empty((P, P))
        for i in range(0, P, CHUNK):
            watch(i / P)
            unit = self.like.new_zeros((min(CHUNK, P - i), P))
            unit.diagonal(i).fill_(1)
            A[i : i + CHUNK] = self(unit)
        watch(1)
        return (A + A.T).mul_(0.5)


def hvp(loss: Loss, w: Tensor) -> Operator:
    r"""Hessian-vector products v ↦ ∇²L(w) v at the fixed point w (P,).

    The gradient is built once with its graph, g(w), and each product is one more backward pass,
    ∇_w(g·v); batches go through in one pass. Keeps the graph, and with it its memory, alive.

    Raises
    ------
    ValueError
        If w is no finite float32 or float64 vector; if the loss is no finite scalar of that dtype,
        does not depend on w, changes w, is not the same at a second evaluation, cannot be
        differentiated twice, or if its second derivative is not symmetric, or all zero beside a
        gradient that changes: what detached parts and gradients written by hand mostly lead to.
    """
    point = _point(w)
    with torch.enable_grad():
        value = _evaluate(loss, point, w)
        if value.ndim:
            raise ValueError(f"loss must return a scalar; got shape {tuple(value.shape)}")
        try:
            (g,) = torch.autograd.grad(value, point, create_graph=True)
            A = Operator(lambda V: _pull(g, point, V) if g.requires_grad else 0 * V, point.detach())
            _check_symmetry(A, loss, g)
        except RuntimeError as error:
            raise ValueError(f"loss must be differentiable twice: {error}") from error
    return A


def hessian(loss: Loss, w: Tensor, watch: Watch = unwatched) -> Tensor:
    """Return the exact Hessian ∇²L(w), (P, P) and symmetric; errors of `hvp`, `Operator.matrix`."""
    return hvp(loss, w).matrix(watch)


def functional(module: torch.nn.Module) -> tuple[Tensor, Callable[..., Any]]:
    """Trainable parameters of a module as one vector w (P,), and its output ``model(w, *inputs)``.

    The module is copied and put into evaluation mode, where dropout is off and batch normalisation
    uses its running statistics. Frozen parameters stay as they are; shared ones count once; buffers
    begin each call as they were. Attention runs unfused, since the fused one has one derivative.

    Raises
    ------
    TypeError
        If it is no module.
    ValueError
        Without trainable parameters, or if they differ in dtype or device or are not there yet.
    """
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module must be a torch.nn.Module; got {type(module).__name__}")
    if any(torch.nn.parameter.is_lazy(x) for x in (*module.parameters(), *module.buffers())):
        raise ValueError("module must know its shapes: call it once before")
    module = deepcopy(module).eval()
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if not trained:
        raise ValueError("module must have parameters that require a gradient; got none")
    kinds = {(p.dtype, p.device) for p in trained.values()}
    if len(kinds) > 1:
        raise ValueError(
            f"parameters must have one dtype and device; got {sorted(map(str, kinds))}"
        )
    sizes = [p.numel() for p in trained.values()]
    w = torch.cat([p.detach().reshape(-1) for p in trained.values()])

    def model(w: Tensor, *inputs: Any) -> Any:
        if w.shape != (sum(sizes),):
            raise ValueError(f"w must have shape ({sum(sizes)},); got {tuple(w.shape)}")
        pieces = {
            n: x.view_as(p)
            for (n, p), x in zip(trained.items(), torch.split(w, sizes), strict=True)
        }
        buffers = {name: b.clone() for name, b in module.named_buffers()}
        with sdpa_kernel(SDPBackend.MATH):
            return torch.func.functional_call(module, {**buffers, **pieces}, inputs)

    return w, model


# --- the Gauss–Newton split -------------------------------------------------------------------


@dataclass(frozen=True)
class GaussNewton:
    """The Gauss–Newton matrix G = FᵀF/n of n samples and k outputs, by its `factor` F (nk, P)."""

    factor: Tensor
    n: int

    def operator(self) -> Operator:
        """G by its products."""
        F = self.factor
        return Operator(lambda V: (V @ F.T) @ F / self.n, F[0])

    def matrix(self) -> Tensor:
        """G (P, P)."""
        return self.factor.T @ self.factor / self.n

    def eigenvalues(self) -> Tensor:
        """All P eigenvalues, ascending; from FFᵀ/n and zeros if nk < P."""
        F = self.factor
        rank = min(F.shape)
        gram = F @ F.T if rank < F.shape[1] else F.T @ F
        zeros = F.new_zeros(F.shape[1] - rank)
        return torch.cat([torch.linalg.eigvalsh(gram / self.n), zeros]).sort().values


class Split(NamedTuple):
    """H = G + R, each (P, P): the Hessian, its Gauss–Newton part, and the residual part."""

    H: Tensor
    G: Tensor
    R: Tensor


def criterion(outputs: Loss, labels: Tensor, kind: str) -> Loss:
    """The loss of the outputs f(w) (n, k), averaged over samples; one of `KINDS`.

    ``cross-entropy``: -log softmax(f)_y, labels (n,) whole numbers below k.
    ``mse``: Σ_c (f_c - y_c)²/2, labels (n, k).

    Raises
    ------
    ValueError
        For another kind; and, when evaluated, for outputs and labels that do not fit.
    """
    _check_kind(kind)

    def loss(w: Tensor) -> Tensor:
        f = _matrix_of(outputs(w))
        wanted = f.shape[:1] if kind == "cross-entropy" else f.shape
        if labels.shape != wanted:
            raise ValueError(f"labels must have shape {tuple(wanted)}; got {tuple(labels.shape)}")
        if kind == "mse":
            return (f - labels).square().sum() / (2 * len(f))
        if labels.is_floating_point() or labels.min() < 0 or labels.max() >= f.shape[1]:
            raise ValueError(f"labels must be whole numbers from 0 to {f.shape[1] - 1}")
        return torch.nn.functional.cross_entropy(f, labels.long())

    return loss


def gauss_newton(outputs: Loss, w: Tensor, kind: str, watch: Watch = unwatched) -> GaussNewton:
    r"""The Gauss–Newton part G = Σ_i J_iᵀ A_i J_i/n of the Hessian, by its factor.

    J_i = ∂f(x_i)/∂w (k, P) of the outputs f(w) (n, k). The Hessian A_i of the loss in f is I for
    ``mse`` and diag(p) - ppᵀ for ``cross-entropy``, p = softmax f. The latter is SSᵀ with
    S = diag(√p) - p√pᵀ, exactly and without an eigendecomposition, so that F stacks S_iᵀJ_i. Labels
    play no part. The Jacobian comes by rows or by columns, whichever are fewer.

    Raises
    ------
    ValueError
        For another kind, outputs that are no floating-point matrix, or nk·P above `MOST_ELEMENTS`.
    """
    _check_kind(kind)
    point = _point(w)
    with torch.enable_grad():
        f = _matrix_of(_evaluate(outputs, point, w))
        n, k = f.shape
        P = len(w)
        if n * k * P > MOST_ELEMENTS:
            raise ValueError(f"n k P must be at most {MOST_ELEMENTS}; "
                             f"got {n} · {k} · {P}: lower the samples or the width")  # fmt: skip
        J = w.new_empty((n * k, P))
        by_rows = n * k <= P
        # Backwards through the backward pass: its derivative in the cotangent u is forwards.
        x, y = point, f
        if not by_rows:
            x = torch.zeros_like(f, requires_grad=True)
            (y,) = torch.autograd.grad(f, point, x, create_graph=True)
        size = y.numel()
        for i in range(0, size, CHUNK):
            watch(i / size)
            unit = w.new_zeros((min(CHUNK, size - i), size))
            unit.diagonal(i).fill_(1)
            rows = _pull(y, x, unit.view(-1, *y.shape)).flatten(1)
            if by_rows:
                J[i : i + CHUNK] = rows
            else:
                J[:, i : i + CHUNK] = rows.T
    watch(1)
    if kind == "mse":
        return GaussNewton(J, n)
    p = f.detach().softmax(-1)
    S = p.sqrt().diag_embed() - p[:, :, None] * p.sqrt()[:, None]
    return GaussNewton((S.mT @ J.view(n, k, P)).view(n * k, P), n)


def split(outputs: Loss, w: Tensor, labels: Tensor, kind: str, watch: Watch = unwatched) -> Split:
    """H = G + R of `criterion`; R = Σ_ic r_ic ∇²f_c(x_i)/n with r = p - y or f - y.

    Errors of `criterion`, `hessian` and `gauss_newton`.
    """
    H = hessian(criterion(outputs, labels, kind), w, part(watch, 0, 0.7))
    G = gauss_newton(outputs, w, kind, part(watch, 0.7, 1)).matrix()
    return Split(H, G, H - G)


# --- Lanczos ----------------------------------------------------------------------------------


class Lanczos(NamedTuple):
    """A Lanczos run of r steps, A Vᵀ ≈ Vᵀ T with a tridiagonal T.

    `alpha` (r,) is the diagonal of T, `beta` (r,) stands beside it, and its last is the norm of
    what is left over: 0 if the run ended in an invariant space. `basis` V (r, P), orthonormal rows.
    """

    alpha: Tensor
    beta: Tensor
    basis: Tensor

    def ritz(self) -> tuple[Tensor, Tensor, Tensor]:
        """Ritz values θ (r,), ascending, unit vectors x (r, P) and residuals ||Ax - θx|| (r,)."""
        theta, s = _decompose(self.alpha, self.beta)
        return theta, s.T @ self.basis, self.beta[-1] * s[-1].abs()


def lanczos(
    A: Operator, steps: int, seed: int, start: Tensor | None = None, watch: Watch = unwatched
) -> Lanczos:
    """Lanczos from random signs, or from `start` (P,); with full reorthogonalisation in two passes.

    At most P steps. Ends early where β falls below 1e-12 of the largest entry of T so far, as the
    start then has parts in no more eigenspaces. Finds each eigenvalue once; `top` counts them.

    Raises
    ------
    ValueError
        For steps below 1, a start that is zero or does not fit, or products that are not finite.
    """
    if start is None:
        (start,) = signs(A, 1, seed)
    if start.shape != A.like.shape:
        raise ValueError(f"start must be ({len(A)},); got {tuple(start.shape)}")
    return _krylov(A, start[None], steps, watch)[0]


def _krylov(A: Operator, starts: Tensor, steps: int, watch: Watch) -> list[Lanczos]:
    """Lanczos runs from the rows of `starts` (b, P), in step."""
    _at_least("steps", steps, 1)
    norm = starts.norm(dim=-1, keepdim=True)
    if not (norm > 0).all():
        raise ValueError("start must not be zero")
    b, P = starts.shape
    steps = min(steps, P)
    q, V = starts / norm, starts.new_empty((b, steps, P))
    alpha, beta = starts.new_zeros((2, b, steps))
    for j in range(steps):
        watch(j / steps)
        V[:, j] = q
        rest = A(q)
        alpha[:, j] = (rest * q).sum(-1)
        rest = without(rest, V[:, : j + 1])
        left = rest.norm(dim=-1)
        scale = torch.maximum(alpha.abs(), beta).amax(-1)
        # A run at its end goes on with zeros, which change nothing, until the others are there.
        beta[:, j] = left.where(left > _tiny(rest) * scale, 0)
        if not beta[:, j].any():
            break
        q = rest.div_(left[:, None]).where(beta[:, j, None] > 0, 0)
    watch(1)
    ends = ((beta[:, :-1] > 0).cumprod(-1).sum(-1) + 1).tolist()
    return [Lanczos(alpha[i, :r], beta[i, :r], V[i, :r]) for i, r in enumerate(ends)]


def without(v: Tensor, basis: Tensor) -> Tensor:
    """Take from v (…, P) its part in the span of the orthonormal rows of `basis` (…, k, P).

    Twice, as once leaves 1e-8 when much cancels; and with v as a row, as a batch of products with
    columns takes two to four times as long.
    """
    for _ in range(2):
        v = v - (v[..., None, :] @ basis.mT @ basis)[..., 0, :]
    return v


class Eigenpairs(NamedTuple):
    """Eigenvalues (k,), and orthonormal eigenvectors as rows (k, P)."""

    values: Tensor
    vectors: Tensor


def top(
    A: Operator,
    k: int,
    seed: int,
    end: str = "largest",
    tolerance: float = 1e-10,
    most: int = 20_000,
    watch: Watch = unwatched,
) -> Eigenpairs:
    """The first k eigenpairs from an `end` of the spectrum, by block Lanczos with thick restarts.

    Ends are ``largest`` (descending), ``smallest`` (ascending, the most negative first) and
    ``magnitude`` (descending modulus). A block of k random vectors has parts in k dimensions of
    every eigenspace, so that repeated eigenvalues are found as often as they occur. Stops when no
    eigenvalue is off by more than `tolerance` times its modulus, or 64 roundings of the largest:
    the error is at most the residual ||Ax - θx||, and at most Σ||Ax - θx||² over the gap to the
    others. The vectors are then good to the root of the tolerance.

    Raises
    ------
    ValueError
        For another end, k outside 1 … P, or products that are not finite.
    RuntimeError
        If `most` products were not enough.
    """
    if end not in ENDS:
        raise ValueError(f"end must be one of {', '.join(ENDS)}; got {end!r}")
    P = len(A)
    if not 1 <= k <= P:
        raise ValueError(f"k must be between 1 and {P}; got {k}")
    room = min(P, max(6 * k, min(ROOM, MOST_ELEMENTS // P)))
    Q, T = A.like.new_empty((room, P)), A.like.new_zeros((room, room))
    roundoff = 64 * torch.finfo(T.dtype).eps
    block = torch.from_numpy(np.random.default_rng((seed, 2)).standard_normal((P, k))).to(A.like)
    block = torch.linalg.qr(block).Q.T
    r = products = 0
    while True:
        watch(min(products / most, 1))
        b = len(block)
        Q[r : r + b] = block
        rest = A(block)
        r, products = r + b, products + b
        T[r - b : r, :r] = rest @ Q[:r].T  # only the lower triangle is read
        rest = rest - T[r - b : r, :r] @ Q[:r]
        U, left, block = torch.linalg.svd(rest, full_matrices=False)
        theta, s = torch.linalg.eigh(T[:r, :r])
        order = ENDS[end](theta).argsort(stable=True)
        theta, s = theta[order], s[:, order]
        scale = theta.abs().max()
        residual = (s[r - b :].T @ (U * left)).norm(dim=-1)
        block = block[left > _tiny(T) * scale]
        error = _errors(theta, residual, k)
        if not len(block) or (error <= tolerance * theta[:k].abs() + roundoff * scale).all():
            watch(1)
            return Eigenpairs(theta[:k], s[:, :k].T @ Q[:r])
        if products >= most:
            raise RuntimeError(f"{most} products leave an error of up to {error.max():.1e}: "
                               "raise most or tolerance")  # fmt: skip
        if r + len(block) > room:
            r = room // 2
            Q[:r] = s[:, :r].T @ Q[: len(s)]
            T.zero_()
            T.diagonal()[:r] = theta[:r]
        block = block - (block @ Q[:r].T) @ Q[:r]
        block = torch.linalg.qr(block.T).Q.T


# --- densities and traces ---------------------------------------------------------------------


class Quadrature(NamedTuple):
    """Nodes (r,) and weights (r,), which sum to 1, of the spectral density of an operator."""

    nodes: Tensor
    weights: Tensor


def slq(A: Operator, steps: int, starts: int, seed: int, watch: Watch = unwatched) -> Quadrature:
    """Stochastic Lanczos quadrature: Σ w_i g(θ_i) ≈ tr g(A)/P.

    From each of the random signs z the Ritz values are the nodes and the squared first components
    of the eigenvectors of T the weights. For polynomials g of degree 2·steps - 1 the sum is the
    mean of zᵀg(A)z/P over the starts, exactly.

    Raises
    ------
    ValueError
        For steps or starts below 1, or products that are not finite.
    """
    _at_least("starts", starts, 1)
    group = max(1, min(CHUNK, MOST_ELEMENTS // (max(steps, 1) * len(A))))
    found = []
    for i, z in enumerate(torch.split(signs(A, starts, seed), group)):
        done, now = i * group / starts, (i * group + len(z)) / starts
        for run in _krylov(A, z, steps, part(watch, done, now)):
            theta, s = _decompose(run.alpha, run.beta)
            found.append((theta, s[0].square() / starts))
    return Quadrature(*map(torch.cat, zip(*found, strict=True)))


def density(nodes: Tensor, weights: Tensor | None, grid: Tensor, width: float) -> Tensor:
    """Σ_i w_i N(x; θ_i, width²) at the points x of `grid` (any shape); None weighs all the same.

    With all eigenvalues as nodes it is the exact spectral density, as broad.

    Raises
    ------
    ValueError
        For a width that is not positive.
    """
    if not width > 0:
        raise ValueError(f"width must be positive; got {width}")
    if weights is None:
        weights = torch.full_like(nodes, 1 / len(nodes))
    z = (grid[..., None] - nodes) / width
    return (z.square_().mul_(-0.5).exp_() @ weights).div_(width * np.sqrt(2 * np.pi))


class Estimate(NamedTuple):
    """An unbiased estimate, and its standard error as the sample shows it."""

    value: float
    error: float


def trace(A: Operator, products: int, seed: int, watch: Watch = unwatched) -> Estimate:
    """Hutchinson's estimate of tr A, the mean of zᵀAz over random signs z.

    Its variance is 2(||A||² - Σ A_ii²)/products in the Frobenius norm.

    Raises
    ------
    ValueError
        For fewer than 2 products.
    """
    _at_least("products", products, 2)
    return _mean(_forms(A, signs(A, products, seed), watch))


def hutchpp(A: Operator, products: int, seed: int, watch: Watch = unwatched) -> Estimate:
    """Hutch++: tr A exactly on the range of a sketch, by Hutchinson on what is left.

    A third of the products each for the sketch AS, the trace on its orthonormal basis Q, and forms
    of (I - QQᵀ)A(I - QQᵀ). The error that it states is of the last part, the only random one given
    the sketch; 0 if the sketch holds all of A.

    Raises
    ------
    ValueError
        For fewer than 6 products.
    """
    _at_least("products", products, 6)
    third = products // 3
    sketch = _batched(A, signs(A, min(third, len(A)), seed, 1), part(watch, 0, 1 / 3))
    Q = torch.linalg.qr(sketch.T).Q.T
    known = _forms(A, Q, part(watch, 1 / 3, 2 / 3)).sum().item()
    z = signs(A, products - 2 * third, seed)
    z -= (z @ Q.T) @ Q
    left = _mean(_forms(A, z, part(watch, 2 / 3, 1)))
    return Estimate(known + left.value, left.error)


class Outliers(NamedTuple):
    """How many eigenvalues stand apart from the bulk, and the ratio of the gap below them."""

    count: int  # type: ignore[assignment]  # a tuple has a method of that name
    ratio: float


def outliers(eigenvalues: Tensor, floor: float = 0.02, most: int = 40) -> Outliers:
    """The largest gap λ_i/λ_{i+1}, i ≤ `most`, of the spectrum in descending order.

    Eigenvalues below `floor` λ_1 count as `floor` λ_1: without it the rule finds the edge of the
    rank of G. A ratio under 1.5 is no clear gap [M]. No outliers, and ratio 1, without a positive
    eigenvalue or if all are equal.

    Raises
    ------
    ValueError
        For no eigenvalues, NaN or infinity, or a floor outside (0, 1).
    """
    if not 0 < floor < 1:
        raise ValueError(f"floor must be between 0 and 1; got {floor}")
    if eigenvalues.ndim != 1 or not len(eigenvalues) or not eigenvalues.isfinite().all():
        raise ValueError("eigenvalues must be a non-empty vector of finite numbers")
    values = eigenvalues.sort(descending=True).values[: most + 1]
    if values[0] <= 0 or len(values) == 1:
        return Outliers(0, 1.0)
    values = values.clamp_min(floor * values[0])
    ratio, i = (values[:-1] / values[1:]).max(0)
    return Outliers(int(i) + 1 if ratio > 1 else 0, ratio.item())


def signs(A: Operator, count: int, seed: int, stream: int = 0) -> Tensor:
    """Random signs (count, P), Rademacher; the first of more are those of fewer."""
    drawn = np.random.default_rng((seed, stream)).integers(2, size=(count, len(A)), dtype=np.int8)
    return torch.from_numpy(2 * drawn - 1).to(A.like)


# --- pieces -----------------------------------------------------------------------------------


def _pull(y: Tensor, x: Tensor, V: Tensor) -> Tensor:
    """∇_x ⟨v, y⟩ for each of the cotangents V (b, *y.shape), (b, *x.shape)."""

    def pull(v: Tensor, batched: bool) -> Tensor:
        return torch.autograd.grad(
            y, x, v, retain_graph=True, is_grads_batched=batched, materialize_grads=True
        )[0]

    if len(V) == 1:
        return pull(V[0], False)[None]
    try:
        return pull(V, True).expand(len(V), *x.shape)  # if y ignores x there is one row of zeros
    except RuntimeError:  # a backward pass that vmap cannot take; one by one it may do
        return torch.stack([pull(v, False) for v in V])


def _point(w: Tensor) -> Tensor:
    """A copy of w to differentiate at."""
    if not isinstance(w, Tensor) or w.ndim != 1 or not len(w):
        got = tuple(w.shape) if isinstance(w, Tensor) else type(w).__name__
        raise ValueError(f"w must be a non-empty vector (P,) of torch; got {got}")
    if w.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"w must be float32 or float64; got {w.dtype}")
    if not w.isfinite().all():
        raise ValueError("w must be finite; got NaN or infinity")
    return w.detach().clone().requires_grad_()


def _evaluate(f: Loss, point: Tensor, w: Tensor) -> Tensor:
    """Take f at the point, with its graph; a second time, to see that nothing else plays a part."""
    try:
        y = f(point)
        with torch.no_grad():
            again = f(point)
    except RuntimeError as error:
        raise ValueError(f"torch must be able to differentiate the function: {error}") from error
    if not torch.equal(point, w):
        raise ValueError("the function must leave w as it is; it changes it in place")
    if not isinstance(y, Tensor) or y.dtype != w.dtype or not y.requires_grad:
        got = y.dtype if isinstance(y, Tensor) else type(y).__name__
        raise ValueError(f"the function must give a tensor of {w.dtype} that depends on w, "
                         f"and not by a detached value; got {got}")  # fmt: skip
    if not y.isfinite().all():
        raise ValueError("the function must be finite at w; got NaN or infinity")
    if y.shape != again.shape or (y - again).abs().max() > 1e-5 * y.abs().max():
        raise ValueError("the function must depend on w alone; two evaluations at w differ")
    return y


def _check_symmetry(A: Operator, loss: Loss, g: Tensor) -> None:
    """Refuse a Hessian that is not symmetric, or none although the gradient g changes."""
    w, step = A.like, torch.finfo(A.like.dtype).eps ** 0.5
    u, v = torch.from_numpy(np.random.default_rng(0).standard_normal((2, len(w)))).to(w)
    Hu, Hv = A.rows(torch.stack([u, v]))
    if not (Hu.isfinite().all() and Hv.isfinite().all()):
        return  # the first product that is wanted says so
    size = u.norm() * Hv.norm() + v.norm() * Hu.norm()
    fine = (u @ Hv - v @ Hu).abs() <= step * size
    if not size:  # twice as far away a term of second order is twice as large, others four times
        points = [(w + t * step * u).requires_grad_() for t in (1, 2)]
        near, far = ((torch.autograd.grad(loss(x), x)[0] - g).abs().max() for x in points)
        fine = (near <= step**1.5 * g.abs().max()) | (far > 3 * near)
    if not fine:
        raise ValueError("loss must have the second derivative that torch computes, which is not "
                         "symmetric or not there: a part of it is detached, or has a gradient "
                         "written by hand, or w is at a kink")  # fmt: skip


def _matrix_of(f: Tensor) -> Tensor:
    if f.ndim != 2 or not f.is_floating_point() or not f.numel():
        raise ValueError(f"outputs must be a floating-point matrix (n, k); got shape "
                         f"{tuple(f.shape)} of {f.dtype}")  # fmt: skip
    return f


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}")


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least}; got {value}")


def _tiny(x: Tensor) -> float:
    """Below this share of the largest entry a norm is rounding: 1e-12 in float64."""
    return 4500 * torch.finfo(x.dtype).eps


def _errors(theta: Tensor, residual: Tensor, k: int) -> Tensor:
    """Bounds on the errors of the first k Ritz values: the residual, or its square over the gap.

    The gap is the one between these k and the others, which may still move by their residuals.
    """
    wanted = residual[:k]
    if len(theta) == k:
        return wanted
    gap = (
        ((theta[:k, None] - theta[k:]).abs() - residual[k:])
        .min()
        .clamp_min(torch.finfo(theta.dtype).tiny)
    )
    return torch.minimum(wanted, wanted.square().sum() / gap)


def _decompose(alpha: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors (as columns) of a tridiagonal matrix."""
    theta, s = torch.linalg.eigh(alpha.diag() + beta[:-1].diag(-1))  # reads the lower triangle
    return theta, s


def _batched(A: Operator, V: Tensor, watch: Watch) -> Tensor:
    """A times many rows, a chunk at a time."""
    done = []
    for i, rows in enumerate(torch.split(V, CHUNK)):
        watch(i * CHUNK / len(V))
        done.append(A(rows))
    watch(1)
    return torch.cat(done)


def _forms(A: Operator, V: Tensor, watch: Watch) -> Tensor:
    """vᵀAv of many rows v."""
    return (_batched(A, V, watch) * V).sum(-1)


def _mean(x: Tensor) -> Estimate:
    return Estimate(x.mean().item(), x.std().item() / len(x) ** 0.5)
