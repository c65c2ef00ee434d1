r"""Matrix sensing with more columns than needed, symmetric and not, exact and measured.

A matrix M (n1, n2) is to be recovered as P = XXᵀ (symmetric) or P = FGᵀ from what m measurements
say of it, y_i = ⟨A_i, M⟩, or from M itself (the population loss, m = ∞). With

.. math:: E = \frac1m \sum_i (⟨A_i, P⟩ - y_i) A_i \quad\text{or}\quad E = P - M

gradient descent reads, without further factors,

.. math:: X ← X - η E X, \qquad (F, G) ← (F - η E G, \; G - η E^T F) .

It descends Σ(⟨A_i, P⟩ - y_i)²/4m in the symmetric case and Σ(⟨A_i, P⟩ - y_i)²/2m in the other; for
the population loss the sums over m become ||P - M||²_F.

A batch of S seeds and C configurations is one tensor (S, C, rows, k): n rows are an X, n1 + n2
rows an F on top of a G. Runs of fewer columns have zeros in the last ones; these stay exactly zero,
as a column of zeros in X, or in both F and G, has no gradient. Whatever differs from run to
run (α, ρ, η, …) broadcasts against (S, C).

Source: arXiv 2310.01769, "How Over-Parameterization Slows Down Gradient Descent in Matrix Sensing:
The Curses of Symmetry and Initialization" [S], and for the l1 loss arXiv 2202.08788, "Global
Convergence of Sub-gradient Method for Robust Matrix Recovery" [S]; of both the abstracts were
read. The scales of the starts and the form of the rebalancing are ours [M].
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gdviz.descent import Clock, Probe, Steady, Step, Update

Array = NDArray[np.float64]

DEAD = 1e-12
"""Directions of F below this share of the largest carry nothing: rebalancing drops them."""


# --- problems ---------------------------------------------------------------------------------


def diagonal(singular_values: ArrayLike, n1: int, n2: int | None = None) -> Array:
    """M = diag(σ_1, …, σ_r, 0, …), (n1, n2), square unless told; a random start sees no other."""
    s = np.asarray(singular_values, float)
    n2 = n1 if n2 is None else n2
    if s.ndim != 1 or not 1 <= len(s) <= min(n1, n2) or not np.isfinite(s).all() or (s < 0).any():
        raise ValueError(
            f"singular_values must be 1 to {min(n1, n2)} finite numbers from 0 on; "
            f"got {singular_values!r}"
        )
    M = np.zeros((n1, n2))
    M[range(len(s)), range(len(s))] = s
    return M


@dataclass(frozen=True, eq=False)
class Problem(ABC):
    """A matrix `M` (n1, n2) and what is known of it.

    It is `symmetric` if M and all measurements are, exactly; an X can be trained then.
    """

    M: Tensor
    symmetric: bool

    @abstractmethod
    def error(self, P: Tensor) -> Tensor:
        """E of estimates (S·C, n1, n2), in the same shape."""

    @abstractmethod
    def to(self, device: str) -> "Problem":
        """Return the same problem on `device`."""

    def gradient(self, w: Tensor) -> Tensor:
        """EX, or EG on top of EᵀF, (S, C, rows, k), of weights of this shape."""
        return self.gradients(w.contiguous())()

    def gradients(self, w: Tensor) -> Callable[[], Tensor]:
        """Return a function that gives the gradient at what w (S, C, rows, k) is by then.

        Views are made once and its answer may be used again by the next call: for matrices this
        small both would cost as much as the arithmetic.
        """
        return lambda: self.pull(w, self.error)

    def pull(self, w: Tensor, error: Callable[[Tensor], Tensor]) -> Tensor:
        """The gradient with another map of P to E."""
        F, G = self.factors(w.flatten(0, 1))
        E = error(torch.bmm(F, G.mT))
        if F is G:
            return torch.bmm(E, F).view_as(w)
        return torch.cat((torch.bmm(E, G), torch.bmm(E.mT, F)), 1).view_as(w)

    def factors(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """The factors of P = FGᵀ, (…, n1, k) and (…, n2, k); one and the same for an X."""
        n1 = len(self.M)
        return (w, w) if w.shape[-2] == n1 else (w[..., :n1, :], w[..., n1:, :])

    def check(self, w: Tensor) -> None:
        """Raise ValueError unless this is a batch (S, C, rows, k) that the problem can train."""
        n1, n2 = self.M.shape
        rows = (n1, n1 + n2) if self.symmetric else (n1 + n2,)
        if w.ndim != 4 or w.shape[2] not in rows:
            raise ValueError(
                f"weights must be (S, C, rows, k) with rows {' or '.join(map(str, rows))} "
                f"for this {'' if self.symmetric else 'un'}symmetric M; got {tuple(w.shape)}"
            )


@dataclass(frozen=True, eq=False)
class Population(Problem):
    """All of M is known: E = P - M. The `diagonal` (n, 1) is there if M is square and has no more.

    A gradient is 3 tensor operations on an X; on F and G it is 5, or 6 if M is not diagonal.
    """

    diagonal: Tensor | None

    def to(self, device: str) -> "Population":  # noqa: D102
        diagonal = None if self.diagonal is None else self.diagonal.to(device)
        return replace(self, M=self.M.to(device), diagonal=diagonal)

    def error(self, P: Tensor) -> Tensor:  # noqa: D102
        return P - self.M

    def gradients(self, w: Tensor) -> Callable[[], Tensor]:
        """The same in O(nk²) and one product with M: EG = F(GᵀG) - MG, EᵀF = G(FᵀF) - MᵀF."""
        slopes = torch.empty_like(w)
        weights, out = (x.view(-1, *x.shape[2:]) for x in (w, slopes))
        (F, G), (EG, EtF) = self.factors(weights), self.factors(out)
        if F is not G and self.diagonal is not None:
            # F, G, F, G, … in one stack: half as many operations
            own, new = (x.view(-1, *F.shape[1:]) for x in (weights, out))
            other = torch.arange(len(own), device=w.device).view(-1, 2).flip(1).flatten()
            subtract = [self._less(EG, self.M, G), self._less(EtF, self.M, F)]

            def both() -> Tensor:
                torch.bmm(own, torch.bmm(own.mT, own).index_select(0, other), out=new)
                for take in subtract:
                    take()
                return slopes

            return both
        sides = [(F, G, EG, self._less(EG, self.M, G))]
        if F is not G:
            sides.append((G, F, EtF, self._less(EtF, self.M.mT, F)))

        def each() -> Tensor:
            for factor, other, slope, take in sides:
                torch.bmm(factor, torch.bmm(other.mT, other), out=slope)
                take()
            return slopes

        return each

    def _less(self, slope: Tensor, M: Tensor, factor: Tensor) -> Callable[[], Tensor]:
        """Return what subtracts M factor from a slope in place."""
        if self.diagonal is not None:
            # whole rows: a broadcast along the columns would be no vector operation
            diagonal = self.diagonal.expand(factor.shape[1:]).contiguous()
            return partial(slope.addcmul_, factor, diagonal, value=-1)
        return partial(slope.baddbmm_, M.expand(len(slope), -1, -1), factor, alpha=-1)


def population(M: ArrayLike) -> Population:
    """Make a `Population` of an explicit (n1, n2) array.

    Raises
    ------
    ValueError
        Unless M is a non-empty finite matrix.
    """
    M = torch.from_numpy(_matrix(M))
    symmetric = torch.equal(M, M.mT)
    diagonal = M.diagonal()[:, None].clone()
    plain = symmetric and torch.equal(M, diagonal * torch.eye(len(M)))
    return Population(M, symmetric, diagonal if plain else None)


@dataclass(frozen=True, eq=False)
class Measured(Problem):
    """S draws of m measurements, one for every seed; each belongs to all its configurations.

    Matrices are long rows here, of d = n1·n2 entries; symmetric ones of the d = n(n + 1)/2 on and
    above the diagonal, those above it times sqrt(2), which leaves inner products as they are.
    `A` (S, m, d) and `y` (S, 1 or C, m) are divided by sqrt(m), so that E = Aᵀ(AP - y). Where that
    takes fewer operations, `H` = AᵀA (S, d, d) and `h` = Aᵀy (S, 1 or C, d) say the same.
    """

    A: Tensor
    y: Tensor
    H: Tensor | None
    h: Tensor

    def to(self, device: str) -> "Measured":  # noqa: D102
        H = None if self.H is None else self.H.to(device)
        M, A, y, h = (x.to(device) for x in (self.M, self.A, self.y, self.h))
        return replace(self, M=M, A=A, y=y, H=H, h=h)

    def residual(self, P: Tensor) -> Tensor:
        """(⟨A_i, P⟩ - y_i)/sqrt(m), (S, C, m), of estimates (S·C, n1, n2)."""
        return torch.baddbmm(self.y, self._long(P), self.A.mT, beta=-1)

    def error(self, P: Tensor) -> Tensor:  # noqa: D102
        if self.H is None:
            return self._matrix(torch.bmm(self.residual(P), self.A))
        return self._matrix(torch.baddbmm(self.h, self._long(P), self.H, beta=-1))

    def sign_error(self, P: Tensor) -> Tensor:
        """E of the l1 loss Σ|⟨A_i, P⟩ - y_i|/m: Σ sign(⟨A_i, P⟩ - y_i) A_i/m, sign(0) = 0."""
        signs = self.residual(P).sign_().div_(self.A.shape[1] ** 0.5)
        return self._matrix(torch.bmm(signs, self.A))

    def check(self, w: Tensor) -> None:  # noqa: D102
        super().check(w)
        if w.shape[0] != len(self.A) or self.y.shape[1] not in (1, w.shape[1]):
            raise ValueError(
                f"weights must be (S, C, …) with S and C as y (S, C, m) = {tuple(self.y.shape)} "
                f"has them; got {tuple(w.shape)}"
            )

    def _long(self, P: Tensor) -> Tensor:
        """Matrices (S·C, n1, n2) as rows (S, C, d)."""
        return _long(P, self.symmetric).view(len(self.A), -1, self.A.shape[-1])

    def _matrix(self, rows: Tensor) -> Tensor:
        """Rows (S, C, d) as matrices (S·C, n1, n2)."""
        rows = rows.flatten(0, 1)
        if self.symmetric:
            _, _, root, whole = _half(len(self.M), rows.device)
            rows = (rows / root).index_select(1, whole)
        return rows.view(-1, *self.M.shape)


def _long(P: Tensor, symmetric: bool) -> Tensor:
    rows = P.flatten(-2)
    if symmetric:  # of an FGᵀ only the symmetric part is seen
        upper, lower, root, _ = _half(P.shape[-1], P.device)
        rows = (rows.index_select(-1, upper) + rows.index_select(-1, lower)) * (root / 2)
    return rows


@cache
def _half(n: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Which of n² entries are the upper half, which mirror it, factors, and where each of n² is."""
    i, j = torch.triu_indices(n, n, device=device)
    at = torch.empty(n, n, dtype=torch.long, device=device)
    at[i, j] = at[j, i] = torch.arange(len(i), device=device)
    return i * n + j, j * n + i, torch.where(i == j, 1, 2).double().sqrt(), at.flatten()


def measured(M: ArrayLike, A: ArrayLike, y: ArrayLike | None = None) -> Measured:
    """Make a `Measured` of explicit measurements.

    Parameters
    ----------
    M
        (n1, n2), what the error of an estimate is taken to.
    A
        (m, n1, n2), or (S, m, n1, n2) for S draws.
    y
        (m,), (S, m) or (S, C, m); ⟨A_i, M⟩ unless told.

    Raises
    ------
    ValueError
        For shapes that do not fit, NaN or infinity.
    """
    M, A = _matrix(M), np.array(A, float)
    A = A[None] if A.ndim == 3 else A
    if A.ndim != 4 or 0 in A.shape or A.shape[2:] != M.shape:
        raise ValueError(
            f"A must be (m, n1, n2) or (S, m, n1, n2) as M is {M.shape}; got {A.shape}"
        )
    symmetric = np.array_equal(M, M.T) and np.array_equal(A, A.mT)
    S, m = A.shape[:2]
    y = A.reshape(S, m, -1) @ M.ravel() if y is None else np.array(y, float)
    y = y[None] if y.ndim == 1 else y
    y = y[:, None] if y.ndim == 2 else y
    if y.ndim != 3 or y.shape[::2] != (S, m):
        raise ValueError(f"y must be ({S}, {m}) or ({S}, C, {m}) as A says; got {y.shape}")
    if not (np.isfinite(A).all() and np.isfinite(y).all()):
        raise ValueError("measurements A and y must be finite; got NaN or infinity")
    rows = _long(torch.from_numpy(A / np.sqrt(m)), symmetric).contiguous()
    values = torch.from_numpy(y / np.sqrt(m))
    H = rows.mT @ rows if m > rows.shape[-1] / 2 else None
    return Measured(torch.from_numpy(M), symmetric, rows, values, H, values @ rows)


def gaussian(
    M: ArrayLike, m: int, seeds: Sequence[int], symmetric: bool = True,
    outliers: ArrayLike = 0.0, size: float = 10.0,
) -> Measured:  # fmt: skip
    """Draw m measurements of M for every seed, entries N(0, 1).

    Parameters
    ----------
    symmetric
        Use (A + Aᵀ)/2, which X needs; M must be symmetric then.
    outliers, size
        A fraction, or one for every configuration (C,), of the y_i has size·N(0, 1) added to it.
        The outliers of a smaller fraction are among those of a larger one.
    """
    M = _matrix(M)
    if symmetric and not np.array_equal(M, M.T):
        raise ValueError("M must be symmetric for symmetric measurements")
    if m != int(m) or m < 1:
        raise ValueError(f"m must be a whole number from 1 on; got {m}")
    p = np.atleast_1d(np.asarray(outliers, float))
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"outliers must be fractions from 0 to 1; got {outliers!r}")
    A = np.stack([np.random.default_rng((s, 2)).standard_normal((m, *M.shape)) for s in seeds])
    A = (A + A.mT) / 2 if symmetric else A
    y = np.repeat((A.reshape(len(A), m, -1) @ M.ravel())[:, None], len(p), axis=1)
    for one, seed in zip(y, seeds, strict=True):
        rng = np.random.default_rng((seed, 3))
        hit = rng.permutation(m) < np.round(p * m)[:, None]
        one += hit * size * rng.standard_normal(m)
    return measured(M, A, y)


def _matrix(M: ArrayLike) -> Array:
    M = np.array(M, float)
    if M.ndim != 2 or not M.size or not np.isfinite(M).all():
        raise ValueError(f"M must be a non-empty finite matrix; got shape {M.shape}")
    return M


# --- starts -----------------------------------------------------------------------------------


def start(k: ArrayLike, n: int, alpha: ArrayLike, seeds: Sequence[int]) -> Tensor:
    """X_0 = α N(0, I/n), (S, C, n, k_max): singular values about α(1 ± sqrt(k/n)).

    `k` and `alpha` are scalars or (C,). Columns are nested: a seed gives the same first ones for
    every k. α = 0 is a saddle, from which nothing moves.
    """
    return torch.from_numpy(_normal(k, n, alpha, seeds, 0))


def start_pair(
    k: ArrayLike, n1: int, n2: int, alpha: ArrayLike, rho: ArrayLike, seeds: Sequence[int]
) -> Tensor:
    """F_0 = α N(0, I/n1) on top of G_0 = ρα N(0, I/n2), (S, C, n1 + n2, k_max), nested.

    `rho` is the imbalance; the F_0 of a seed is its X_0. With ρ = 0 the idle rows of G are and
    stay zero: a special case without a slow phase. Other pairs: ``torch.cat((F, G), -2)``.
    """
    k, alpha, rho = np.broadcast_arrays(k, alpha, _real("rho", rho))
    return torch.from_numpy(
        np.concatenate(
            (_normal(k, n1, alpha, seeds, 0), _normal(k, n2, rho * alpha, seeds, 1)), axis=-2
        )
    )


def _normal(k: ArrayLike, n: int, scale: ArrayLike, seeds: Sequence[int], stream: int) -> Array:
    k, scale = (np.atleast_1d(x) for x in np.broadcast_arrays(k, _real("alpha", scale)))
    if not (k == np.floor(k)).all() or (k < 1).any() or k.ndim != 1:
        raise ValueError(f"k must be whole numbers from 1 on; got {k.tolist()}")
    drawn = np.stack(  # column after column, so that more of them leave the first as they are
        [np.random.default_rng((s, stream)).standard_normal((int(k.max()), n)).T for s in seeds]
    )
    live = np.arange(int(k.max())) < k[:, None]
    return np.asarray(drawn[:, None] * (scale[:, None] * live / np.sqrt(n))[:, None])


def _real(name: str, value: ArrayLike) -> Array:
    x = np.asarray(value, float)
    if not (np.isfinite(x) & (x >= 0)).all():
        raise ValueError(f"{name} must be finite and not negative; got {value!r}")
    return x


# --- descent ----------------------------------------------------------------------------------


def gradient_descent(problem: Problem, step_size: ArrayLike) -> Update:
    """Gradient descent on X or on F and G, as the rows of the weights say.

    `step_size` broadcasts against (S, C). Past the stability limit a run cycles or ends as
    NaN, alone.
    """
    pace = -_per_run("step_size", step_size, problem)

    def update(w: Tensor) -> Step:
        problem.check(w)
        gradient = problem.gradients(w)
        return Steady(lambda t: w.addcmul_(gradient(), pace))

    return update


def subgradient(problem: Measured, first: ArrayLike, decay: ArrayLike) -> Update:
    """The l1 method, E made of the signs alone, with steps η_t = `first`·`decay`^t; both (S, C).

    Its step has a length that does not shrink with the error, hence the decay. Outliers change
    only the signs of their residuals.
    """
    first_size, q = _per_run("first", first, problem), _per_run("decay", decay, problem)

    def update(w: Tensor) -> Step:
        problem.check(w)
        clock = Clock(w)

        def step(t: int) -> None:
            clock.tick(t)
            eta = first_size * q ** (clock.steps - 1)
            w.addcmul_(problem.pull(w, problem.sign_error), eta, value=-1)

        return Steady(step)

    return update


def rebalanced(update: Update, problem: Problem, at: ArrayLike, beta: ArrayLike = 1.0) -> Update:
    """The same descent, but `rebalance` first at step `at` ≥ 0; never in runs where it is negative.

    `at` and `beta` broadcast against (S, C). What is recorded at step `at` is still as it was.
    """
    steps = torch.as_tensor(np.asarray(at, int), device=problem.M.device)
    moments = set(steps.flatten().tolist())
    scale = _per_run("beta", beta, problem)

    def changed(w: Tensor) -> Step:
        plain = update(w)

        def step(t: int) -> None:
            if t in moments:
                due = (steps == t).expand(w.shape[:2])[..., None, None]
                w.copy_(torch.where(due, rebalance(problem, w, scale), w))
            plain(t)

        return step

    return changed


def rebalance(problem: Problem, w: Tensor, beta: Tensor | float = 1.0) -> Tensor:
    """F ← βU and G ← GVS/β with F = USVᵀ, of weights (S, C, n1 + n2, k); beta (S, C, 1, 1).

    P stays as it is and FᵀF becomes β²I. Directions with S_j ≤ 1e-12 S_1 carry nothing
    of P: their columns become zero, those of the padding among them, and would otherwise be
    multiplied by 1e12. Runs that are not finite stay as they are.

    Source: the one modified step is the paper's [S], its form recalled [R] and verified here [M].
    """
    if w.shape[-2] != sum(problem.M.shape):
        raise ValueError(f"only a pair F, G can be rebalanced; got weights {tuple(w.shape)}")
    fine = w.isfinite().all(-1).all(-1)[..., None, None]
    F, G = problem.factors(torch.where(fine, w, 0))
    U, S, Vt = torch.linalg.svd(F, full_matrices=False)
    S = S[..., None, :]
    alive = S / S[..., :1] > DEAD  # false for 0/0
    new = torch.zeros_like(w)
    new_F, new_G = (x[..., : S.shape[-1]] for x in problem.factors(new))
    new_F.copy_(U * alive * beta)  # a bool times a float alone would be float32
    new_G.copy_((G @ Vt.mT) * (alive * S) / beta)
    return torch.where(fine, new, w)


def _per_run(name: str, value: ArrayLike, problem: Problem) -> Tensor:
    """A positive number for each run, (…, 1, 1), where the problem is."""
    x = np.asarray(value, float)
    if not (np.isfinite(x) & (x > 0)).all():
        raise ValueError(f"{name} must be finite and positive; got {value!r}")
    return torch.as_tensor(x, device=problem.M.device)[..., None, None]


# --- readings ---------------------------------------------------------------------------------


def readings(problem: Problem, estimate: bool = False) -> Probe:
    """Return the probe of a run: what it gives of weights (T, S, C, rows, k).

    ``error`` ||P - M||_F and, with measurements, ``train``, the loss that gradient descent
    descends, (T, S, C) each; singular values ``X`` (T, S, C, min(n, k)), or ``F`` and ``G`` and
    the curvature ``slowest`` (T, S, C). With `estimate` also P, (T, S, C, n1, n2), for pictures.

    At the end of a run its error falls by 1 - η·slowest a step, whatever the start was. Rows of G
    outside the row space of M shrink by I - ηFᵀF and those of F outside the column space by
    I - ηGᵀG, until of every idle direction one factor alone is alive: k + r of the 2k singular
    values of F and G survive, and `slowest` is the least of these, squared. That is λ_min(FᵀF) if
    F_0 was the larger factor by far and σ_r(G)² is not smaller still [M].

    Of a run that is not finite any more the errors are infinite and the rest is NaN.
    """
    rank = int(torch.linalg.matrix_rank(problem.M))

    def probe(w: Tensor) -> dict[str, Tensor]:
        F, G = problem.factors(w)
        P = F @ G.mT
        found = {"error": _or_infinity(torch.linalg.matrix_norm(P - problem.M))}
        if isinstance(problem, Measured):
            part = 4 if F is G else 2
            squares = [problem.residual(one.flatten(0, 1)).square().sum(-1) for one in P]
            found["train"] = _or_infinity(torch.stack(squares) / part)
        if F is G:
            found["X"] = _singular_values(F)
        else:
            found["F"], found["G"] = _singular_values(F), _singular_values(G)
            k = (w != 0).any(-2).sum(-1, keepdim=True).clamp(min=1)
            alive = torch.minimum(k + rank, k.clamp(max=F.shape[-2]) + k.clamp(max=G.shape[-2]))
            both = torch.cat((found["F"], found["G"]), -1).sort(-1, descending=True).values
            found["slowest"] = both.gather(-1, alive - 1).squeeze(-1).square()
        return found | {"estimate": P} if estimate else found

    return probe


def _or_infinity(x: Tensor) -> Tensor:
    return x.nan_to_num(nan=torch.inf, posinf=torch.inf)


def _singular_values(x: Tensor) -> Tensor:
    fine = x.isfinite().all(-1).all(-1)[..., None]
    return torch.where(fine, torch.linalg.svdvals(torch.where(fine[..., None], x, 0)), torch.nan)
