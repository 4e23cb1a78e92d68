"""The trees of a model as plain tables: the score of one person and what each feature added to it, exactly."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_DEPTH = 8
CHUNK_ROWS = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """Oblivious trees: bit b of a leaf's number says whether `values[feature[t, b]] > border[t, b]`.

    A missing value is never greater, as CatBoost trains with `nan_mode="Min"`. Shallow trees are padded with
    borders that nothing exceeds.
    """

    feature: NDArray[np.intp]  # [tree, depth]
    border: NDArray[np.float32]  # [tree, depth]
    leaf: Floats  # [tree, 2 ** depth], log-odds of default
    bias: float
    share: Floats  # [tree, 2 ** depth, depth]: Shapley value of each distinct feature of the tree
    share_feature: NDArray[np.intp]  # [tree * depth]: whose value that is
    base: float  # mean log-odds over the training rows: what the contributions are counted from
    width: int  # features in a row


def read(exported: bytes) -> Trees:
    """Read CatBoost's JSON export; every feature must be a float feature and every tree oblivious."""
    model = json.loads(exported)
    scale, bias = model["scale_and_bias"]
    grown = model["oblivious_trees"]
    depth = max((len(tree["splits"] or ()) for tree in grown), default=0)
    if not grown or depth > MOST_DEPTH:
        raise ValueError(f"{len(grown)} trees of depth up to {depth} cannot be tabled")
    trees = Trees(
        feature=np.zeros((len(grown), depth), np.intp),
        border=np.full((len(grown), depth), np.inf, np.float32),
        leaf=np.zeros((len(grown), 2**depth)),
        bias=float(bias[0] if isinstance(bias, list) else bias),
        share=np.zeros((len(grown), 2**depth, depth)),
        share_feature=np.zeros(len(grown) * depth, np.intp),
        base=0.0,
        width=len(model["features_info"]["float_features"]),
    )
    base = trees.bias + sum(_fill(trees, number, tree, float(scale)) for number, tree in enumerate(grown))
    return replace(trees, base=base)


def _fill(trees: Trees, number: int, tree: Mapping[str, Any], scale: float) -> float:
    """Write one tree into the tables and return its mean over the training rows."""
    splits = tree["splits"] or ()  # CatBoost writes null where nothing was worth a split
    features = [split["float_feature_index"] for split in splits]
    values = np.array(tree["leaf_values"], dtype=np.float64) * scale
    trees.feature[number, : len(splits)] = features
    trees.border[number, : len(splits)] = [split["border"] for split in splits]
    trees.leaf[number, : len(values)] = values
    mean, shares = shapley(features, values, np.array(tree["leaf_weights"], dtype=np.float64))
    depth = trees.feature.shape[1]
    for slot, (feature, added) in enumerate(shares.items()):
        trees.share[number, : len(values), slot] = added
        trees.share_feature[number * depth + slot] = feature
    return mean


def shapley(features: Sequence[int], values: Floats, weights: Floats) -> tuple[float, dict[int, Floats]]:
    """Mean of one tree, and for each distinct feature its Shapley value in every leaf.

    The game is TreeSHAP's path-dependent one (Lundberg et al. 2018): a feature that is out of the coalition
    splits by the training rows of each branch. With at most eight features a tree the sum over all
    coalitions is short enough to be done once, when the model is loaded.
    """
    depth = len(features)
    # Axis a of the cube is bit depth-1-a of the leaf's number: CatBoost walks a tree from its last split.
    axes = {f: [depth - 1 - bit for bit in range(depth) if features[bit] == f] for f in sorted(set(features))}
    cube, branch = values.reshape((2,) * depth), _branch_shares(weights.reshape((2,) * depth))
    expected = {
        known: _expected(cube, branch, [a for f in axes if f not in known for a in axes[f]])
        for size in range(len(axes) + 1)
        for known in map(frozenset, combinations(axes, size))
    }
    shares = {}
    for feature in axes:
        added = np.zeros((2,) * depth)
        for known, mean in expected.items():
            if feature not in known:
                order = factorial(len(known)) * factorial(len(axes) - len(known) - 1) / factorial(len(axes))
                added = added + order * (expected[known | {feature}] - mean)
        shares[feature] = added.reshape(-1)
    return float(expected[frozenset()].item()), shares


def _branch_shares(weights: Floats) -> list[Floats]:
    """For each axis the share of its node's training rows that went each way."""
    shares = []
    for axis in range(weights.ndim):
        below = weights.sum(axis=tuple(range(axis + 1, weights.ndim)), keepdims=True)
        node = below.sum(axis=axis, keepdims=True)
        shares.append(np.divide(below, node, out=np.zeros_like(below), where=node > 0))
    return shares


def _expected(cube: Floats, branch: Sequence[Floats], unknown: Sequence[int]) -> Floats:
    """Mean of the cube over the unknown axes, each weighted by its branch shares."""
    for axis in unknown:
        cube = cube * branch[axis]
    return np.asarray(cube.sum(axis=tuple(unknown), keepdims=True))


def explained(trees: Trees, values: NDArray[np.float32]) -> tuple[float, Floats]:
    """Raw log-odds of one row and the exact contribution of each feature; they add up with `base`."""
    number = np.arange(len(trees.leaf))
    leaf = (values[trees.feature] > trees.border) @ (1 << np.arange(trees.feature.shape[1]))
    # One after the other, as `raw` adds them: a batch and a single call agree to the last bit.
    score = float(np.add.accumulate(trees.leaf[number, leaf])[-1]) + trees.bias
    shares = trees.share[number, leaf].ravel()
    added = np.bincount(trees.share_feature, weights=shares, minlength=trees.width)
    return score, added.astype(np.float64, copy=False)


def raw(trees: Trees, values: NDArray[np.float32]) -> Floats:
    """Raw log-odds of many rows, float32 [row, feature], in chunks that stay in the processor's cache."""
    scores = np.empty(len(values))
    for start in range(0, len(values), CHUNK_ROWS):
        columns = np.ascontiguousarray(values[start : start + CHUNK_ROWS].T)
        scores[start : start + CHUNK_ROWS] = _raw_chunk(trees, columns)
    return scores


def _raw_chunk(trees: Trees, columns: NDArray[np.float32]) -> Floats:
    total = np.zeros(columns.shape[1])
    for feature, border, leaf in zip(trees.feature, trees.border, trees.leaf, strict=True):
        index = np.zeros(columns.shape[1], np.uint8)
        for bit in range(len(feature)):
            index |= (columns[feature[bit]] > border[bit]).view(np.uint8) << np.uint8(bit)
        total += leaf[index]
    return total + trees.bias
