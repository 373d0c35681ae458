import pytest


@pytest.fixture(autouse=True)
def models_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("C2V_MODELS", str(tmp_path / "models"))
