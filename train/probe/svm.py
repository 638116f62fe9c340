"""A linear support vector machine: features and labels in, a classifier of them out.

The paper's classifier (Radford et al. 2016, section 5: "a regularized linear L2-SVM") is one against the rest, with
squared hinge losses. Of each class, w and b make the least of

    (‖w‖² + b²) / 2 + C · Σᵢ max(0, 1 − yᵢ (w·xᵢ + b))²,    yᵢ = 1 of the class, and −1 of the rest,

which is what scikit-learn's ``LinearSVC`` minimises as it comes, and what the authors called. Features are taken as
they are, as in the authors' code: nothing is standardised, and C means what it means there.

``LinearSVC`` copies features to sixteen bytes a number (LIBLINEAR's node), and passes over them class after class:
23 GB for CIFAR-10's 50,000 x 28,672. `Solver.NEWTON` reads them where they are, all classes in one product: a Newton
method whose step is found by conjugate gradients (Lin, Weng & Keerthi 2008, JMLR 9:627, whose stopping rule it keeps),
and whose length is exact, for the objective is a piecewise parabola along it (Keerthi & DeCoste 2005, JMLR 6:341).
Where there are many more images than features, conjugate gradients are preconditioned by the Hessian as it is while
every image counts, I + 2 C XᵀX, which one decomposition solves for all classes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from sklearn.svm import LinearSVC
from torch import Tensor

from pipelines.errors import ConfigError
from train.probe.data import Features, Indices

TOLERANCE = 1e-4  # of the gradient's norm, beside that at w = 0; scikit-learn's usual, too
MOST_NEWTON_STEPS = 100
MOST_PRODUCTS = 200  # of one step's conjugate gradients
INEXACTNESS = 0.1  # of a step: the share of the gradient that conjugate gradients may leave
MOST_TRIES = 40  # of a step's length
EXACTNESS = 1e-9  # of a step's length, beside itself
LARGEST_GRAM = 20_000  # features that are multiplied with one another, on a CPU: 7.5 GiB in all
TINY = 1e-300  # what a class that is done is divided by
LIBLINEAR_NUMBERS = 2_000_000  # features beyond which LIBLINEAR is not asked: some seconds, where Newton takes one
LIBLINEAR_STEPS = 10_000


class Solver(StrEnum):
    """What minimises the objective."""

    AUTO = "auto"  # LIBLINEAR where it is quick, on the CPU; else Newton's method
    LIBLINEAR = "liblinear"  # scikit-learn's LinearSVC
    NEWTON = "newton"  # our own, on the device


@dataclass(frozen=True, slots=True, eq=False)
class LinearClassifier:
    """One score per class, of which the highest wins.

    Attributes:
        weights: float64 (D, classes).
        intercepts: float64 (classes,).
    """

    weights: npt.NDArray[np.float64]
    intercepts: npt.NDArray[np.float64]

    def predict(self, features: Features) -> Indices:
        """The class of each row of float32 (N, D): int64 (N,)."""
        scores = features @ self.weights.astype(np.float32) + self.intercepts.astype(np.float32)
        return np.asarray(scores.argmax(axis=1), np.int64)

    def measure_accuracy(self, features: Features, labels: Indices) -> float:
        """The share of rows whose class is that in ``labels``."""
        return float((self.predict(features) == labels).mean())

    def objective(self, features: Features, labels: Indices, c: float) -> npt.NDArray[np.float64]:
        """What was minimised, of each class: float64 (classes,)."""
        scores = features @ self.weights.astype(np.float32) + self.intercepts
        signs = np.where(labels[:, None] == np.arange(len(self.intercepts)), 1.0, -1.0)
        losses = np.maximum(0, 1 - signs * scores) ** 2
        return np.asarray(((self.weights**2).sum(0) + self.intercepts**2) / 2 + c * losses.sum(0), np.float64)


def fit(
    features: Features,
    labels: Indices,
    c: float,
    *,
    classes: int | None = None,
    solver: Solver = Solver.AUTO,
    device: torch.device | None = None,
    seed: int = 0,
) -> LinearClassifier:
    """Fit one classifier, see `fit_path`."""
    return next(fit_path(features, labels, [c], classes=classes, solver=solver, device=device, seed=seed))


def fit_path(
    features: Features,
    labels: Indices,
    grid: Sequence[float],
    *,
    classes: int | None = None,
    solver: Solver = Solver.AUTO,
    device: torch.device | None = None,
    seed: int = 0,
) -> Iterator[LinearClassifier]:
    """Yield a classifier for each C, in their order; Newton's method begins each where the one before ended.

    Args:
        features: float32 (N, D), in rows; never copied but to a GPU.
        labels: int64 (N,).
        grid: values of C; ascending ones are quickest.
        classes: how many there are; one more than the highest label if None.
        solver: what minimises.
        device: of Newton's method; the CPU if None.
        seed: of LIBLINEAR's order.

    Raises:
        ConfigError: there is only one class, or a C is not above zero.
    """
    if len(np.unique(labels)) < 2:
        raise ConfigError("all images to learn from are of one class", hint="give a set of two classes or more")
    if not all(c > 0 for c in grid):
        raise ConfigError(f"C is {min(grid)}", hint="give more than 0")
    count = int(labels.max()) + 1 if classes is None else classes
    on = device or torch.device("cpu")
    if choose_solver(solver, features.size, on) is Solver.LIBLINEAR:
        for c in grid:
            yield _ask_liblinear(features, labels, c, count, seed)
        return
    problem = _Problem(features, labels, count, on)
    weights = torch.zeros(problem.shape, dtype=torch.float64, device=on)
    for c in grid:
        weights = _minimise(problem, weights, c)
        found = weights.cpu().numpy()
        yield LinearClassifier(found[:, :-1].T.copy(), found[:, -1].copy())


def choose_solver(solver: Solver, numbers: int, device: torch.device) -> Solver:
    """The solver itself, of so many numbers (N · D) on a device."""
    if solver is not Solver.AUTO:
        return solver
    return Solver.LIBLINEAR if numbers <= LIBLINEAR_NUMBERS and device.type == "cpu" else Solver.NEWTON


def _ask_liblinear(features: Features, labels: Indices, c: float, classes: int, seed: int) -> LinearClassifier:
    svc = LinearSVC(C=c, tol=TOLERANCE, max_iter=LIBLINEAR_STEPS, dual="auto", random_state=seed)
    svc.fit(features, labels)
    found, intercepts = svc.coef_.T, svc.intercept_
    if len(svc.classes_) == 2:  # one score, whose sign tells
        found, intercepts = np.hstack([-found, found]), np.concatenate([-intercepts, intercepts])
    weights = np.zeros((features.shape[1], classes))
    every = np.full(classes, -np.inf)  # what it has not seen never wins
    weights[:, svc.classes_], every[svc.classes_] = found, intercepts
    return LinearClassifier(weights, every)


class _Problem:
    """Features on the device, and the two products with them that a solver needs.

    A row of weights is of a class: float64 (K, D + 1), the last its intercept. Products are of float32, all else of
    float64; laid out this way, BLAS takes them four times as fast as the other way round.
    """

    def __init__(self, features: Features, labels: Indices, classes: int, device: torch.device) -> None:
        self.features = torch.from_numpy(features).to(device)
        is_of = torch.from_numpy(labels).to(device) == torch.arange(classes, device=device)[:, None]
        self.signs = torch.where(is_of, 1.0, -1.0).to(torch.float64)
        self.shape = (classes, features.shape[1] + 1)
        rarer = torch.minimum(is_of.sum(1), (~is_of).sum(1)).clamp(min=1)
        self.share = rarer.to(torch.float64) / len(labels)

    def score(self, weights: Tensor) -> Tensor:
        """Of each class and image: (K, N)."""
        return (weights[:, :-1].float() @ self.features.T).double() + weights[:, -1:]

    def gather(self, residuals: Tensor) -> Tensor:
        """The transposed product: of (K, N), (K, D + 1)."""
        return torch.cat([(residuals.float() @ self.features).double(), residuals.sum(1, keepdim=True)], dim=1)

    @cached_property
    def gram(self) -> Tensor:
        """The products of all features, and the intercept's ones, with one another: float32 (D + 1, D + 1)."""
        sums = self.features.sum(0, dtype=torch.float64)
        gram = torch.empty(self.shape[1], self.shape[1], device=self.features.device)
        torch.mm(self.features.T, self.features, out=gram[:-1, :-1])
        gram[-1, :-1] = gram[:-1, -1] = sums
        gram[-1, -1] = len(self.features)
        return gram

    def precondition(self, c: float) -> Callable[[Tensor], Tensor]:
        """What (K, D + 1) is multiplied by, so that few steps are needed; nothing where that does not pay.

        A GPU reads features so fast that it does not, and so it is with few images.
        """
        images, features = self.features.shape
        if self.features.is_cuda or features > LARGEST_GRAM or images < 2 * features:
            return lambda residual: residual
        hessian = self.gram.double().mul_(2 * c)
        hessian.diagonal().add_(1)
        factor = torch.linalg.cholesky(hessian)
        return lambda residual: torch.cholesky_solve(residual.T, factor).T


def _minimise(problem: _Problem, weights: Tensor, c: float) -> Tensor:
    """Newton's method from ``weights``, all classes at once.

    Stops where the gradient's norm is at most `TOLERANCE` times the share of the rarer sign times the norm at zero.
    """
    bound = TOLERANCE * problem.share * (2 * c * problem.gather(problem.signs)).norm(dim=1)
    scores, precondition = problem.score(weights), problem.precondition(c)
    for _ in range(MOST_NEWTON_STEPS):
        active = problem.signs * scores < 1
        gradient = weights + 2 * c * problem.gather((scores - problem.signs) * active)
        unfinished = gradient.norm(dim=1) > bound
        if not unfinished.any():
            break
        step = _solve(problem, active, -gradient * unfinished[:, None], c, precondition)
        along = problem.score(step)
        length = _search(problem, weights, step, scores, along, c)
        weights = weights + length * step
        scores = scores + length * along
    return weights


def _solve(
    problem: _Problem, active: Tensor, wanted: Tensor, c: float, precondition: Callable[[Tensor], Tensor]
) -> Tensor:
    """Conjugate gradients: the step whose product with the Hessian comes near to ``wanted`` (K, D + 1)."""
    step = torch.zeros_like(wanted)
    residual = wanted.clone()
    direction = precondition(residual).clone()
    overlap = _sum(residual * direction)
    squares = _sum(residual**2)
    goal = INEXACTNESS**2 * squares
    for _ in range(MOST_PRODUCTS):
        live = (squares > goal).flatten().nonzero().flatten()  # classes: products of fewer are quicker
        if not len(live):
            break
        towards = direction[live]
        product = towards + 2 * c * problem.gather(active[live] * problem.score(towards))
        size = overlap[live] / _sum(towards * product)
        step[live] += size * towards
        residual[live] -= size * product
        squares[live] = _sum(residual[live] ** 2)
        conditioned = precondition(residual[live])
        after = _sum(residual[live] * conditioned)
        direction[live] = conditioned + after / overlap[live] * towards
        overlap[live] = after
    return step


def _search(problem: _Problem, weights: Tensor, step: Tensor, scores: Tensor, along: Tensor, c: float) -> Tensor:
    """The length (K, 1) along ``step`` where each class's objective is least.

    The slope is increasing and consists of straight pieces: Newton's method on it, kept inside a bracket.
    """
    at_zero, per_length = _sum(weights * step), _sum(step**2)
    low, high = torch.zeros_like(per_length), torch.full_like(per_length, torch.inf)
    length = torch.ones_like(per_length)
    for _ in range(MOST_TRIES):
        reached = scores + length * along
        active = problem.signs * reached < 1
        slope = at_zero + length * per_length + 2 * c * _sum((reached - problem.signs) * along * active)
        curvature = per_length + 2 * c * _sum(along**2 * active)
        low, high = torch.where(slope < 0, length, low), torch.where(slope < 0, high, length)
        guess = length - slope / curvature.clamp(min=TINY)
        halfway = torch.where(high.isinf(), 2 * length, (low + high) / 2)
        following = torch.where((guess > low) & (guess < high), guess, halfway)
        if ((following - length).abs() <= EXACTNESS * length).all():
            break
        length = following
    return length


def _sum(values: Tensor) -> Tensor:
    """Of each class: (K, 1)."""
    return values.sum(1, keepdim=True)
