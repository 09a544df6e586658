"""The base of every component: its type token, its children's options and its registered outputs.

What a component makes belongs to its own module.
"""

import pulumi


class Component(pulumi.ComponentResource):
    """A named group of resources. A subclass annotates its outputs, sets each in `__init__`, and ends with `done()`."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(f"spotforge:infra:{type(self).__name__}", name, None, opts)
        self.child = pulumi.ResourceOptions(parent=self)
        """Options of a child: parent and, through it, provider, protection and aliases."""

    def child_after(self, *before: pulumi.Resource) -> pulumi.ResourceOptions:
        """A child's options with an order that no Output carries; say why at the call."""
        return pulumi.ResourceOptions(parent=self, depends_on=list(before))

    def done(self) -> None:
        """Register every annotated output; a forgotten one fails here, not in whoever reads it."""
        self.register_outputs({name: getattr(self, name) for name in type(self).__annotations__})
