"""What the operators have in common: when they can run, what their forms begin and end with, how Python calls them."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import fiftyone.core.collections as foc
import fiftyone.operators as foo
from fiftyone.operators import types

from clip2video_plugin.app.operators.forms import form, refused


def described(name: str, label: str, description: str, icon: str, **more: Any) -> foo.OperatorConfig:
    """That of an operator with a form, which runs at once or in the queue."""
    return foo.OperatorConfig(
        name=name,
        label=label,
        description=description,
        icon=icon,
        dynamic=True,
        allow_immediate_execution=True,
        allow_delegated_execution=True,
        **more,
    )


class Operation(foo.Operator):  # type: ignore[misc]
    """An operator with a form and a result.

    Attributes:
        needs: what a dataset must have: an index, videos, or nothing.
        more: parameters that the form does not ask for.
        after: the heading of its result.
    """

    needs: ClassVar[Literal["index", "videos", "nothing"]] = "index"
    more: ClassVar[tuple[str, ...]] = ()
    after: ClassVar[str | None] = None

    def ask(self, inputs: types.Object, ctx: foo.ExecutionContext) -> None:
        """Adds the inputs of its form."""
        raise NotImplementedError

    def show(self, outputs: types.Object) -> None:
        """Adds what it shows of its result."""
        raise NotImplementedError

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        inputs = types.Object()
        if self.needs == "nothing" or not refused(inputs, ctx, indexed=self.needs == "index"):
            self.ask(inputs, ctx)
        return form(inputs, ctx, self.config.label, *self.more)

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        outputs = types.Object()
        self.show(outputs)
        return types.Property(outputs, view=types.View(label=self.after) if self.after else None)

    def call(self, samples: foc.SampleCollection | None, params: dict[str, Any], delegate: bool) -> Any:
        """Runs it on a dataset or view from Python; errors are raised. Delegated, it waits in the queue."""
        context = {} if samples is None else {"view": samples.view()}
        result = foo.execute_operator(self.uri, context, params=params, request_delegation=delegate)
        return result if delegate else result.result


def show_view(ctx: foo.ExecutionContext, view: foc.SampleCollection | None) -> None:
    """Sets the grid to a view, where there is a grid; without a view it stays as it is."""
    if not ctx.delegated:
        ctx.ops.reload_dataset()
        if view is not None:
            ctx.ops.clear_selected_samples()
            ctx.ops.set_view(view)
