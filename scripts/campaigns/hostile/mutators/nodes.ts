/** ONNX: nodes with other operators, attributes and operands, as sound a graph as before. */
import { allRules } from "../../../../src/ops/registry.ts";
import { pick, type Random } from "../random.ts";
import { allOf, copyOf, type ModelMessage } from "./messages.ts";

type Change = (model: ModelMessage, random: Random) => void;

const otherOperator: Change = (model, random) => {
  const node = pick(random, allOf(model, "NodeProto"));
  if (node === undefined) return;
  const { opType, domain } = pick(random, allRules());
  Object.assign(node, { opType, domain });
};

/** The bytes say one kind of value, the type another. */
const otherKind: Change = (model, random) => {
  const attribute = pick(random, allOf(model, "AttributeProto"));
  if (attribute !== undefined) attribute.type = random(16);
};

const withoutAttribute: Change = (model, random) => {
  const node = pick(random, allOf(model, "NodeProto").filter((n) => n.attribute.length > 0));
  node?.attribute.splice(random(node.attribute.length), 1);
};

const foreignAttribute: Change = (model, random) => {
  const node = pick(random, allOf(model, "NodeProto"));
  const attribute = pick(random, allOf(model, "AttributeProto"));
  if (node !== undefined && attribute !== undefined) node.attribute.push(copyOf(attribute));
};

const otherNumber: Change = (model, random) => {
  const attribute = pick(random, allOf(model, "AttributeProto"));
  if (attribute === undefined) return;
  attribute.i = pick(random, [0n, 1n, -1n, 2n, 3n, 5n, 16n, 127n, -(2n ** 63n), 2n ** 63n - 1n]);
  attribute.f = pick(random, [0, -1, 1e38, NaN, Infinity]);
};

/** An operand becomes a weight or a value of the same graph. */
const otherOperand: Change = (model, random) => {
  const graph = model.graph;
  if (graph === undefined || graph.node.length === 0) return;
  const at = random(graph.node.length);
  const node = graph.node[at];
  const before = graph.node.slice(0, at).flatMap(({ output }) => output);
  const weights = graph.initializer.map(({ name }) => name);
  const place = random(node.input.length + 1);
  const other = pick(random, [pick(random, weights), pick(random, before), ""]) ?? "";
  node.input = node.input.map((name, i) => i === place ? other : name);
};

const swappedOperands: Change = (model, random) => {
  const node = pick(random, allOf(model, "NodeProto").filter((n) => n.input.length > 1));
  if (node === undefined) return;
  const [a, b] = [random(node.input.length), random(node.input.length)];
  [node.input[a], node.input[b]] = [node.input[b], node.input[a]];
};

const fewerOperands: Change = (model, random) => {
  const node = pick(random, allOf(model, "NodeProto"));
  if (node === undefined) return;
  const list = random(3) > 0 ? node.input : node.output;
  if (random(2) === 0) list.splice(random(list.length + 1), 1);
  else list.push("");
};

/** Two weights exchange their contents, under the names they have. */
const swappedWeights: Change = (model, random) => {
  const tensors = model.graph?.initializer ?? [];
  if (tensors.length < 2) return;
  const [a, b] = [pick(random, tensors), pick(random, tensors)];
  [a.name, b.name] = [b.name, a.name];
};

const otherType: Change = (model, random) => {
  const tensor = pick(random, allOf(model, "TensorProto"));
  if (tensor !== undefined) tensor.dataType = 1 + random(24);
};

const otherPort: Change = (model, random) => {
  const ports = [...model.graph?.input ?? [], ...model.graph?.output ?? []];
  const tensor = pick(random, ports)?.type?.tensorType;
  if (tensor === undefined) return;
  if (random(2) === 0) tensor.elemType = 1 + random(24);
  else tensor.shape?.dim.splice(random(4), random(2));
};

const CHANGES: readonly Change[] = [
  otherOperator,
  otherKind,
  withoutAttribute,
  foreignAttribute,
  otherNumber,
  otherOperand,
  swappedOperands,
  fewerOperands,
  swappedWeights,
  otherType,
  otherPort,
];

/** Changes a node or what it reads. */
export function otherNode(model: ModelMessage, random: Random): void {
  pick(random, CHANGES)(model, random);
}
