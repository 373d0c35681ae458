"""Score matrices to recall, median rank and mean rank. Knows nothing of how vectors were made."""

from clip2video_plugin.evaluation.retrieval import Ranking, rank_blocks, retrieval_metrics

__all__ = ["Ranking", "rank_blocks", "retrieval_metrics"]
