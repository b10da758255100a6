"""Rewrites a wrapper that Inductor generated so that it loads without Inductor's compiler (worker side)."""

from __future__ import annotations

import ast
import hashlib
import marshal
from collections.abc import Collection
from typing import Any

import msgpack

from .slim import EXTERN_NAMES
from .triton_tuning import triton_key

SLIM = "fxfarm._torch.slim"
_SLIM_NAMES = {
    ("torch._inductor.hooks", "run_intermediate_hooks"),
    ("torch._inductor.codegen.memory_planning", "_align"),
    ("torch._inductor.async_compile", "AsyncCompile"),
    ("torch._inductor.select_algorithm", "extern_kernels"),
}
# What a wrapper imports for Triton kernels, and uses nowhere where the artifact has them all.
_TRITON_NAMES = frozenset(("triton", "tl", "start_graph", "end_graph"))
_TRITON_MODULES = frozenset(("triton", "triton.language", "torch._inductor.runtime.triton_heuristics"))
# Brought in by Dynamo itself, or light: no reason to rewrite them or to name them as needs.
_LIGHT = frozenset(("torch._inductor.utils", "torch._inductor.runtime", "torch._inductor.inductor_prims"))


def kernel_key(argtypes: list[str], source: str) -> str:
    """The name under which an artifact carries the C++ kernel of this source."""
    return hashlib.sha256(msgpack.packb([list(argtypes), source])).hexdigest()


class Rewritten:
    """A wrapper as the client runs it. `triton` has the keys of the kernels that the artifact can bring."""

    def __init__(self, source: str, triton: Collection[str] = ()) -> None:
        self.needs: set[str] = set()
        self.kernels: list[str] = []
        self.triton_kernels: list[str] = []
        tree = ast.parse(source)
        for name in ("get_args", "benchmark_compiled_module"):
            tree.body = [n for n in tree.body if not (isinstance(n, ast.FunctionDef) and n.name == name)]
        full = self._needs_compiler(tree)
        if self._needs_triton(tree, triton):
            self.needs.add("torch._inductor.async_compile")
            full = True
        tree = _Rewriter(self, full).visit(tree)
        ast.fix_missing_locations(tree)
        self.source = ast.unparse(tree)
        # Compiled from the text, so that the code is the same wherever the text is.
        self.code = marshal.dumps(compile(self.source, "<fxfarm artifact>", "exec"))

    def _needs_compiler(self, tree: ast.Module) -> bool:
        """Whether the wrapper uses anything of the replaced modules that `slim` does not have."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                owner, name = node.value.id, node.attr
                if owner == "extern_kernels" and name not in EXTERN_NAMES:
                    self.needs.add("torch._inductor.select_algorithm")
                if owner == "async_compile" and name not in ("cpp_pybinding", "triton", "wait"):
                    self.needs.add("torch._inductor.async_compile")
        return bool(self.needs)

    @staticmethod
    def _needs_triton(tree: ast.Module, brought: Collection[str]) -> bool:
        """Whether the wrapper has a kernel that the artifact cannot bring, or uses Triton by itself."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (key := _triton_key(node)) is not None and key not in brought:
                return True
            if isinstance(node, ast.Name) and node.id in _TRITON_NAMES:
                return True
            if isinstance(node, ast.ImportFrom | ast.Import) and _unknown_of_triton(node):
                return True
        return False


def _unknown_of_triton(node: ast.ImportFrom | ast.Import) -> bool:
    """Whether it brings in from Triton's modules what no wrapper that is known brings in."""
    if isinstance(node, ast.ImportFrom):
        return node.module in _TRITON_MODULES and not {a.name for a in node.names} <= _TRITON_NAMES
    brought = {a.asname or a.name for a in node.names if a.name in _TRITON_MODULES}
    return not brought <= _TRITON_NAMES


def _triton_key(node: ast.Call) -> str | None:
    """The key of the kernel that `async_compile.triton(name, source, device_str=...)` makes."""
    func = node.func
    if not isinstance(func, ast.Attribute) or func.attr != "triton" or not isinstance(func.value, ast.Name):
        return None
    if func.value.id != "async_compile":
        return None
    words = [ast.literal_eval(a) for a in node.args]
    named = {k.arg: ast.literal_eval(k.value) for k in node.keywords}
    return triton_key(words[0], words[1], words[2] if len(words) > 2 else named.get("device_str", "cuda"))


class _Rewriter(ast.NodeTransformer):
    def __init__(self, result: Rewritten, full: bool) -> None:
        self._result = result
        self._full = full

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:
        module, names = node.module or "", [a.name for a in node.names]
        if all((module, n) in _SLIM_NAMES for n in names):
            replaced = not (self._full and module in self._result.needs)
            if replaced:
                node.module = SLIM
                for alias in node.names:
                    if alias.name == "_align":
                        alias.name, alias.asname = "align", alias.asname or "_align"
        elif module in _TRITON_MODULES and not self._full:
            return None
        elif module.startswith("torch._inductor") and not module.startswith(tuple(_LIGHT)):
            self._result.needs.add(module)
        return node

    def visit_Import(self, node: ast.Import) -> Any:
        if not self._full:
            node.names = [a for a in node.names if a.name not in _TRITON_MODULES]
        return node if node.names else None

    def visit_Call(self, node: ast.Call) -> Any:
        self.generic_visit(node)
        func = node.func
        if not self._full and (triton := _triton_key(node)) is not None:
            self._result.triton_kernels.append(triton)
            return _bound(node, triton)
        if isinstance(func, ast.Attribute) and func.attr == "cpp_pybinding" and len(node.args) == 2:
            argtypes, source = (ast.literal_eval(a) for a in node.args)
            key = kernel_key(argtypes, source)
            self._result.kernels.append(key)
            return _bound(node, key)
        return node

    def visit_If(self, node: ast.If) -> Any:
        if ast.unparse(node.test) == "__name__ == '__main__'":
            return None
        self.generic_visit(node)
        return node


def _bound(node: ast.Call, key: str) -> ast.expr:
    """In place of what compiles a kernel: the one that the artifact has brought."""
    bind = ast.parse(f"__import__({SLIM!r}, fromlist=['kernel']).kernel({key!r})", mode="eval")
    return ast.copy_location(bind.body, node)
