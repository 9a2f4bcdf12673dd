"""The client part, which Flower asks every app for: boxes run `graft fleet join` instead."""

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Tell a SuperNode of Flower's own that it is no graft box."""
    raise RuntimeError("a box of this fleet runs `graft fleet join`, not flower-supernode")
