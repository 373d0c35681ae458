import pytest
import torch


@pytest.fixture(autouse=True, scope="package")
def _one_thread():
    """Networks this small are fastest on one thread, and do not wait for a busy core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
