"""Rewrites a wrapper that Inductor generated so that it loads without Inductor's compiler (worker side)."""

from __future__ import annotations

import ast
import hashlib
import marshal
from typing import Any

import msgpack

from .slim import EXTERN_NAMES

SLIM = "fxfarm._torch.slim"
_SLIM_NAMES = {
    ("torch._inductor.hooks", "run_intermediate_hooks"),
    ("torch._inductor.codegen.memory_planning", "_align"),
    ("torch._inductor.async_compile", "AsyncCompile"),
    ("torch._inductor.select_algorithm", "extern_kernels"),
}
# Brought in by Dynamo itself, or light: no reason to rewrite them or to name them as needs.
_LIGHT = frozenset(("torch._inductor.utils", "torch._inductor.runtime", "torch._inductor.inductor_prims"))


def kernel_key(argtypes: list[str], source: str) -> str:
    """The name under which an artifact carries the C++ kernel of this source."""
    return hashlib.sha256(msgpack.packb([list(argtypes), source])).hexdigest()


class Rewritten:
    """A wrapper as the client runs it."""

    def __init__(self, source: str) -> None:
        self.needs: set[str] = set()
        self.kernels: list[str] = []
        tree = ast.parse(source)
        full = self._needs_compiler(tree)
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
                if owner == "async_compile" and name not in ("cpp_pybinding", "wait"):
                    self.needs.add("torch._inductor.async_compile")
        return bool(self.needs)


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
        elif module.startswith("torch._inductor") and not module.startswith(tuple(_LIGHT)):
            self._result.needs.add(module)
        return node

    def visit_Call(self, node: ast.Call) -> Any:
        self.generic_visit(node)
        func = node.func
        if isinstance(func, ast.Attribute) and func.attr == "cpp_pybinding" and len(node.args) == 2:
            argtypes, source = (ast.literal_eval(a) for a in node.args)
            key = kernel_key(argtypes, source)
            self._result.kernels.append(key)
            bind = ast.parse(f"__import__({SLIM!r}, fromlist=['kernel']).kernel({key!r})", mode="eval")
            return ast.copy_location(bind.body, node)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        if node.name in ("get_args", "benchmark_compiled_module"):
            return None
        self.generic_visit(node)
        return node

    def visit_If(self, node: ast.If) -> Any:
        if ast.unparse(node.test) == "__name__ == '__main__'":
            return None
        self.generic_visit(node)
        return node
