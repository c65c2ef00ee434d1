"""Whole spectra of small networks, beside what dense matrices say."""

import numpy as np
import pytest
import torch

from gdviz.problems import curvature
from gdviz.problems.network import Network, clusters


@pytest.mark.parametrize("criterion", ["CE", "MSE"])
def test_spectra_are_those_of_the_dense_parts(criterion):
    (X, Y), net = clusters(40, 5, 3, 2.0, 1.0, 101), Network(5, 6, 3, "tanh", criterion)
    w = net.start([101, 102])
    found = curvature.spectra(net, w, X, Y, 2, lanczos=(net.size, 3), seed=1)
    for i, one in enumerate(w):
        G, R = net.split(one, X, Y)
        for got, want in ((found.H, G + R), (found.G, G), (found.R, R)):
            np.testing.assert_allclose(got[i][::-1], torch.linalg.eigvalsh(want), atol=1e-12)
        H, values, U = curvature.eigenpairs(net, one, X, Y)
        torch.testing.assert_close(U @ H @ U.T, values.diag(), rtol=0, atol=1e-12)
        profile = curvature.profile(net, one, X, Y)
        np.testing.assert_allclose(profile.H, found.H[i], atol=1e-12)
        assert profile.rank == np.linalg.matrix_rank(G.numpy(), tol=1e-12, hermitian=True)
        assert profile.residual == pytest.approx(np.abs(found.R[i]).max(), rel=1e-5)
    np.testing.assert_allclose(curvature.eigenvalues(net, w, X, Y), found.H, atol=1e-12)
    np.testing.assert_allclose(found.weights.sum(1), 1)
    assert np.all((found.overlap <= 1 + 1e-12) & (found.means <= 1 + 1e-12))
    if criterion == "MSE":  # Cauchy: eigenvalue ik of H and G is at least the i-th of E[hhᵀ]
        assert np.all(found.G[:, 2:21:3] >= found.hidden - 1e-12)
    else:
        assert found.hidden.size == 0


def test_densities_have_mass_1_and_counts_find_the_gap():
    values = np.array([[5.0, 4.0, 0.1, 0.1], [9.0, 0.3, 0.2, 0.2]])
    grid = np.linspace(-2, 12, 2000)
    found = curvature.densities(values, None, grid, np.array([0.1, 0.2]))
    np.testing.assert_allclose(found.sum(1) * (grid[1] - grid[0]), 1, rtol=1e-3)
    count, ratio = curvature.counts(values)
    assert count.tolist() == [2, 1]
    assert ratio == pytest.approx([40.0, 30.0])
