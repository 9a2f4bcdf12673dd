/** ONNX: numbers that size something are multiplied, negated or made nothing. */
import { create } from "@bufbuild/protobuf";
import { schemaOf } from "../../../../src/onnx/schema.ts";
import { pick, type Random } from "../random.ts";
import { allOf, type ModelMessage } from "./messages.ts";

const FACTORS = [2n, 3n, 10n, 1n << 10n, 1n << 16n, 1n << 20n, 1n << 31n, 1n << 40n, -1n, 0n];
const SIZES = [0n, 1n, -1n, 2n, 7n, 1n << 16n, 100_000n, 1n << 24n, (1n << 31n) - 1n, 1n << 40n];

function otherSize(size: bigint, random: Random): bigint {
  const other = random(3) > 0 ? size * pick(random, FACTORS) : pick(random, SIZES);
  return BigInt.asIntN(64, other);
}

/** Changes entries of a small int64 tensor in place: shapes, repeats, axes and split sizes. */
function otherContents(model: ModelMessage, random: Random): void {
  const small = allOf(model, "TensorProto").filter(({ dataType, rawData }) =>
    dataType === 7 && rawData.byteLength >= 8 && rawData.byteLength <= 64
  );
  const tensor = pick(random, small);
  if (tensor === undefined) return;
  const bytes = tensor.rawData.slice();
  const view = new DataView(bytes.buffer);
  const at = 8 * random(bytes.byteLength >> 3);
  view.setBigInt64(at, otherSize(view.getBigInt64(at, true), random), true);
  tensor.rawData = bytes;
}

function otherAttribute(model: ModelMessage, random: Random): void {
  const numbers = allOf(model, "AttributeProto").filter(({ type }) => type === 2 || type === 7);
  const attribute = pick(random, numbers);
  if (attribute === undefined) return;
  if (attribute.type === 2) attribute.i = otherSize(attribute.i, random);
  else attribute.ints = attribute.ints.map((size) => random(2) ? size : otherSize(size, random));
}

function otherDimension(model: ModelMessage, random: Random): void {
  if (random(2) === 0) {
    const dimension = pick(random, allOf(model, "TensorShapeProto_Dimension"));
    if (dimension !== undefined) dimension.dimValue = otherSize(dimension.dimValue, random);
    return;
  }
  const tensor = pick(random, allOf(model, "TensorProto"));
  if (tensor === undefined) return;
  const dims = [...tensor.dims];
  if (random(3) === 0) dims.splice(random(dims.length + 1), 0, pick(random, SIZES));
  else if (dims.length > 0) {
    const at = random(dims.length);
    dims[at] = otherSize(dims[at], random);
  }
  tensor.dims = dims;
}

/** Puts an operator that makes much of little before a node: a few bytes that ask for gigabytes. */
function multiplied(model: ModelMessage, random: Random): void {
  const nodes = model.graph?.node ?? [];
  const node = pick(random, nodes);
  if (node === undefined || node.input.length === 0) return;
  const at = random(node.input.length);
  const size = pick(random, [1000, 100_000, 10_000_000, 2 ** 31, 2 ** 40]);
  const name = `multiplied.${random(1 << 30)}`;
  const sizes = create(schemaOf("TensorProto"), {
    name: `${name}.sizes`,
    dataType: 7,
    dims: [2n],
    rawData: new Uint8Array(new BigInt64Array([BigInt(size), BigInt(size)]).buffer),
  });
  model.graph!.initializer.push(sizes);
  const [opType, input] = pick(
    random,
    [
      ["ConstantOfShape", [sizes.name]],
      ["Expand", [node.input[at], sizes.name]],
      ["Tile", [node.input[at], sizes.name]],
      ["Reshape", [node.input[at], sizes.name]],
      ["Resize", [node.input[at], "", "", sizes.name]],
    ] as const,
  );
  const made = create(schemaOf("NodeProto"), { opType, input: [...input], output: [name] });
  nodes.splice(nodes.indexOf(node), 0, made);
  node.input[at] = name;
}

const WAYS = [otherContents, otherAttribute, otherAttribute, otherDimension, multiplied];

/** Changes what sizes something. */
export function otherSizes(model: ModelMessage, random: Random): void {
  pick(random, WAYS)(model, random);
}
