"""Training: the contrastive loss, and fine-tuning on captioned videos."""

from clip2video_plugin.training.config import TrainConfig, load_config
from clip2video_plugin.training.loss import Loss, contrastive_loss
from clip2video_plugin.training.trainer import TrainResult, train

__all__ = ["Loss", "TrainConfig", "TrainResult", "contrastive_loss", "load_config", "train"]
