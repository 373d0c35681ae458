"""Training: the loss, and the trainer of the embedded model."""

from clip2video_plugin.training.loss import Loss, contrastive_loss

__all__ = ["Loss", "contrastive_loss"]
