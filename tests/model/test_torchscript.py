"""TorchScript archives are read as data: equal to what was saved, and nothing that they hold is run."""

import pickle
import struct
import zipfile
import zlib

import pytest
import torch
from torch import nn

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.convert import import_checkpoint, read_weights

from ..conftest import SHARED


class Tower(nn.Module):
    """What archives of weights have: parameters, buffers, plain attributes, shared and strided storages."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 2)
        self.blocks = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4, dtype=torch.bfloat16))
        self.tied = nn.Linear(4, 4)
        self.tied.weight = self.blocks[0].weight
        self.transposed = nn.Parameter(torch.randn(6, 4).half().t())
        self.part = nn.Parameter(torch.randn(50).double()[7:31:3])
        self.nothing = nn.Parameter(torch.zeros(0, 3))
        self.register_buffer("context_length", torch.tensor(77))
        self.mask = torch.ones(1).expand(5, 5)  # no weight: not in a state dict
        self.heads, self.sizes, self.name = 3, [1, 2], "tower"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).sum() + self.mask.sum() + self.part.sum() + self.transposed.sum() * self.heads


class Hostile(nn.Module):
    """Writes a file when the archive is loaded by TorchScript."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        return self.w, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        torch.save(torch.arange(7), "PWNED")
        self.w = state[0]
        self.training = state[1]


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    """An archive of torch's own making, and the state dict that it was made of."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("tower") / "tower.pt"
    traced = torch.jit.trace(Tower(), torch.randn(1, 3, 4, 4))
    torch.jit.save(traced, str(path))
    return path, {key: value.clone() for key, value in traced.state_dict().items()}


def read(path):
    from clip2video_plugin.model.torchscript import read_torchscript

    return read_torchscript(path)


def changed(source, target, compression=zipfile.ZIP_STORED, **members):
    """The archive with some members replaced (by bytes, or what a function makes of them) or left out (None)."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for info in old.infolist():
            name = info.filename.split("/", 1)[1]
            content = members.get(name, old.read(info))
            content = content(old.read(info)) if callable(content) else content
            if content is not None:
                new.writestr(info.filename, content)
    return target


def test_tensors_equal_what_was_saved(tower):
    found, saved = read(tower[0]), tower[1]
    assert sorted(found) == sorted(saved)
    assert "mask" not in found
    for key, value in saved.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value)
    assert found["tied.weight"].data_ptr() == found["blocks.0.weight"].data_ptr()


@pytest.mark.parametrize(("dtype", "code"), [(torch.float16, "e"), (torch.float32, "f"), (torch.float64, "d")])
def test_a_big_endian_archive_holds_the_same_numbers(tmp_path, dtype, code):
    module = nn.Linear(3, 2, dtype=dtype)
    torch.jit.save(torch.jit.script(module), str(tmp_path / "little.pt"))

    def turned(content):
        count = len(content) // struct.calcsize(code)
        return struct.pack(f">{count}{code}", *struct.unpack(f"<{count}{code}", content))

    path = changed(
        tmp_path / "little.pt", tmp_path / "big.pt", **{"byteorder": b"big", "data/0": turned, "data/1": turned}
    )
    assert all(torch.equal(value, read(path)[key]) for key, value in module.state_dict().items())
    with pytest.raises(CheckpointError, match="byte order is 'middle'"):
        read(changed(path, tmp_path / "middle.pt", byteorder=b"middle"))


def own_archive(tmp_path):
    torch.jit.save(torch.jit.script(Hostile()), str(tmp_path / "own.pt"))
    return tmp_path / "own.pt"


def evil_of_the_issue(tmp_path):
    if not (SHARED / "cases" / "evil.pt").is_file():
        pytest.skip("no ../shared/cases beside this checkout")
    return SHARED / "cases" / "evil.pt"


@pytest.mark.parametrize("archive", [own_archive, evil_of_the_issue])
def test_code_in_an_archive_is_not_run(c2v, tmp_path, archive):
    done = c2v("models", "import", archive(tmp_path), "--init-from-clip")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "only code in the file can restore" in done.stderr
    assert not list(tmp_path.rglob("PWNED"))


def pickled(*parts):
    """A data.pkl of opcodes as they come."""
    return b"\x80\x02" + b"".join(parts) + b"."


def named(module, name):
    return f"c{module}\n{name}\n".encode()


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


CALL = text("touch PWNED") + b"\x85R"
ATTACKS = {
    "a system call": pickled(named("os", "system"), CALL),
    "a system call by another name": pickled(named("posix", "system"), CALL),
    "an evaluation": pickled(named("builtins", "eval"), text("open('PWNED', 'w')") + b"\x85R"),
    "a name with dots": pickled(named("torch._utils", "_rebuild_tensor_v2.__globals__"), b")R"),
    "torch's own loader": pickled(named("torch.jit", "load"), CALL),
    "protocol 4": pickle.dumps(print, protocol=4),
    "an instance of an old class": pickled(b"(ios\nsystem\n"),
    "an extension": pickled(b"\x82\x01"),
    "a state for a function": pickled(named("torch._utils", "_rebuild_tensor_v2"), b"}" + text("x") + b"K\x01sb"),
    "a huge memo": pickled(b"}r\xff\xff\xff\x7f"),
    "no module at all": pickled(b"K\x01"),
    "a stack that is empty": pickled(b"R"),
    "nothing": b"",
    "cut": pickled(named("__torch__", "Tower"), b")\x81}")[:-3],
    "not a pickle": b"\xff" * 100,
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_pickle_in_an_archive_is_refused_and_not_run(tower, tmp_path, monkeypatch, attack):
    monkeypatch.chdir(tmp_path)
    path = changed(tower[0], tmp_path / "evil.pt", **{"data.pkl": ATTACKS[attack]})
    with pytest.raises(CheckpointError, match=r"evil\.pt is refused: .*; no code in it was run$"):
        import_checkpoint(path)
    assert [file.name for file in tmp_path.iterdir()] == ["evil.pt"]


def module(kind, **state):
    """Opcodes of a module object with a state."""
    return named("__torch__", kind) + b")\x81}" + b"".join(text(k) + v + b"s" for k, v in state.items()) + b"b"


def tensor(
    key="0", dtype="FloatStorage", count=b"K\x04", offset=b"K\x00", size=b"K\x04\x85", stride=b"K\x01\x85", rest=b""
):
    storage = b"(" + text("storage") + named("torch", dtype) + text(key) + text("cpu") + count + b"tQ"
    return named("torch._utils", "_rebuild_tensor_v2") + (
        b"(" + storage + offset + size + stride + b"\x89" + named("collections", "OrderedDict") + b")R" + rest + b"tR"
    )


def whole(number):
    size = (number.bit_length() + 8) // 8
    return b"\x8a" + bytes([size]) + number.to_bytes(size, "little", signed=True)


@pytest.fixture
def written(tmp_path):
    """Writes an archive with one parameter ``w`` from parts."""

    def write(value, storage=b"\0\0\x80?" * 4, compression=zipfile.ZIP_STORED, **members):
        path = tmp_path / "made.pt"
        files = {
            "data.pkl": pickled(module("Made", w=value)),
            "constants.pkl": pickled(b")"),
            "code/__torch__.py": b'class Made(Module):\n  __parameters__ = ["w", ]\n  __buffers__ = []\n',
            "data/0": storage,
            **members,
        }
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in files.items():
                if content is not None:
                    archive.writestr(f"made/{name}", content)
        return path

    return write


def test_an_archive_written_by_hand_is_read(written):
    assert torch.equal(read(written(tensor()))["w"], torch.ones(4))


TWO = b"K\x02K\x02\x86"
WRONG = {
    "storage is missing": tensor(key="7"),
    "storage is outside the archive": tensor(key="../../../etc/passwd"),
    "storage is longer than its record": tensor(count=b"K\x05"),
    "storage is of another type": tensor(dtype="DoubleStorage"),
    "storage is of no type": tensor(dtype="QInt8Storage"),
    "storage has fewer than no numbers": tensor(count=whole(-4)),
    "tensor is longer than its storage": tensor(size=b"K\x05\x85"),
    "tensor begins after its storage": tensor(offset=b"K\x04"),
    "tensor begins before its storage": tensor(offset=whole(-1)),
    "steps lead outside": tensor(size=TWO, stride=b"K\x03K\x01\x86"),
    "steps go back": tensor(stride=whole(-1) + b"\x85"),
    "sizes overflow": tensor(size=whole(2**40) + whole(2**40) + b"\x86", stride=b"K\x00K\x00\x86"),
    "one number stands for a million million": tensor(size=whole(10**12) + b"\x85", stride=b"K\x00\x85"),
    "sizes are beyond 64 bits": tensor(size=whole(2**80) + b"\x85"),
    "sizes are no numbers": tensor(size=text("four") + b"\x85"),
    "sizes are no list": tensor(size=b"K\x04"),
    "sizes and steps differ": tensor(size=TWO),
    "numbers are to be negated": tensor(rest=b"}" + text("neg") + b"\x88s"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_tensor_that_does_not_fit_is_refused(written, wrong):
    with pytest.raises(CheckpointError, match=r"made\.pt is refused"):
        read_weights(written(WRONG[wrong]))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(written):
    count, zeros = b"J" + struct.pack("<i", 1 << 24), bytes(1 << 26)
    bomb = written(tensor(count=count, size=count + b"\x85"), zeros, compression=zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 1 << 18
    with pytest.raises(CheckpointError, match="within the file's size"):
        read_weights(bomb)
    source = b"#" * (1 << 26)
    with pytest.raises(CheckpointError, match="texts are larger than 16 MB"):
        read_weights(written(tensor(), compression=zipfile.ZIP_DEFLATED, **{"code/__torch__.py": source}))


def test_modules_within_modules_without_end_are_refused(written):
    made = named("__torch__", "Made") + b")\x81"
    twice = [made + b"}" + text("a") + b"K\x00sbq\x00"]
    for level in range(1, 40):  # each holds the one below twice: 2 ** 40 paths
        below = b"h" + bytes([level - 1]) + b"s"
        twice.append(made + b"}" + text("a") + below + text("b") + below + b"bq" + bytes([level]))
    itself = made + b"q\x00}" + text("me") + b"h\x00sb"
    for content in (pickled(*twice), pickled(itself)):
        with pytest.raises(CheckpointError, match=r"modules are more than 100000, or more than 64 deep"):
            read_weights(written(tensor(), **{"data.pkl": content}))


@pytest.mark.parametrize("size", [0, 30, 0.3, 0.6, 0.9, 0.99])
def test_a_truncated_archive_is_named(tower, tmp_path, size):
    content = tower[0].read_bytes()
    (tmp_path / "cut.pt").write_bytes(content[: size if size > 1 else int(size * len(content))])
    with pytest.raises(CheckpointError, match=r"cut\.pt"):
        import_checkpoint(tmp_path / "cut.pt")


def test_a_damaged_number_is_named(tower, tmp_path):
    content = tower[0].read_bytes()
    with zipfile.ZipFile(tower[0]) as archive:
        number = archive.read("tower/data/0")
    assert zlib.crc32(number)
    (tmp_path / "damaged.pt").write_bytes(content.replace(number, number[:-1] + bytes([number[-1] ^ 1]), 1))
    with pytest.raises(CheckpointError, match=r"damaged\.pt is no weight file, or damaged: Bad CRC"):
        import_checkpoint(tmp_path / "damaged.pt")
