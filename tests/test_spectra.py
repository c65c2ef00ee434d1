"""Every estimator against the dense Hessian, and the Hessian against what torch and steps say."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from gdviz import spectra
from gdviz.watch import Cancelled

F64 = torch.float64


def drawn(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def network(h=5, n=12, d=4, k=3, seed=0):
    """Outputs (n, k) of a tanh network without biases as a function of w, a point, and labels."""
    X = drawn(n, d, seed=seed)

    def outputs(w):
        W, V = w.split([h * d, k * h])
        return torch.tanh(X @ W.view(h, d).T) @ V.view(k, h).T

    return outputs, drawn(h * d + k * h, seed=seed + 50), torch.arange(n) % k


def some_loss(**sizes):
    outputs, w, y = network(**sizes)
    return spectra.criterion(outputs, y, "cross-entropy"), w


def operator(eigenvalues, seed=0):
    """A dense operator with these eigenvalues, and its matrix."""
    values = torch.as_tensor(eigenvalues, dtype=F64)
    Q = torch.linalg.qr(drawn(len(values), len(values), seed=seed)).Q
    M = (Q * values) @ Q.T
    return spectra.Operator(lambda V: V @ M, values), M


class Convolutional(nn.Module):
    """What a user may bring: convolution, normalisation, pooling, dropout, a tied weight."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.drop = nn.Dropout(0.5)
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.last = nn.Linear(8, 3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        x = nn.functional.max_pool2d(nn.functional.softplus(self.norm(self.conv(x))), 2)
        x = self.drop(x.flatten(1))
        x = torch.tanh(self.second(torch.tanh(self.first(x))))
        return self.last(x) * self.calls


def convolutional():
    torch.manual_seed(0)
    module = Convolutional().double()
    module.norm.running_mean += 0.3
    return module, drawn(7, 1, 6, 6), torch.arange(7) % 3


# --- products and exact matrices --------------------------------------------------------------


@pytest.mark.parametrize("P", [1, 35, 63, 2 * spectra.CHUNK])
def test_the_hessian_is_that_of_torch_and_of_finite_differences(P):
    target, X = drawn(5, seed=1), drawn(5, P)

    def loss(w):
        return (torch.sin(X @ w) - target).square().sum() / 10 + (w**4).sum()

    w = drawn(P, seed=2)
    H = spectra.hessian(loss, w)
    assert torch.equal(H, H.T)
    expected = torch.autograd.functional.hessian(loss, w)
    torch.testing.assert_close(H, expected, rtol=1e-12, atol=1e-12)
    gradient, step = torch.func.grad(loss), 1e-5
    for e, row in zip(torch.eye(P, dtype=F64), H, strict=True):
        slope = (gradient(w + step * e) - gradient(w - step * e)) / (2 * step)
        torch.testing.assert_close(slope, row, rtol=1e-6, atol=1e-7)


def test_products_of_one_and_of_many_are_those_of_the_matrix():
    loss, w = some_loss()
    A, H = spectra.hvp(loss, w), torch.autograd.functional.hessian(loss, w)
    V = drawn(7, len(w), seed=3)
    torch.testing.assert_close(A(V), V @ H, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(A(V[0]), H @ V[0], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(A(V[:1]), V[:1] @ H, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(A.matrix(), H, rtol=1e-12, atol=1e-14)
    with torch.no_grad():
        torch.testing.assert_close(spectra.hessian(loss, w), H, rtol=1e-12, atol=1e-14)


def test_the_point_stays_and_later_changes_of_it_do_not_count():
    loss, w = some_loss()
    before, A = w.clone(), spectra.hvp(loss, w)
    first = A(before)
    w.zero_()
    assert torch.equal(A(before), first)


def test_a_linear_loss_has_a_hessian_of_zeros():
    c = drawn(6)
    flat = drawn(6, seed=4)
    for loss in (
        lambda w: ((w - flat) ** 4).sum(),
        lambda w: w @ c,
        lambda w: w @ c.clone().requires_grad_(),
        lambda w: w.abs().sum(),
    ):
        A = spectra.hvp(loss, drawn(6, seed=4))
        assert not A.matrix().any()
        assert not spectra.top(A, 3, seed=0).values.any()
        run = spectra.lanczos(A, 5, seed=0)
        assert run.alpha.shape == run.beta.shape == (1,)
        nodes, weights = spectra.slq(A, 4, 3, seed=0)
        assert not nodes.any()
        assert weights.sum() == pytest.approx(1)
        assert spectra.trace(A, 4, seed=0) == spectra.hutchpp(A, 6, seed=0) == (0, 0)
        assert spectra.outliers(A.matrix().diagonal()) == (0, 1)


def test_single_precision_stays_single():
    loss, w = some_loss()
    _, w, y = network()
    X = drawn(12, 4).float()

    def single(v):
        W, V = v.split([20, 15])
        return cross_entropy(torch.tanh(X @ W.view(5, 4).T) @ V.view(3, 5).T, y)

    A = spectra.hvp(single, w.float())
    exact = torch.linalg.eigvalsh(spectra.hessian(loss, w)).flip(0)
    values, vectors = spectra.top(A, 3, seed=0)
    assert {values.dtype, vectors.dtype, A.matrix().dtype} == {torch.float32}
    torch.testing.assert_close(values.double(), exact[:3], rtol=1e-4, atol=1e-6)
    assert spectra.slq(A, 10, 2, seed=0).nodes.dtype == torch.float32


# --- modules ----------------------------------------------------------------------------------


def test_a_module_is_a_function_of_its_flat_parameters():
    module, X, y = convolutional()
    w, model = spectra.functional(module)
    names = [name for name, _ in module.named_parameters()]
    assert len(w) == sum(p.numel() for p in module.parameters())
    assert names.count("second.weight") == 0
    module.eval()
    expected = module(X)
    for _ in range(2):  # the count of calls begins anew each time
        torch.testing.assert_close(model(w, X), expected, rtol=1e-12, atol=1e-14)
    module.train()
    assert not model(w, X).requires_grad
    H = spectra.hessian(lambda v: cross_entropy(model(v, X), y), w)
    plain = torch.autograd.functional.hessian(lambda v: cross_entropy(model(v, X), y), w)
    torch.testing.assert_close(H, plain, rtol=1e-10, atol=1e-12)
    assert module.training
    assert module.calls == 1


def test_the_hessian_of_a_module_is_that_of_its_own_gradients():
    """Without the adapter: gradients of the module itself, at parameters moved by hand."""
    module, X, y = convolutional()
    w, model = spectra.functional(module)
    A = spectra.hvp(lambda v: cross_entropy(model(v, X), y), w)
    v, step = drawn(len(w), seed=5), 1e-6
    module.eval()
    slopes = []
    for sign in (1, -1):
        nn.utils.vector_to_parameters(w + sign * step * v, module.parameters())
        module.zero_grad()
        module.calls.zero_()
        cross_entropy(module(X), y).backward()
        slopes.append(torch.cat([p.grad.flatten() for p in module.parameters()]))
    torch.testing.assert_close((slopes[0] - slopes[1]) / (2 * step), A(v), rtol=1e-5, atol=1e-7)


def test_frozen_parameters_stay_as_they_are():
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    module[0].requires_grad_(False)
    w, model = spectra.functional(module)
    assert len(w) == 10
    torch.testing.assert_close(model(w, drawn(5, 3)), module(drawn(5, 3)).detach())


def test_attention_has_second_derivatives():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True).double()
    w, model = spectra.functional(layer)
    X = drawn(2, 3, 4)

    def loss(v):
        return model(v, X).square().mean() + model(v, X)[..., 0].sum()

    A, v, step = spectra.hvp(loss, w), drawn(len(w), seed=5), 1e-6
    gradient = torch.autograd.functional.jacobian
    slope = (gradient(loss, w + step * v) - gradient(loss, w - step * v)) / (2 * step)
    torch.testing.assert_close(A(v), slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("module", "error", "why"),
    [
        (lambda x: x, TypeError, "torch.nn.Module; got function"),
        (nn.Tanh(), ValueError, "must have parameters"),
        (nn.Linear(2, 2).requires_grad_(False), ValueError, "must have parameters"),
        (nn.LazyLinear(3), ValueError, "call it once"),
        (nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double()), ValueError, "one dtype"),
    ],
)
def test_modules_that_cannot_be_used_are_refused(module, error, why):
    with pytest.raises(error, match=why):
        spectra.functional(module)


def test_a_module_wants_all_its_parameters():
    w, model = spectra.functional(nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"shape \(8,\); got \(7,\)"):
        model(w[:-1], torch.zeros(1, 3))


# --- losses that would give a wrong number ----------------------------------------------------


class Crooked(torch.autograd.Function):
    """A cube whose gradient, written by hand, forgets its graph."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x.detach() ** 2


class Stubborn(torch.autograd.Function):
    """A cube whose backward passes read single numbers, which vmap refuses."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return Scaled.apply(g, x)


class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, g, x):
        ctx.save_for_backward(g, x)
        return g * 3 * x**2

    @staticmethod
    def backward(ctx, v):
        g, x = ctx.saved_tensors
        return v * 3 * x**2, (6 * g * x * v if v.abs().max().item() > 0 else v * 0)


def test_what_vmap_refuses_goes_one_by_one():
    A = spectra.hvp(lambda w: Stubborn.apply(w).sum(), drawn(4))
    torch.testing.assert_close(A.matrix(), torch.diag(6 * drawn(4)))


def fused_attention(w):
    q = w.view(1, 1, 3, 2)
    with nn.attention.sdpa_kernel(nn.attention.SDPBackend.FLASH_ATTENTION):
        return nn.functional.scaled_dot_product_attention(q, q, q).sum()


def shift_data(w):
    w.data += 1
    return w.square().sum()


CALLS = []


@pytest.mark.parametrize(
    ("loss", "why"),
    [
        (lambda w: w.mul_(2).sum(), "in-place"),
        (shift_data, "changes it in place"),
        (lambda w: w.square(), r"scalar; got shape \(6,\)"),
        (lambda w: w.square().sum(0, keepdim=True), r"got shape \(1,\)"),
        (lambda w: w.square().sum().float(), "of torch.float64 .* got torch.float32"),
        (lambda w: w.argmax(), "got torch.int64"),
        (lambda w: w.detach().square().sum(), "detached value"),
        (lambda w: float(w.detach().sum()), "got float"),
        (lambda w: (w / 0).sum(), "finite at w"),
        (lambda w: nn.functional.dropout(w).square().sum(), "two evaluations at w differ"),
        (lambda w: (w * (CALLS.append(0) or len(CALLS))).sum(), "two evaluations at w differ"),
        (lambda w: (w * w.detach().roll(1)).sum(), "not symmetric or not there"),
        (lambda w: Crooked.apply(w).sum(), "not symmetric or not there"),
        (lambda w: (w - drawn(6, seed=6)).abs().sum(), "at a kink"),
        (fused_attention, "differentiable twice"),
    ],
)  # fmt: skip
def test_losses_without_an_honest_hessian_are_refused(loss, why):
    w = drawn(6, seed=6)
    before = w.clone()
    with pytest.raises(ValueError, match=why):
        spectra.hvp(loss, w)
    assert torch.equal(w, before)


@pytest.mark.parametrize(
    ("w", "why"),
    [
        (np.ones(3), "vector .* got ndarray"),
        (torch.ones(2, 2), r"vector .* got \(2, 2\)"),
        (torch.ones(0), "non-empty"),
        (torch.ones(3, dtype=torch.int64), "float32 or float64; got torch.int64"),
        (torch.ones(3, dtype=torch.float16), "float32 or float64; got torch.float16"),
        (torch.tensor([1.0, torch.nan]), "finite"),
    ],
)
def test_points_that_make_no_sense_are_refused(w, why):
    with pytest.raises(ValueError, match=why):
        spectra.hvp(lambda w: w.square().sum(), w)


def test_infinite_curvature_is_told():
    for estimate in (lambda A: A.matrix(), lambda A: spectra.top(A, 1, seed=0)):
        with pytest.raises(ValueError, match="finite; got NaN or infinity"):
            estimate(spectra.hvp(lambda w: w.abs().sqrt().sum(), torch.zeros(3, dtype=F64)))


# --- the Gauss–Newton split -------------------------------------------------------------------


@pytest.mark.parametrize("kind", spectra.KINDS)
@pytest.mark.parametrize("n", [4, 30])  # n k = 12 and 90 around P = 35: by rows and by columns
def test_the_factor_gives_the_dense_gauss_newton_matrix(kind, n):
    outputs, w, _ = network(n=n)
    J, f = torch.autograd.functional.jacobian(outputs, w), outputs(w)
    expected = 0
    for Ji, p in zip(J, f.softmax(-1), strict=True):
        A = torch.eye(3, dtype=F64) if kind == "mse" else torch.diag(p) - torch.outer(p, p)
        expected = expected + Ji.T @ A @ Ji / n
    part = spectra.gauss_newton(outputs, w, kind)
    assert part.factor.shape == (3 * n, 35)
    torch.testing.assert_close(part.matrix(), expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(part.operator().matrix(), expected, rtol=1e-12, atol=1e-14)
    values = torch.linalg.eigvalsh(expected)
    torch.testing.assert_close(part.eigenvalues(), values, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("kind", spectra.KINDS)
def test_the_rest_is_the_hessian_of_the_residual_times_the_outputs(kind):
    outputs, w, y = network(n=30)
    Y = nn.functional.one_hot(y).double()
    f = outputs(w)
    r = (f if kind == "mse" else f.softmax(-1)) - Y
    H, G, R = spectra.split(outputs, w, Y if kind == "mse" else y, kind)
    expected = spectra.hessian(lambda v: (r * outputs(v)).sum() / 30, w)
    torch.testing.assert_close(R, expected, rtol=0, atol=1e-14)
    torch.testing.assert_close(H, G + R, rtol=0, atol=1e-15)


def test_one_sample_by_hand():
    """f = (w_1 w_2, w_2²), y = (1, 0) at w = (2, 1): nothing is averaged over outputs."""

    def outputs(w):
        return torch.stack([w[0] * w[1], w[1] ** 2])[None]

    w, y = torch.tensor([2.0, 1.0], dtype=F64), torch.tensor([[1.0, 0.0]], dtype=F64)
    assert spectra.criterion(outputs, y, "mse")(w) == 1.0
    H, G, R = spectra.split(outputs, w, y, "mse")
    torch.testing.assert_close(G, torch.tensor([[1.0, 2.0], [2.0, 8.0]], dtype=F64))
    torch.testing.assert_close(R, torch.tensor([[0.0, 1.0], [1.0, 2.0]], dtype=F64))
    torch.testing.assert_close(H, G + R)


def test_certain_outputs_have_no_cross_entropy_curvature():
    outputs, w, _ = network()
    part = spectra.gauss_newton(lambda v: 1e4 * outputs(v), w, "cross-entropy")
    assert part.factor.isfinite().all()
    assert part.eigenvalues().abs().max() < 1e-12
    one = spectra.gauss_newton(lambda v: outputs(v)[:, :1], w, "cross-entropy")
    assert not one.factor.any()


def test_labels_and_outputs_that_do_not_fit_are_refused():
    outputs, w, y = network()
    for kind, labels, why in (
        ("cross-entropy", y[:-1], r"labels must have shape \(12,\); got \(11,\)"),
        ("cross-entropy", y + 1, "from 0 to 2"),
        ("cross-entropy", y.double(), "whole numbers"),
        ("mse", y.double(), r"labels must have shape \(12, 3\)"),
        ("mse", drawn(12, 1), r"labels must have shape \(12, 3\)"),
    ):
        with pytest.raises(ValueError, match=why):
            spectra.criterion(outputs, labels, kind)(w)
    for bad, why in (
        (lambda v: outputs(v)[0], "matrix"),
        (lambda v: outputs(v).argmax(-1), "int64"),
        (lambda v: outputs(v.detach()), "depends on w"),
        (lambda v: nn.functional.dropout(outputs(v)), "two evaluations at w differ"),
        (lambda v: outputs(v) / 0, "finite at w"),
    ):
        with pytest.raises(ValueError, match=why):
            spectra.gauss_newton(bad, w, "mse")
    for call in (spectra.gauss_newton, spectra.criterion):
        with pytest.raises(ValueError, match="cross-entropy, mse; got 'hinge'"):
            call(outputs, w, "hinge")


# --- Lanczos ----------------------------------------------------------------------------------


def test_lanczos_gives_an_orthonormal_basis_and_its_projection():
    loss, w = some_loss()
    A, H = spectra.hvp(loss, w), spectra.hessian(loss, w)
    alpha, beta, V = spectra.lanczos(A, 20, seed=1)
    T = torch.diag(alpha) + torch.diag(beta[:-1], 1) + torch.diag(beta[:-1], -1)
    torch.testing.assert_close(V @ V.T, torch.eye(20, dtype=F64), rtol=0, atol=1e-14)
    torch.testing.assert_close(V @ H @ V.T, T, rtol=0, atol=1e-14)
    theta, x, residual = spectra.lanczos(A, 20, seed=1).ritz()
    torch.testing.assert_close(
        (x @ H - theta[:, None] * x).norm(dim=-1), residual, atol=1e-14, rtol=0
    )
    exact = torch.linalg.eigvalsh(H)
    torch.testing.assert_close(theta[-3:], exact[-3:], rtol=1e-8, atol=0)


def test_lanczos_ends_where_its_space_does():
    A, _ = operator([3.0] * 5 + [1.0] * 4 + [-2.0] * 3)
    run = spectra.lanczos(A, 10, seed=0)
    assert len(run.alpha) == len(run.basis) == 3
    assert run.beta[-1] == 0
    torch.testing.assert_close(run.ritz()[0], torch.tensor([-2.0, 1, 3], dtype=F64))


def test_a_diagonal_of_zeros_neither_ends_a_run_nor_keeps_it_going():
    """[[0, B], [Bᵀ, 0]] has the spectrum ±σ(B), and α = 0 from a start in the first half."""
    B = drawn(6, 4) @ drawn(4, 6, seed=1)
    M = torch.cat([torch.cat([0 * B, B], 1), torch.cat([B.T, 0 * B], 1)])
    start = torch.cat([B @ drawn(6, seed=2), torch.zeros(6, dtype=F64)])
    run = spectra.lanczos(spectra.Operator(lambda V: V @ M, start), 12, seed=0, start=start)
    assert not run.alpha.any()
    sigma = torch.linalg.svdvals(B)[:4]
    torch.testing.assert_close(run.ritz()[0], torch.cat([-sigma, sigma.flip(0)]))


def test_more_steps_than_dimensions_give_the_whole_spectrum():
    loss, w = some_loss(h=1, d=2, n=5, k=2)
    A = spectra.hvp(loss, w)
    exact = torch.linalg.eigvalsh(A.matrix())
    start = torch.ones(4, dtype=F64)
    theta, _, residual = spectra.lanczos(A, 60, seed=0, start=start).ritz()
    assert residual.max() == 0
    # softmax does not see a shift of all outputs: the spectrum has an exact zero or two
    assert len(theta) <= 4
    for value in theta:
        assert (exact - value).abs().min() < 1e-13


def test_runs_in_step_are_the_runs_alone():
    A, _ = operator([5.0, 1, 1, 1, 1, 1, 0, 0])  # every run ends after three steps
    B, _ = operator(np.linspace(-1, 3, 9))
    for op in (A, B):
        together = spectra.slq(op, 6, 4, seed=2)
        z = spectra.signs(op, 4, 2)
        alone = [spectra.lanczos(op, 6, seed=9, start=row).ritz()[0] for row in z]
        torch.testing.assert_close(together.nodes, torch.cat(alone), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("end", spectra.ENDS)
def test_top_is_the_end_of_the_exact_spectrum(end, seed):
    loss, w = some_loss(h=16, seed=seed)
    A = spectra.hvp(loss, w)
    exact, H = torch.linalg.eigvalsh(A.matrix()), A.matrix()
    expected = exact[spectra.ENDS[end](exact).argsort()]
    values, x = spectra.top(A, 5, seed, end)
    torch.testing.assert_close(values, expected[:5], rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(x @ x.T, torch.eye(5, dtype=F64), rtol=0, atol=1e-12)
    assert (x @ H - values[:, None] * x).norm(dim=-1).max() < 1e-4 * exact.abs().max()
    everything = spectra.top(A, len(w), seed, end).values
    torch.testing.assert_close(everything, expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("seed", range(3))
def test_top_counts_repeated_eigenvalues(seed):
    bulk = np.linspace(-1, 1, 300)
    A, _ = operator([4.0] * 3 + [2.0] * 2 + [1.5] + list(bulk), seed)
    values = spectra.top(A, 5, seed).values
    torch.testing.assert_close(values, torch.tensor([4.0, 4, 4, 2, 2], dtype=F64))
    # the matrix of a linear model under mse: every eigenvalue k times
    X, k = drawn(20, 6, seed=seed), 3
    part = spectra.gauss_newton(lambda w: X @ w.view(6, k), drawn(18), "mse")
    once = torch.linalg.eigvalsh(X.T @ X / 20).flip(0)
    torch.testing.assert_close(
        spectra.top(part.operator(), 9, seed).values, once[:3].repeat_interleave(3)
    )


@pytest.mark.parametrize("seed", range(3))
def test_top_converges_through_restarts(seed, monkeypatch):
    monkeypatch.setattr(spectra, "ROOM", 20)
    spectrum = np.concatenate([[3.0, 2.99, 2.5], np.linspace(-2.4, 2.4, 400)])
    A, M = operator(spectrum, seed)
    for end in spectra.ENDS:
        got = spectra.top(A, 3, seed, end)
        exact = torch.as_tensor(spectrum)[spectra.ENDS[end](torch.as_tensor(spectrum)).argsort()]
        torch.testing.assert_close(got.values, exact[:3], rtol=1e-10, atol=0)
        assert (got.vectors @ M - got.values[:, None] * got.vectors).norm(dim=-1).max() < 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_top_keeps_its_basis_orthonormal_while_blocks_lose_rank(seed):
    A, _ = operator([10.0**-j for j in range(40)], seed)
    values, x = spectra.top(A, 8, seed)
    torch.testing.assert_close(values, 10.0 ** -torch.arange(8.0, dtype=F64), rtol=1e-8, atol=1e-15)
    torch.testing.assert_close(x @ x.T, torch.eye(8, dtype=F64), rtol=0, atol=1e-14)


def test_top_says_when_it_did_not_get_there():
    A, _ = operator(np.linspace(0, 1, 500))
    with pytest.raises(RuntimeError, match="30 products leave an error"):
        spectra.top(A, 3, seed=0, most=30)


# --- quadrature, densities, traces ------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 4, 100])
def test_quadrature_moments_are_exact(steps):
    loss, w = some_loss()
    A = spectra.hvp(loss, w)
    H = A.matrix() / torch.linalg.matrix_norm(A.matrix(), 2)
    scaled = spectra.Operator(lambda V: V @ H, w)
    nodes, weights = spectra.slq(scaled, steps, 6, seed=3)
    z = spectra.signs(scaled, 6, 3)
    power = z
    for degree in range(2 * steps if steps < 100 else 40):
        moment = (power * z).sum() / (6 * len(w))
        assert (weights * nodes**degree).sum().item() == pytest.approx(moment.item(), abs=1e-13)
        power = power @ H
    if steps < 100:
        degree = 2 * steps
        moment = (power * z).sum() / (6 * len(w))
        assert (weights * nodes**degree).sum().item() != pytest.approx(moment.item(), abs=1e-8)


def test_the_density_is_the_sum_of_its_bells_and_close_to_the_exact_one():
    loss, w = some_loss(h=40)
    A = spectra.hvp(loss, w)
    exact = torch.linalg.eigvalsh(A.matrix())
    spread = (exact[-1] - exact[0]).item()
    grid = torch.linspace(exact[0] - 0.2 * spread, exact[-1] + 0.2 * spread, 600, dtype=F64)
    width = 0.02 * spread
    true = spectra.density(exact, None, grid, width)
    bell = torch.distributions.Normal(exact[:, None], width)
    torch.testing.assert_close(true, bell.log_prob(grid).exp().mean(0), rtol=1e-10, atol=1e-12)
    assert torch.trapezoid(true, grid).item() == pytest.approx(1, abs=1e-6)
    got = spectra.density(*spectra.slq(A, 60, 20, seed=1), grid, width)
    assert torch.trapezoid((got - true).abs(), grid) < 0.1


def test_traces_are_unbiased_and_know_their_error():
    A, M = operator([(-1) ** j / (1 + j) ** 1.5 for j in range(40)])
    m, runs = 18, 400
    spread = (2 * (M.square().sum() - M.diagonal().square().sum()).item() / m) ** 0.5
    scatter = []
    for estimate in (spectra.trace, spectra.hutchpp):
        found = np.array([estimate(A, m, seed) for seed in range(runs)])
        scatter.append(found[:, 0].std())
        assert abs(found[:, 0].mean() - M.trace().item()) < 4 * scatter[-1] / runs**0.5
        assert np.sqrt((found[:, 1] ** 2).mean()) == pytest.approx(scatter[-1], rel=0.15)
    assert scatter[0] == pytest.approx(spread, rel=0.15)
    assert scatter[1] < scatter[0] / 2


def test_hutchpp_is_exact_where_the_sketch_holds_all():
    A, M = operator([5.0, -3, 1] + [0] * 20)
    value, error = spectra.hutchpp(A, 12, seed=0)
    assert value == pytest.approx(3, abs=1e-12)
    assert error < 1e-13
    small, _ = operator([1.0, 2])
    assert spectra.hutchpp(small, 60, seed=0).value == pytest.approx(3, abs=1e-13)
    diagonal = spectra.Operator(lambda V: V * torch.arange(4.0, dtype=F64), M[0, :4])
    assert spectra.trace(diagonal, 2, seed=0) == (6, 0)


def test_more_signs_begin_with_fewer():
    A, _ = operator(range(5))
    few, many = spectra.signs(A, 3, seed=1), spectra.signs(A, 50, seed=1)
    assert torch.equal(many[:3], few)
    assert set(many.unique().tolist()) == {-1, 1}
    assert not torch.equal(few, spectra.signs(A, 3, seed=2))


@pytest.mark.parametrize(
    ("eigenvalues", "count", "ratio"),
    [
        ([10, 9, 8, 2, 1.5, 1], 3, 4),
        ([-5, 1, 10, 9, 1e-9], 2, 9),
        ([10, 9, 0.1, 1e-12, 0], 2, 45),  # the floor is at 0.2
        ([10, 9, 0.1, 1e-12, -3], 2, 45),
        ([1, 1, 1], 0, 1),
        ([0, 0], 0, 1),
        ([-1, -2], 0, 1),
        ([4], 0, 1),
        ([4, -4], 1, 50),
        ([*np.linspace(2, 1, 41), 0.1], 40, 1.025),  # the great gap is behind the 41st
    ],
)
def test_outliers_follow_the_rule(eigenvalues, count, ratio):
    found = spectra.outliers(torch.tensor(eigenvalues, dtype=F64))
    assert found == (count, pytest.approx(ratio))


# --- watching, and what makes no sense --------------------------------------------------------


def runs():
    outputs, w, y = network(h=20)
    loss = spectra.criterion(outputs, y, "cross-entropy")
    A = spectra.hvp(loss, w)
    return {
        "hessian": lambda watch: spectra.hessian(loss, w, watch),
        "split": lambda watch: spectra.split(outputs, w, y, "cross-entropy", watch),
        "lanczos": lambda watch: spectra.lanczos(A, 30, seed=0, watch=watch),
        "top": lambda watch: spectra.top(A, 5, seed=0, most=80, watch=watch),
        "slq": lambda watch: spectra.slq(A, 30, 40, seed=0, watch=watch),
        "trace": lambda watch: spectra.trace(A, 100, seed=0, watch=watch),
        "hutchpp": lambda watch: spectra.hutchpp(A, 150, seed=0, watch=watch),
    }


@pytest.mark.parametrize("name", runs())
def test_every_run_is_watched_and_can_be_cancelled(name):
    run, heard = runs()[name], []

    def listen(fraction):
        heard.append(fraction)

    def stop(fraction):
        if fraction > 0.3:
            raise Cancelled

    run(listen)
    assert heard == sorted(heard)
    assert 0 <= heard[0] <= heard[-1] == 1
    assert len(heard) > 3
    with pytest.raises(Cancelled):
        run(stop)


def test_the_same_seed_gives_the_same_numbers():
    A, _ = operator(np.linspace(-1, 2, 50))
    for run in (
        lambda seed: spectra.slq(A, 5, 2, seed).nodes,
        lambda seed: spectra.lanczos(A, 5, seed).alpha,
        lambda seed: spectra.top(A, 2, seed, tolerance=0.1).values,
        lambda seed: torch.tensor(spectra.trace(A, 4, seed)),
        lambda seed: torch.tensor(spectra.hutchpp(A, 9, seed)),
    ):
        assert torch.equal(run(1), run(1))
        assert not torch.equal(run(1), run(2))


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda A: A(torch.ones(3)), r"\(P,\) or \(b, P\) with P = 4; got \(3,\)"),
        (lambda A: A(torch.ones(4)), "float64 on cpu, as w is; got torch.float32"),
        (lambda A: spectra.lanczos(A, 0, seed=0), "steps must be at least 1; got 0"),
        (lambda A: spectra.lanczos(A, 2, 0, 0 * A.like), "start must not be zero"),
        (lambda A: spectra.lanczos(A, 2, 0, torch.ones(3, dtype=F64)), "start must be"),
        (lambda A: spectra.top(A, 0, seed=0), "k must be between 1 and 4; got 0"),
        (lambda A: spectra.top(A, 5, seed=0), "k must be between 1 and 4; got 5"),
        (lambda A: spectra.top(A, 2, seed=0, end="upper"), "end must be one of largest"),
        (lambda A: spectra.slq(A, 3, 0, seed=0), "starts must be at least 1; got 0"),
        (lambda A: spectra.slq(A, 0, 3, seed=0), "steps must be at least 1; got 0"),
        (lambda A: spectra.trace(A, 1, seed=0), "products must be at least 2; got 1"),
        (lambda A: spectra.hutchpp(A, 5, seed=0), "products must be at least 6; got 5"),
        (lambda A: spectra.density(A.like, None, A.like, 0), "width must be positive; got 0"),
        (lambda A: spectra.outliers(A.like[:0]), "non-empty"),
        (lambda A: spectra.outliers(A.like / 0), "finite"),
        (lambda A: spectra.outliers(A.like, floor=0), "between 0 and 1; got 0"),
        (lambda A: spectra.hvp(lambda w: w.square().sum(), torch.ones(6000)).matrix(),
         "P must be at most 5000 .* got 6000: lower the width"),
        (lambda A: spectra.gauss_newton(lambda w: w[:9000].view(-1, 1), torch.ones(9000), "mse"),
         "n k P must be at most"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(call, why):
    with pytest.raises(ValueError, match=why):
        call(operator([1.0, 2, 3, 4])[0])
