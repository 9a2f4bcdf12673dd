"""Tiny transformers models with random weights, and how PyTorch's two exporters write them."""
import onnx
import torch

HIDDEN, HEADS = 32, 2


def blocks(vocabulary):
    """What configurations of most architectures have in common, for two small layers."""
    return dict(
        vocab_size=vocabulary,
        hidden_size=HIDDEN,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        max_position_embeddings=64,
        pad_token_id=0,
    )


def random_weights(model):
    """Weights large enough that attention is not uniform, norms and biases that are not trivial."""
    generator = torch.Generator().manual_seed(7)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        one = parameter.dim() == 1 and name.endswith("weight")
        scale = 0.1 if parameter.dim() == 1 else 1.5 / parameter.shape[-1] ** 0.5
        parameter.data = noise * scale + (1.0 if one else 0.0)
    return model.eval()


class OneOutput(torch.nn.Module):
    """A transformers model from tensors to one of its outputs."""

    def __init__(self, model, names, output):
        super().__init__()
        self.model, self.names, self.output = model, names, output
        caches = getattr(model.config, "use_cache", False)
        self.options = {"use_cache": False} if caches else {}

    def forward(self, *tensors):
        results = self.model(**dict(zip(self.names, tensors)), **self.options)
        return getattr(results, self.output)


def samples(model, names):
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, model.config.vocab_size, (2, 7), generator=generator)
    made = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    made["token_type_ids"] = torch.zeros_like(tokens)
    return tuple(made[name] for name in names)


def export_torchscript(model, names, path, axes, opset=14, output="logits"):
    """By the exporter that goes through TorchScript."""
    token_axes = {0: "batch_size", 1: "sequence_length"}
    torch.onnx.export(
        OneOutput(model, names, output),
        samples(model, names),
        str(path),
        dynamo=False,
        opset_version=opset,
        input_names=list(names),
        output_names=[output],
        dynamic_axes={name: token_axes for name in names} | {output: axes},
    )


def export_program(model, names, path, output="logits"):
    """By the exporter that PyTorch uses since 2.9."""
    axes = {
        0: torch.export.Dim("batch_size", min=1, max=64),
        1: torch.export.Dim("sequence_length", min=2, max=60),
    }
    torch.onnx.export(
        OneOutput(model, names, output).eval(),
        samples(model, names),
        str(path),
        dynamo=True,
        external_data=False,
        input_names=list(names),
        output_names=[output],
        dynamic_shapes=((axes, axes),),
    )
    # Where in whose files a node comes from is of no use here.
    model = onnx.load(path)
    for node in model.graph.node:
        kept = [entry for entry in node.metadata_props if entry.key == "pkg.torch.onnx.name_scopes"]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    onnx.save(model, path)
