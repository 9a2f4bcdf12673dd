/** ONNX: graphs inside graphs, long chains, and values that are read twice again and again. */
import { create } from "@bufbuild/protobuf";
import { type Proto, schemaOf } from "../../../../src/onnx/schema.ts";
import { pick, type Random } from "../random.ts";
import type { ModelMessage } from "./messages.ts";

const node = (opType: string, input: string[], output: string) =>
  create(schemaOf("NodeProto"), { opType, input, output: [output] });

/** Puts nodes between a value and one of its readers. */
function between(
  model: ModelMessage,
  random: Random,
  make: (input: string, output: string) => Proto<"NodeProto">[],
): void {
  const nodes = model.graph?.node ?? [];
  const reader = pick(random, nodes);
  if (reader === undefined || reader.input.length === 0) return;
  const at = random(reader.input.length);
  const output = `between.${random(1 << 30)}`;
  nodes.splice(nodes.indexOf(reader), 0, ...make(reader.input[at], output));
  reader.input[at] = output;
}

const chain = (depth: number, link: (input: string, output: string) => Proto<"NodeProto">) =>
(
  input: string,
  output: string,
) =>
  Array.from(
    { length: depth },
    (_, i) =>
      link(i === 0 ? input : `${output}.${i}`, i === depth - 1 ? output : `${output}.${i + 1}`),
  );

/** ONNX Runtime takes seconds for more: its plan of memory is quadratic in values of unknown shape. */
function longChain(model: ModelMessage, random: Random): void {
  const depth = pick(random, [10, 500, 2000]);
  const opType = pick(random, ["Identity", "Transpose", "Cast", "Reshape", "Dropout", "Neg"]);
  between(model, random, chain(depth, (input, output) => node(opType, [input], output)));
}

/** Each of the values is read twice: whoever follows every path has 2^depth of them. */
function doubling(model: ModelMessage, random: Random): void {
  const depth = pick(random, [10, 40, 400]);
  const opType = pick(random, ["Add", "Mul", "Concat", "MatMul", "Where"]);
  between(model, random, chain(depth, (input, output) => node(opType, [input, input], output)));
}

function branches(model: ModelMessage, random: Random): void {
  const depth = pick(random, [3, 20, 48]);
  between(model, random, (input, output) => {
    let inner = node("Identity", [input], `${output}.inner`);
    for (let i = 0; i < depth; i++) {
      const graph = create(schemaOf("GraphProto"), {
        name: "branch",
        node: [inner],
        output: [create(schemaOf("ValueInfoProto"), { name: inner.output[0] })],
      });
      const attribute = (name: string) =>
        create(schemaOf("AttributeProto"), { name, type: 5, g: graph });
      inner = node("If", [input], i === depth - 1 ? output : `${output}.${i}`);
      // The same graph on both sides would be written twice at each depth.
      inner.attribute.push(attribute(random(2) === 0 ? "then_branch" : "else_branch"));
    }
    return [inner];
  });
}

/** Makes a graph deeper. */
export function deeper(model: ModelMessage, random: Random): void {
  pick(random, [longChain, doubling, branches])(model, random);
}
