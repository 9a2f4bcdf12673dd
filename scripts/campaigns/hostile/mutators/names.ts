/** ONNX: names of values, operators, attributes and nodes become words that mean something elsewhere. */
import { pick, type Random } from "../random.ts";
import { allOf, type ModelMessage } from "./messages.ts";
import { HOSTILE_WORDS } from "./words.ts";

/** Renames a value wherever it stands, so that the model stays as sound as it was. */
function renameValue(model: ModelMessage, random: Random): void {
  const graph = model.graph;
  if (graph === undefined) return;
  const values = [
    ...graph.initializer.map(({ name }) => name),
    ...graph.node.flatMap(({ output }) => output),
    ...graph.input.map(({ name }) => name),
  ].filter((name) => name !== "");
  if (values.length === 0) return;
  const old = pick(random, values);
  const word = pick(random, HOSTILE_WORDS);
  const renamed = (name: string) => name === old ? word : name;
  for (const node of allOf(model, "NodeProto")) {
    node.input = node.input.map(renamed);
    node.output = node.output.map(renamed);
  }
  for (const value of allOf(model, "ValueInfoProto")) value.name = renamed(value.name);
  for (const tensor of allOf(model, "TensorProto")) tensor.name = renamed(tensor.name);
}

/** Gives a node, an attribute, an operator set or a property another name. */
function renameOther(model: ModelMessage, random: Random): void {
  const word = pick(random, HOSTILE_WORDS);
  const node = pick(random, allOf(model, "NodeProto"));
  if (node === undefined) return;
  switch (random(7)) {
    case 0:
      node.opType = word;
      break;
    case 1:
      node.domain = word;
      break;
    case 2:
      node.name = word;
      break;
    case 3: {
      const attribute = pick(random, node.attribute);
      if (attribute !== undefined) attribute.name = word;
      break;
    }
    case 4: {
      const opset = pick(random, model.opsetImport);
      if (opset !== undefined) opset.domain = word;
      break;
    }
    case 5: {
      const entry = pick(random, allOf(model, "StringStringEntryProto"));
      if (entry !== undefined) [entry.key, entry.value] = [word, pick(random, HOSTILE_WORDS)];
      break;
    }
    default: {
      const dimension = pick(random, allOf(model, "TensorShapeProto_Dimension"));
      if (dimension !== undefined) dimension.dimParam = word;
    }
  }
}

/** Exchanges one name. */
export function otherName(model: ModelMessage, random: Random): void {
  if (random(2) === 0) renameValue(model, random);
  else renameOther(model, random);
}
