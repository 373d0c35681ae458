"""What LanceDB imports and a search does not need is imported when something asks for it."""

import subprocess
import sys

from clip2video_plugin.index.postponed import postpone


def run(code):
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_an_index_is_imported_without_lancedbs_rest_client_which_is_there_when_asked_for():
    run(
        "import sys, clip2video_plugin.index\n"
        "client = sys.modules['lance_namespace_urllib3_client']\n"
        "assert 'lance_namespace_urllib3_client.api.table_api' not in sys.modules\n"
        "assert client.ApiClient.__module__ == 'lance_namespace_urllib3_client.api_client'\n"
        "from lance_namespace_urllib3_client import TableApi\n"
        "assert type(client) is type(sys)\n"
    )


def test_submodules_leave_the_init_out_and_the_first_thing_that_is_missing_runs_it(tmp_path, monkeypatch):
    package = tmp_path / "slow_package_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text("from .part import PART\nWHOLE = PART + 1\n")
    (package / "part.py").write_text("PART = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    postpone("slow_package_of_a_test")
    import slow_package_of_a_test as whole
    from slow_package_of_a_test.part import PART

    assert PART == 1
    assert "WHOLE" not in vars(whole)
    assert whole.WHOLE == 2


def test_what_is_imported_already_or_not_there_is_left_as_it_is():
    before = sys.modules["subprocess"]
    postpone("subprocess")
    postpone("a_package_that_nobody_has")
    assert sys.modules["subprocess"] is before
    assert "a_package_that_nobody_has" not in sys.modules
