"""The main loops of the labs, each of them in gdviz, per-run autograd, batched NumPy and JAX."""

from loops import edge, filters, logistic, patches, sensing, training

LOOPS = {
    "logistic": logistic.LOOP,
    "patches": patches.LOOP,
    "filters": filters.LOOP,
    "symmetric": sensing.SYMMETRIC,
    "asymmetric": sensing.ASYMMETRIC,
    "training": training.LOOP,
    "edge": edge.LOOP,
}
