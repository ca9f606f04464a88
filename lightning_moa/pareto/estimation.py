"""How far the hypervolume of a mini-batch is from that of all the data: HaM's Theorem 1 and its proof's chain."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from lightning_moa.errors import UserError
from lightning_moa.pareto.hypervolume import hypervolume
from lightning_moa.pareto.points import as_points


def normalised(weighted: ArrayLike, z: float) -> np.ndarray:
    """Lbar = max((L + z) / z, 0) of weighted log-likelihoods L <= 0, in [0, 1], higher is better (HaM, eq. 4).

    The order of values above -z is kept; all below become 0.

    Args:
        weighted: L_j(theta_k), any shape, such as (..., K, J), in nats.
        z: above 0, in nats.

    Raises:
        UserError: z isn't a finite number above 0, or a value is positive or NaN.
    """
    values = np.asarray(weighted, dtype=np.float64)
    if not (math.isfinite(z) and z > 0):
        raise UserError(f"z is {z}: allowed are finite numbers above 0")
    if not (values <= 0).all():
        raise UserError("weighted log-likelihoods: a positive value or NaN; allowed are numbers up to 0")
    return np.maximum((values + z) / z, 0.0)


def hypervolume_bound(k: int, j: int, batch: int, delta: float) -> float:
    """J K sqrt(log(J K / delta) / (2 B)): HaM's Theorem 1.

    With probability at least 1 - delta, says the theorem, the hypervolume of a mini-batch is no further than this
    from that of all the data, whatever the policies and rewards, if z is at least the largest |log p|. Hypervolumes
    lie in [0, 1], so a bound above 1 says nothing.

    The printed proof counts one side of each of the J K deviations; Hoeffding's inequality for both sides needs
    log(2 J K / delta). For a single policy and objective the printed form can fail: K = J = B = 1, delta = 0.65 and two
    rows of rewards 0 and 1 give an error of 1/2 in every draw, and a bound of 0.46.

    Args:
        k: number of policies, K >= 1.
        j: number of objectives, J >= 1.
        batch: rows of a mini-batch, B >= 1.
        delta: in (0, 1).

    Raises:
        UserError: a value outside its range.
    """
    if k < 1 or j < 1:
        raise UserError(f"hypervolume bound: {k} policies, {j} objectives; allowed are whole numbers from 1")
    if not 0 < delta < 1:
        raise UserError(f"hypervolume bound: delta is {delta}, allowed are numbers between 0 and 1")
    _check_count("batch", batch)
    return j * k * math.sqrt(math.log(j * k / delta) / (2 * batch))


def smallest_z(logps: ArrayLike) -> float:
    """L = max |log p|, the smallest z for which Theorem 1 holds; log-probabilities (K, n) of whole responses, nats."""
    return float(-_log_probabilities(logps).min())


def batch_estimates(
    logps: ArrayLike,
    rewards: ArrayLike,
    z: float,
    batch: int,
    draws: int,
    rng: np.random.Generator,
    policies: Sequence[int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The normalised weighted log-likelihoods of K policies on all rows, and on mini-batches (HaM, eqs. 3, 4, 9).

    A mini-batch is `batch` rows drawn uniformly **with replacement**: the proof's independent samples. Training
    commonly goes through the rows without replacement, where errors are smaller. All policies and objectives see
    the same mini-batch; generators of equal state give equal mini-batches.

    Args:
        logps: (K, n) log p(y_i | x_i; theta_k) of whole responses, in nats, at most 0.
        rewards: (n, J) r_j(x_i, y_i) in [0, 1].
        z: at least the largest |log p| of these policies, which the theorem needs: then nothing is clipped in eq. 4.
        batch: B >= 1, which may exceed n.
        draws: number of mini-batches, at least 1.
        policies: rows of `logps` that count, all if not given.

    Returns:
        Lbar (K, J) on all rows, and Fbar (draws, K, J), both in [0, 1].

    Raises:
        UserError: shapes that don't fit together, no rows, a reward outside [0, 1], a positive or infinite log p, a z
            that is too small, a batch or number of draws below 1, an unknown policy.
    """
    chosen = _chosen(_log_probabilities(logps), policies)
    gains = as_points(rewards, "rewards")
    if len(gains) != chosen.shape[1]:
        raise UserError(
            f"rewards: {len(gains)} rows, allowed are {chosen.shape[1]}, one for each column of logps"
        )
    if not ((gains >= 0) & (gains <= 1)).all():
        row = int(np.argmin(((gains >= 0) & (gains <= 1)).all(axis=1)))
        raise UserError(f"rewards: {gains[row].tolist()} in row {row}, allowed are numbers from 0 to 1")
    if not z >= (least := smallest_z(chosen)):
        raise UserError(f"z is {z}: the theorem needs at least the largest |log p|, {least}")
    _check_count("batch", batch)
    _check_count("draws", draws)
    terms = chosen.T[:, :, None] * gains[:, None, :]
    sampled = np.stack([terms[rng.integers(len(terms), size=batch)].mean(axis=0) for _ in range(draws)])
    return normalised(terms.mean(axis=0), z), normalised(sampled, z)


def volume_errors(values: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """(draws,) |vol(V) - vol(Vhat)| of values (K, J) and estimates (draws, K, J); volumes above the origin."""
    origin = np.zeros(values.shape[1])
    volumes = np.array([hypervolume(points, origin) for points in estimates])
    return np.abs(hypervolume(values, origin) - volumes)


def summed_errors(values: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """(draws,) sum over k, j of |Lbar_j(theta_k) - Fbar_j(theta_k)|, which bounds `volume_errors` in every draw."""
    return np.abs(values - estimates).sum(axis=(1, 2))


def batch_errors(
    logps: ArrayLike,
    rewards: ArrayLike,
    z: float,
    batch: int,
    draws: int,
    rng: np.random.Generator,
    policies: Sequence[int] | None = None,
) -> np.ndarray:
    """(draws,) |vol(V) - vol(Vhat)|, what Theorem 1 bounds; arguments and errors as in `batch_estimates`."""
    return volume_errors(*batch_estimates(logps, rewards, z, batch, draws, rng, policies))


def chained_bound(
    logps: ArrayLike,
    rewards: ArrayLike,
    z: float,
    batch: int,
    draws: int,
    rng: np.random.Generator,
    policies: Sequence[int] | None = None,
) -> np.ndarray:
    """(draws,) the middle of the proof's chain (HaM, A.2): sum over k, j of |Lbar - Fbar|, at least the error.

    It bounds `batch_errors` draw by draw if the generator begins in the same state. Arguments and errors as in
    `batch_estimates`.
    """
    return summed_errors(*batch_estimates(logps, rewards, z, batch, draws, rng, policies))


def _log_probabilities(logps: ArrayLike) -> np.ndarray:
    array = as_points(logps, "logps")
    if not len(array):
        raise UserError(f"logps: shape {array.shape}, allowed is (K, n) with at least one policy and one row")
    if (array > 0).any():
        raise UserError(f"logps: {array.max()} is above 0, allowed are log-probabilities, at most 0")
    return array


def _chosen(logps: np.ndarray, policies: Sequence[int] | None) -> np.ndarray:
    if policies is None:
        return logps
    if not len(policies) or not all(0 <= policy < len(logps) for policy in policies):
        raise UserError(f"policies {list(policies)}: allowed are one or more of 0 to {len(logps) - 1}")
    return logps[list(policies)]


def _check_count(name: str, count: int) -> None:
    if count < 1:
        raise UserError(f"{name} is {count}, allowed are whole numbers from 1")
