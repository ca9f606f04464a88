"""Prompts into clusters of alike words: HaM measures each policy on each cluster by itself.

The paper (arXiv 2412.05469, section 4) names neither the method nor the number of clusters; TF-IDF and k-means are our
choice, since they need no model and give the same clusters everywhere.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from lightning_moa.errors import UserError

# Words of any length: one letter counts, and no list of stop words takes away what tells short prompts apart.
_WORD = r"\w+"


def cluster_prompts(prompts: Sequence[str], clusters: int, seed: int) -> np.ndarray:
    """The cluster of each prompt, by k-means (ten starts) on TF-IDF vectors of its words.

    Equal prompts fall into one cluster: distinct prompts are clustered, each weighted by how often it comes. Their
    words are weighed (IDF) among the distinct prompts. The order of the prompts changes nothing but the numbers of
    equally large clusters.

    Args:
        prompts: n texts.
        clusters: how many clusters, from 1 to the number of distinct prompts.
        seed: of the starts of k-means.

    Returns:
        (n,) int64 in 0..clusters - 1, none of them empty. 0 is the cluster with the most prompts; of equally large
        ones the lower number has the prompt that stands first.

    Raises:
        UserError: no prompts, another number of clusters, or prompts whose words don't tell that many apart.
    """
    if not prompts:
        raise UserError("prompts: none to cluster; allowed is at least one")
    distinct, index, counts = _distinct(prompts)
    if not 1 <= clusters <= len(distinct):
        raise UserError(
            f"clusters: {clusters} of {len(distinct)} distinct prompts; allowed are 1 to {len(distinct)}"
        )
    labels = _k_means(distinct, counts, clusters, seed) if clusters > 1 else np.zeros(len(distinct), int)
    return _by_size(labels[index])


def _distinct(prompts: Sequence[str]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The distinct prompts, each prompt's place among them, and how often each comes."""
    # Sorted, so that the order in which prompts stand doesn't change the clusters.
    distinct = sorted(set(prompts))
    places = {prompt: place for place, prompt in enumerate(distinct)}
    index = np.array([places[prompt] for prompt in prompts])
    return distinct, index, np.bincount(index)


def _k_means(texts: list[str], counts: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(token_pattern=_WORD)
    analyse = vectorizer.build_analyzer()
    if not any(analyse(text) for text in texts):
        raise UserError(
            f"prompts: no words in any of {len(texts)}; allowed are prompts with letters or digits"
        )
    vectors = vectorizer.fit_transform(texts)
    with warnings.catch_warnings():
        # It says that fewer clusters were found than asked for, which is an error below.
        warnings.simplefilter("ignore", ConvergenceWarning)
        means = KMeans(clusters, n_init=10, random_state=seed).fit(vectors, sample_weight=counts)
    labels = np.asarray(means.labels_)
    found = len(np.unique(labels))
    if found < clusters:
        raise UserError(
            f"clusters: {clusters}, the prompts' words tell only {found} apart; allowed are 1 to {found}"
        )
    return labels


def _by_size(labels: np.ndarray) -> np.ndarray:
    """The clusters renumbered: larger ones first, equally large ones by their first row."""
    _, first, inverse, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    numbers = np.empty(len(sizes), dtype=np.int64)
    numbers[np.lexsort((first, -sizes))] = np.arange(len(sizes))
    return numbers[inverse]
