"""The stages between thumbnails and clean shards, in the order of the sentence: each reads finished manifests, calls
pure functions, and writes arrays and tables. Images are numbered by their place among all usable ones."""

from dedup.stages.encoding import CodeStage, EncoderStage, Origin, choose_origin
from dedup.stages.grouping import GroupStage
from dedup.stages.pairing import PairStage
from dedup.stages.searching import CandidateStage, SearchStage
from dedup.stages.sharpness import SharpnessStage

__all__ = [
    "CandidateStage",
    "CodeStage",
    "EncoderStage",
    "GroupStage",
    "Origin",
    "PairStage",
    "SearchStage",
    "SharpnessStage",
    "choose_origin",
]
