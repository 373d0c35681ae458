"""Scores or vectors to recall, median rank and mean rank. Knows nothing of how vectors were made."""

from clip2video_plugin.evaluation.files import evaluate_scores, evaluate_vectors
from clip2video_plugin.evaluation.moments import evaluate_moments, read_moments, write_moments
from clip2video_plugin.evaluation.report import Evaluation
from clip2video_plugin.evaluation.retrieval import Ranking, rank_blocks, rank_vectors, retrieval_metrics

__all__ = [
    "Evaluation",
    "Ranking",
    "evaluate_moments",
    "evaluate_scores",
    "evaluate_vectors",
    "rank_blocks",
    "rank_vectors",
    "read_moments",
    "retrieval_metrics",
    "write_moments",
]
