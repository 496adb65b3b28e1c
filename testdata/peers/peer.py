"""What the golden_*.py scripts share: inputs, stand-ins for missing modules, and
the golden file.

A script runs one pinned release's own functions on the batches of inputs.json
and writes what they return. It types no formula again.
"""

import ast
import contextlib
import hashlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import inspect
import json
import math
import pathlib
import sys
import types

HERE = pathlib.Path(__file__).resolve().parent


class _Stub(types.ModuleType):
    """A module that has every attribute: a class that does nothing."""

    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        value = type(
            name,
            (),
            {"__init__": lambda self, *_, **__: None, "__class_getitem__": classmethod(lambda cls, _: cls)},
        )
        setattr(self, name, value)
        return value


class _Stubs(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, names):
        self.names = set(names)

    def find_spec(self, fullname, path=None, target=None):
        if any(fullname == n or fullname.startswith(n + ".") for n in self.names):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec):
        return _Stub(spec.name)

    def exec_module(self, module):
        pass


def stub(*names):
    """Lets `import name` succeed for modules that the functions under test do
    not need: cluster, accelerator and service packages."""
    sys.meta_path.insert(0, _Stubs(names))


def package(name, path):
    """Registers a package without running its __init__, which would import what
    only a cluster needs."""
    module = types.ModuleType(name)
    module.__path__ = [str(path)]
    sys.modules[name] = module


def location(distribution, package_name):
    """The folder of a package of an installed distribution, not imported."""
    return pathlib.Path(importlib.metadata.distribution(distribution).locate_file(package_name))


def inputs():
    return json.loads((HERE / "inputs.json").read_text())


def rows(tensor):
    return tensor.tolist()


@contextlib.contextmanager
def float32():
    """Makes float32 what tensors are, as in training."""
    import torch

    torch.set_default_dtype(torch.float32)
    yield
    torch.set_default_dtype(torch.float64)


def flat(groups):
    return [x for g in groups for x in g]


class Golden:
    """Collects results; write() stores them as golden/NAME-VERSION.json."""

    def __init__(self, name, *distributions, **versions):
        self.name, self.distributions, self.versions = name, distributions, versions
        self.sources, self.defaults = {}, {}
        self.cases = {"advantages": [], "losses": [], "kl": []}

    def symbol(self, fn):
        """The dotted name of a peer's function; notes its file's hash."""
        fn = inspect.unwrap(fn)
        path = pathlib.Path(inspect.getsourcefile(fn))
        self.hash(path, path.parents[fn.__module__.count(".")])
        return f"{fn.__module__}.{fn.__qualname__}"

    def hash(self, path, root):
        self.sources[str(path.relative_to(root))] = hashlib.sha256(path.read_bytes()).hexdigest()

    def add(self, kind, name, fn, dtype, **fields):
        fns = fn if isinstance(fn, (list, tuple)) else [fn]
        case = {"name": name, "symbol": " + ".join(self.symbol(f) for f in fns), "dtype": dtype}
        self.cases.setdefault(kind, []).append(case | fields)

    def default(self, path, root, owner, names):
        """Notes the defaults that a release's source file states for settings,
        names with spaces between them: attributes of the class owner, or, if
        that is None, options of an argument parser."""
        self.hash(path, root)
        found = {}
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.ClassDef(name=name, body=body) if name == owner:
                    for field in body:
                        match field:
                            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Call(args=[value, *_])):
                                found[name] = value
                            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Call(keywords=keywords)):
                                found |= {name: k.value for k in keywords if k.arg == "default"}
                            case ast.AnnAssign(target=ast.Name(id=name), value=value):
                                found[name] = value
                case ast.Call(
                    func=ast.Attribute(attr="add_argument"), args=[ast.Constant(value=name)], keywords=keywords
                ):
                    if owner is None:
                        found |= {name.removeprefix("--"): k.value for k in keywords if k.arg == "default"}
                        if any(k.arg == "action" for k in keywords):
                            found.setdefault(name.removeprefix("--"), ast.Constant(False))
        self.defaults |= {name: ast.literal_eval(found[name]) for name in names.split()}

    def write(self):
        import numpy

        versions = self.versions | {d: importlib.metadata.version(d) for d in self.distributions}
        for tool in ("torch", "jax"):
            if tool in sys.modules:
                versions[tool] = sys.modules[tool].__version__.split("+")[0]
        versions["numpy"] = numpy.__version__
        path = HERE / "golden" / f"{self.name}.json"
        lines = ["{", f' "peer": {json.dumps(self.name)},']
        lines += [f' "versions": {json.dumps(versions)},', f' "sources": {json.dumps(self.sources, sort_keys=True)},']
        lines += [f' "defaults": {json.dumps(self.defaults)},']
        kinds = []
        for kind, cases in self.cases.items():
            body = ",\n".join("  " + json.dumps(_finite(c), allow_nan=False) for c in cases)
            kinds.append(f' "{kind}": [\n{body}\n ]' if cases else f' "{kind}": []')
        path.write_text("\n".join(lines) + "\n" + ",\n".join(kinds) + "\n}\n")
        print(path, {k: len(v) for k, v in self.cases.items()})


def _finite(x):
    """NaN and infinities become null, which JSON has."""
    if isinstance(x, dict):
        return {k: _finite(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [_finite(v) for v in x]
    if isinstance(x, float) and not math.isfinite(x):
        return None
    return x
