"""Settings from files and the command line, and what is said of wrong ones."""

import pytest

from clip2video_plugin.errors import TrainingError
from clip2video_plugin.training import TrainConfig, load_config
from clip2video_plugin.training.config import recipes


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('model = "clip-vit-b32"\nepochs = 3\n[network]\nmax_frames = 8\n[train]\ndataset = "d"\n')
    return path


def test_changes_are_applied_to_the_file(file):
    changes = ["epochs=7", "learning_rate=3e-5", "network.temporal=mean", "cache=/tmp/c", "jitter=false", "ema = 0.5"]
    config = load_config(file, changes)
    assert (config.epochs, config.learning_rate, config.cache, config.jitter, config.ema) == (
        7,
        3e-5,
        "/tmp/c",
        False,
        0.5,
    )
    assert config.network == {"max_frames": 8, "temporal": "mean"}
    assert config.train == {"dataset": "d"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("epoch=3", "there is no setting 'epoch'; there are model, "),
        ("epochs=0", "epochs is 0; it must be at least 1"),
        ("epochs=2.5", "epochs is 2.5; expected a whole number"),
        ("epochs=many", "epochs is 'many'; expected a whole number"),
        ("learning_rate=0", "learning_rate is 0.0; it must be above 0"),
        ("learning_rate=nan", "learning_rate is nan"),
        ("optimiser=sgd", "optimiser is 'sgd'; allowed are adamw, reference"),
        ("negatives=none", "allowed are other-videos, reference"),
        ("betas=[0.9]", "expected two numbers"),
        ("warmup=1", r"warmup is 1.0; it must lie in \[0, 1\)"),
        ("accumulate=3", "batch_size is 128 and accumulate 3"),
        ("epochs", "is no key=value"),
        ("epochs.x=1", "epochs is not a table"),
        ("jitter=1", "jitter is 1; expected true or false"),
    ],
)
def test_wrong_settings_are_named(file, change, message):
    with pytest.raises(TrainingError, match=message) as error:
        load_config(file, [change])
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_used_is_one_line(tmp_path):
    with pytest.raises(TrainingError, match="no configuration 'nope'; name a TOML file, or one of finetune, ms"):
        load_config("nope")
    (tmp_path / "bad.toml").write_text("epochs = = 3")
    with pytest.raises(TrainingError, match=r"bad.toml cannot be read: .*line 1"):
        load_config(tmp_path / "bad.toml")
    (tmp_path / "raw.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TrainingError, match="cannot be read"):
        load_config(tmp_path / "raw.toml")


@pytest.mark.parametrize("name", sorted(recipes()))
def test_every_recipe_loads(name):
    config = load_config(name)
    assert config.train or name == "finetune"


def test_the_benchmarks_recipes_are_clip4clips():
    """docs/explanation/network.md#training-recipe"""
    for name in ("msrvtt", "msvd", "vatex"):
        config = load_config(name)
        assert (config.optimiser, config.learning_rate, config.clip_coefficient) == ("reference", 1e-4, 1e-3)
        assert (config.betas, config.eps, config.weight_decay, config.warmup) == ((0.9, 0.98), 1e-6, 0.2, 0.1)
        assert (config.epochs, config.batch_size, config.freeze_layers, config.clip_norm) == (5, 128, 0, 1.0)
        assert config.sampling == "reference"
    assert (load_config("msrvtt").fps, load_config("msvd").fps, load_config("vatex").fps) == (2.5, 5.0, 5.0)
    assert TrainConfig().optimiser == "adamw"
